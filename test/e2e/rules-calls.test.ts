// Rules of the order of calls: whatever call fails, every item received has exactly one end, with a real errno, and the
// next request for its file goes well. `site.stop` throws when the simulator saw a second end, a missing begin, ENOSYS
// or any other misuse.
import { execFile } from 'node:child_process';
import { appendFileSync, renameSync, statSync, truncateSync } from 'node:fs';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { CopytoolAction } from '../../native-bindings/constants.js';
import { parseFid } from '../../native-bindings/lustre.js';
import { encodeActionList } from '../../native-bindings/structs.js';
import type { Daemon, LogLine } from '../helpers/daemon.js';
import { Site } from '../helpers/site.js';

/** In a process of its own: what waits for a restore blocks. */
const exec = promisify(execFile);

type Kind = 'archive' | 'restore' | 'remove';

let site: Site;
let daemon: Daemon;
let serial = 0;

t.before(async () => {
  site = await Site.start({
    more: '[log]\nlevel = "debug"\n[hsm]\nheartbeat_s = 0.05\n[http]\nlisten = "off"\n',
  });
  daemon = await site.daemon();
});

t.teardown(() => site.stop());

t.afterEach(async () => {
  site.gate.open();
  await site.sim.clearFaults();
});

/** A new file, ready for this action. */
async function fileFor(kind: Kind): Promise<{ name: string; path: string; fid: string; bytes: Buffer }> {
  serial += 1;
  const name = `${kind}-${serial}`;
  const path = site.path(name);
  const bytes = site.write(name, 3000);
  const fid = await site.sim.fidOf(path);
  if (kind !== 'archive') {
    await site.hsm('archive', path);
    // The coordinator knows of the end before its line has come through the daemon's pipe.
    await daemon.log((line) => line['fid'] === fid && line['op'] === 'archive' && 'result' in line);
  }
  if (kind === 'restore') await site.hsm('release', path);
  return { name, path, fid, bytes };
}

/** The log lines of ends of actions on a file, from a line on. */
function ends(fid: string, after: number): LogLine[] {
  return daemon.lines.slice(after).filter((line) => line['fid'] === fid && 'result' in line);
}

async function ended(fid: string, after: number): Promise<LogLine> {
  return daemon.log((line) => daemon.lines.indexOf(line) >= after && line['fid'] === fid && 'result' in line);
}

async function nothingStarted(t: Test): Promise<void> {
  t.equal((await site.sim.counters())['started'], 0, 'nothing stays STARTED');
}

// The first of all: the MDT of a sequence of FIDs is asked for once.
t.test('a restore whose MDT cannot be found fails with one end, and the next read restores', async (t) => {
  const { name, fid, bytes } = await fileFor('restore');
  const after = daemon.lines.length;
  await site.sim.fault('mdt_index errno=EIO count=1');
  const answer: unknown = await site.read(name).catch((error: unknown) => error);
  t.match(String((answer as { stderr?: unknown }).stderr), /No data available/, 'it is asked for');
  t.match(await ended(fid, after), { op: 'restore', errno: 'EIO' });
  await nothingStarted(t);
  t.ok((await site.read(name)).equals(bytes));
});

/** Which call fails with what, and the errno that the MDT must be told. */
const failures: readonly { kind: Kind; call: string; errno: string; told: string }[] = [
  { kind: 'archive', call: 'begin', errno: 'EIO', told: 'EIO' },
  { kind: 'restore', call: 'begin', errno: 'ENOSPC', told: 'ENOSPC' },
  { kind: 'remove', call: 'begin', errno: 'EACCES', told: 'EACCES' },
  { kind: 'archive', call: 'begin', errno: 'ENOENT', told: 'ENOENT' },
  { kind: 'archive', call: 'get_fd', errno: 'EMFILE', told: 'EMFILE' },
  { kind: 'restore', call: 'get_fd', errno: 'EMFILE', told: 'EMFILE' },
  // What the MDT would read as "this tool cannot cancel".
  { kind: 'archive', call: 'begin', errno: 'ENOSYS', told: 'EIO' },
  { kind: 'restore', call: 'get_fd', errno: 'ENOSYS', told: 'EIO' },
  // Larger than any errno that the coordinator takes.
  { kind: 'archive', call: 'get_fd', errno: 'EKEYEXPIRED', told: 'EIO' },
];
for (const { kind, call, errno, told } of failures) {
  t.test(`exactly one end, with a real errno: ${call} of ${kind} fails with ${errno}`, async (t) => {
    const { name, path, fid, bytes } = await fileFor(kind);
    const after = daemon.lines.length;
    await site.sim.fault(`${call} action=${kind.toUpperCase()} errno=${errno} count=1`);
    if (kind === 'restore') {
      const answer: unknown = await site.read(name).catch((error: unknown) => error);
      t.match(String((answer as { stderr?: unknown }).stderr), /No data available/);
    } else {
      await site.lfs(`hsm_${kind}`, path);
    }
    await site.sim.requestReaches(path, 'FAILED', { action: kind.toUpperCase() as 'ARCHIVE' });
    t.match(await ended(fid, after), { errno: told, result: /failed|retry/ });
    await site.sim.clearFaults();
    await nothingStarted(t);
    if (kind === 'restore') t.ok((await site.read(name)).equals(bytes));
    else await site.hsm(kind, path);
    await daemon.log((line) => line['fid'] === fid && line['op'] === kind && line['result'] === 'succeeded');
    t.match(ends(fid, after), [{ errno: told }, { result: 'succeeded' }], 'one end for each of two requests');
    t.equal(ends(fid, after).length, 2);
  });
}

t.test('begin says ECANCELED: ended with ECANCELED, as cancelled and not as an error', async (t) => {
  const { path, fid } = await fileFor('archive');
  const after = daemon.lines.length;
  await site.sim.fault('begin action=ARCHIVE errno=ECANCELED count=1');
  await site.lfs('hsm_archive', path);
  await site.sim.requestReaches(path, 'CANCELED');
  await site.sim.clearFaults();
  t.match(await ended(fid, after), { level: 'info', result: 'canceled' });
});

for (const kind of ['archive', 'restore'] as const) {
  t.test(
    `an end that did not reach the MDT is told again, so that nothing stays STARTED (${kind})`,
    async (t) => {
      const { name, path, fid, bytes } = await fileFor(kind);
      const after = daemon.lines.length;
      await site.sim.fault(`end action=${kind.toUpperCase()} errno=EIO count=1`);
      await site.lfs(`hsm_${kind}`, path);
      await site.sim.requestReaches(path, 'FAILED', { action: kind === 'archive' ? 'ARCHIVE' : 'RESTORE' });
      await site.sim.clearFaults();
      t.match(await ended(fid, after), { errno: 'EIO' });
      await nothingStarted(t);
      await site.hsm(kind, path);
      t.equal(await site.state(path), '(0x00000009) exists archived, archive_id:1');
      t.ok((await site.read(name)).equals(bytes));
    },
  );
}

t.test('progress says ECANCELED: the transfer stops and the action ends with ECANCELED', async (t) => {
  const { path, fid } = await fileFor('archive');
  const after = daemon.lines.length;
  site.gate.hold();
  await site.lfs('hsm_archive', path);
  await site.gate.held(1);
  await site.sim.fault('progress action=ARCHIVE errno=ECANCELED count=1');
  await site.sim.requestReaches(path, 'CANCELED');
  t.match(await ended(fid, after), { result: 'canceled' }, 'while its request to the service still hangs');
  await site.sim.clearFaults();
  site.gate.open();
  t.match(await site.state(path), /^\(0x00000001\) exists/);
});

t.test('progress says ENOENT: the coordinator forgot the request, the transfer stops', async (t) => {
  const { path, fid } = await fileFor('archive');
  const after = daemon.lines.length;
  site.gate.hold();
  await site.lfs('hsm_archive', path);
  await site.gate.held(1);
  await site.sim.fault('progress action=ARCHIVE errno=ENOENT count=1');
  t.match(await ended(fid, after), { code: 'FORGOTTEN' }, 'while its request to the service still hangs');
  await site.sim.clearFaults();
  site.gate.open();
  await nothingStarted(t);
});

t.test('a restored file has blocks for its size, not those of a stub', async (t) => {
  const path = site.path('blocks');
  site.write('blocks', 1_000_000);
  const before = statSync(path).blocks;
  await site.hsm('archive', path);
  await site.hsm('release', path);
  t.equal(statSync(path).blocks, 1, 'a stub');
  await site.hsm('restore', path);
  t.equal(statSync(path).size, 1_000_000);
  t.equal(statSync(path).blocks, before);
});

t.test('appending to a released file restores it first, and leaves it dirty', async (t) => {
  const { name, path, bytes } = await fileFor('restore');
  await exec('sh', ['-c', 'printf more >> "$0"', path]);
  t.ok((await site.read(name)).equals(Buffer.concat([bytes, Buffer.from('more')])));
  t.match(await site.state(path), /exists dirty archived/);
});

t.test('truncating a released file to 0 restores it first, and leaves it dirty', async (t) => {
  const { path, fid } = await fileFor('restore');
  const after = daemon.lines.length;
  await exec('truncate', ['-s', '0', path]);
  t.match(await ended(fid, after), { op: 'restore', result: 'succeeded' });
  t.equal(statSync(path).size, 0);
  t.match(await site.state(path), /exists dirty archived/);
});

t.test('a file renamed between its request and its turn is archived all the same', async (t) => {
  const { name, path, fid, bytes } = await fileFor('archive');
  await site.sim.setParam('hsm_control', 'disabled');
  await site.lfs('hsm_archive', path);
  renameSync(path, `${path} moved`);
  await site.sim.setParam('hsm_control', 'enabled');
  await site.sim.requestReaches(fid, 'SUCCEED');
  await site.hsm('release', `${path} moved`);
  t.ok((await site.read(`${name} moved`)).equals(bytes));
});

t.test('a file changed between its request and its turn is archived as it is then', async (t) => {
  const { name, path, fid, bytes } = await fileFor('archive');
  await site.sim.setParam('hsm_control', 'disabled');
  await site.lfs('hsm_archive', path);
  appendFileSync(path, 'more');
  truncateSync(path, 2000);
  await site.sim.setParam('hsm_control', 'enabled');
  await site.sim.requestReaches(fid, 'SUCCEED');
  t.ok((await site.container.getBlobClient(name).downloadToBuffer()).equals(bytes.subarray(0, 2000)));
});

/** A list for one item of a file, as if the MDT had sent it. */
function listFor(fid: string, archiveId: number, data = Buffer.alloc(0)): Buffer {
  const parsed = parseFid(fid);
  if (!parsed) throw new Error(`no FID: ${fid}`);
  serial += 1;
  const item = {
    action: CopytoolAction.ARCHIVE,
    fid: parsed,
    dfid: parsed,
    extent: { offset: 0n, length: 0xffffffffffffffffn },
    cookie: BigInt(0x6000_0000 + serial),
    gid: 0n,
    data,
  };
  return encodeActionList({
    version: 1,
    compoundId: 0n,
    archiveId,
    flags: 0n,
    fsname: 'lustre',
    items: [item],
  });
}

t.test(
  'an item that another tool on the mount had is logged at debug level, never as an error',
  async (t) => {
    const { fid } = await fileFor('archive');
    const after = daemon.lines.length;
    await site.sim.inject(0, listFor(fid, 1));
    t.match(await ended(fid, after), { level: 'debug', msg: 'archive: not ours to end' });
  },
);

t.test('an unknown archive id is ended with a clear error, and what comes behind it is served', async (t) => {
  const { path, fid } = await fileFor('archive');
  const after = daemon.lines.length;
  await site.sim.inject(0, listFor(fid, 300));
  const line = await ended(fid, after);
  t.match(line, { level: 'error', code: 'UNKNOWN_ARCHIVE', errno: 'EINVAL', archive_id: 300 });
  t.match(line.msg, /\[\[archive\]\].*300/);
  await site.hsm('archive', path);
  t.match(await site.state(path), /exists archived/);
});

t.test('garbage in hai_data of any bytes and length harms nobody', async (t) => {
  const { path, fid } = await fileFor('archive');
  for (const data of [Buffer.alloc(1, 0xff), Buffer.alloc(4001), Buffer.from('\ud800\0"\n{')]) {
    const after = daemon.lines.length;
    await site.sim.inject(0, listFor(fid, 1, data));
    t.match(await ended(fid, after), { level: 'debug' });
  }
  await site.hsm('archive', path);
  t.match(await site.state(path), /exists archived/);
});

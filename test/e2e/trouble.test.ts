// What goes wrong while the daemon serves: each is a clear error in the log, the right errno at the MDT, and nothing is
// lost.
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  mkdirSync,
  renameSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import t, { type Test } from 'tap';
import { encodeActionList } from '../../native-bindings/structs.js';
import { CopytoolAction } from '../../native-bindings/constants.js';
import { parseFid } from '../../native-bindings/lustre.js';
import type { Daemon, LogLine } from '../helpers/daemon.js';
import { Site } from '../helpers/site.js';

let site: Site;
let daemon: Daemon;
let serial = 0;

const QUICK = '[transfer]\nmax_tries = 2\nstall_timeout_s = 1\n[http]\nlisten = "127.0.0.1:0"\n';

t.before(async () => {
  site = await Site.start({ more: QUICK });
  daemon = await site.daemon();
});

t.teardown(() => site.stop());

/** The log line of the end of the last action on a file. */
async function ended(fid: string, op: string, after = 0): Promise<LogLine> {
  return daemon.log(
    (line) =>
      daemon.lines.indexOf(line) >= after && line['fid'] === fid && line['op'] === op && 'result' in line,
  );
}

/** A file that has been archived and released. */
async function released(sizeBytes: number): Promise<{ name: string; fid: string; bytes: Buffer }> {
  serial += 1;
  const name = `file-${serial}`;
  const bytes = site.write(name, sizeBytes);
  await site.hsm('archive', site.path(name));
  await site.hsm('release', site.path(name));
  return { name, fid: await site.sim.fidOf(site.path(name)), bytes };
}

/** Reads a file whose restore must fail: the reader gets ENODATA, the file stays released, the log says why. */
async function restoreFails(
  t: Test,
  name: string,
  expected: { code: string; errno: string },
): Promise<LogLine> {
  const fid = await site.sim.fidOf(site.path(name));
  const after = daemon.lines.length;
  const answer: unknown = await site.read(name).catch((error: unknown) => error);
  t.match(String((answer as { stderr?: unknown }).stderr), /No data available/, 'the reader gets ENODATA');
  const line = await ended(fid, 'restore', after);
  t.match(line, { level: 'error', ...expected, result: /failed|retry/ });
  t.match(await site.state(site.path(name)), /released exists archived/, 'the file stays released');
  return line;
}

t.test('a blob that is missing is ENOENT; with the blob back, the next read restores', async (t) => {
  const { name, bytes } = await released(5000);
  const blob = site.container.getBlockBlobClient(name);
  const { metadata = {} } = await blob.getProperties();
  await blob.delete();
  await restoreFails(t, name, { code: 'BLOB_MISSING', errno: 'ENOENT' });
  await blob.upload(bytes, bytes.length, { metadata });
  // Another version than the pinned one is not taken by default.
  await restoreFails(t, name, { code: 'BLOB_CHANGED', errno: 'EIO' });
});

for (const [what, change] of [
  ['shorter', -1],
  ['longer', 1],
] as const) {
  t.test(`a blob ${what} than the stub is EIO, never truncated or padded content`, async (t) => {
    serial += 1;
    const name = `imported-${serial}`;
    const { bytes } = await released(5000);
    // No pinned version: as a stub that another tool imported.
    site.write(name, 5000);
    await site.container.getBlockBlobClient(name).upload(bytes, bytes.length, {});
    await site.lfs('hsm_set', '--exists', '--archived', '--archive-id', '1', site.path(name));
    await site.hsm('release', site.path(name));
    const wrong = change < 0 ? bytes.subarray(0, change) : Buffer.concat([bytes, Buffer.from('x')]);
    await site.container.getBlockBlobClient(name).upload(wrong, wrong.length, {});
    const line = await restoreFails(t, name, { code: 'SIZE_MISMATCH', errno: 'EIO' });
    t.match(line.msg, new RegExp(`5000.*${wrong.length}|${wrong.length}.*5000`), 'both sizes are named');
    await site.container.getBlockBlobClient(name).upload(bytes, bytes.length, {});
    t.ok((await site.read(name)).equals(bytes), 'with the right blob the next read restores');
  });
}

t.test(
  'a blob changed since it was archived: refused, or taken with restore_changed = "accept"',
  async (t) => {
    const { name } = await released(5000);
    const other = Buffer.alloc(5000, 'other');
    await site.container.getBlockBlobClient(name).upload(other, other.length);
    const line = await restoreFails(t, name, { code: 'BLOB_CHANGED', errno: 'EIO' });
    t.match(line.msg, /restore_changed/, 'the hint names the policy');
    writeFileSync(daemon.configFile, `${configText()}\n[policy]\nrestore_changed = "accept"\n`);
    const after = daemon.lines.length;
    daemon.signal('SIGHUP');
    await daemon.log(
      (each) => daemon.lines.indexOf(each) >= after && each.msg === 'configuration read again',
    );
    t.ok((await site.read(name)).equals(other));
  },
);

function configText(): string {
  return execFileSync('cat', [daemon.configFile], { encoding: 'utf8' });
}

t.test('a page blob is refused', async (t) => {
  serial += 1;
  const name = `page-${serial}`;
  site.write(name, 512);
  await site.container.getPageBlobClient(name).create(512);
  await site.lfs('hsm_set', '--exists', '--archived', '--archive-id', '1', site.path(name));
  await site.hsm('release', site.path(name));
  const after = daemon.lines.length;
  await site.hsm('restore', site.path(name));
  const line = await ended(await site.sim.fidOf(site.path(name)), 'restore', after);
  t.match(line, { level: 'error', code: 'NOT_BLOCK_BLOB', errno: 'EIO' });
});

t.test('a blob in the Archive tier is refused and the hint says what to do', async (t) => {
  const { name } = await released(1000);
  await site.container.getBlobClient(name).setAccessTier('Archive');
  const line = await restoreFails(t, name, { code: 'BLOB_ARCHIVED', errno: 'EIO' });
  t.match(line.msg, /[Rr]ehydrate/);
});

t.test('a full file system on restore is ENOSPC, an exceeded quota EDQUOT', async (t) => {
  const { name, bytes } = await released(200_000);
  for (const errno of ['ENOSPC', 'EDQUOT']) {
    await site.sim.fault(`write errno=${errno}`);
    await restoreFails(t, name, { code: errno, errno });
    await site.sim.clearFaults();
  }
  t.ok((await site.read(name)).equals(bytes));
});

t.test(
  'a container that stops answering: RETRY after the tries within, and back again all is well',
  async (t) => {
    const { name, bytes } = await released(3000);
    site.gate.hold();
    const line = await restoreFails(t, name, { code: 'UNREACHABLE', errno: 'EAGAIN' });
    t.equal(line['result'], 'retry');
    site.gate.open();
    t.ok((await site.read(name)).equals(bytes));
  },
);

/** Archives a file while something happens to it in the middle of the transfer. */
async function during(name: string, happening: () => void): Promise<LogLine> {
  const fid = await site.sim.fidOf(site.path(name));
  const after = daemon.lines.length;
  site.gate.hold();
  await site.lfs('hsm_archive', site.path(name));
  await site.gate.held(1, `/${name}`);
  happening();
  site.gate.open();
  await site.drained();
  return ended(fid, 'archive', after);
}

t.test(
  'a file written during its archive: EBUSY, stays dirty, the blob of the last good version stays whole',
  async (t) => {
    const name = 'written';
    const before = site.write(name, 20 * 1024 * 1024);
    await site.hsm('archive', site.path(name));
    const changed = site.write(name, 20 * 1024 * 1024);
    const line = await during(name, () => {
      appendFileSync(site.path(name), 'more');
    });
    t.match(line, { level: 'error', errno: 'EBUSY' });
    t.match(await site.state(site.path(name)), /exists dirty/);
    t.ok(
      (await site.container.getBlobClient(name).downloadToBuffer()).equals(before),
      'nothing torn was committed',
    );
    await site.hsm('archive', site.path(name));
    const blob = await site.container.getBlobClient(name).downloadToBuffer();
    t.ok(blob.equals(Buffer.concat([changed, Buffer.from('more')])));
  },
);

t.test('a file truncated during its archive: EBUSY, and the next archive is right', async (t) => {
  const name = 'truncated';
  const bytes = site.write(name, 20 * 1024 * 1024);
  const line = await during(name, () => {
    truncateSync(site.path(name), 1000);
  });
  t.match(line, { level: 'error', errno: 'EBUSY' });
  await site.hsm('archive', site.path(name));
  t.ok((await site.container.getBlobClient(name).downloadToBuffer()).equals(bytes.subarray(0, 1000)));
});

t.test('chmod during an archive does not fail it', async (t) => {
  site.write('chmodded', 20 * 1024 * 1024);
  const line = await during('chmodded', () => {
    execFileSync('chmod', ['600', site.path('chmodded')]);
  });
  t.equal(line['result'], 'succeeded');
});

t.test('a file renamed during its archive is archived, and restores under its new name', async (t) => {
  const bytes = site.write('renamed', 10 * 1024 * 1024);
  mkdirSync(site.path('elsewhere'));
  const line = await during('renamed', () => {
    renameSync(site.path('renamed'), site.path('elsewhere/new'));
  });
  t.equal(line['result'], 'succeeded');
  await site.hsm('release', site.path('elsewhere/new'));
  t.ok((await site.read('elsewhere/new')).equals(bytes));
});

t.test('a file unlinked while its archive runs: the archive ends well', async (t) => {
  site.write('unlinked', 10 * 1024 * 1024);
  const line = await during('unlinked', () => {
    unlinkSync(site.path('unlinked'));
  });
  t.equal(line['result'], 'succeeded');
});

t.test('an item that the MDT does not know (any more) harms nobody', async (t) => {
  site.write('unknown item', 10);
  const fid = await site.sim.fidOf(site.path('unknown item'));
  const { failed = 0 } = await site.sim.counters();
  await site.sim.inject(0, listOf([itemFor(fid, CopytoolAction.ARCHIVE)]));
  // What comes behind it is served.
  await site.hsm('archive', site.path('unknown item'));
  t.equal((await site.sim.counters())['failed'], failed);
});

/** A list as the MDT would send it. */
function listOf(items: ReturnType<typeof itemFor>[]): Buffer {
  return encodeActionList({ version: 1, compoundId: 0n, archiveId: 1, flags: 0n, fsname: 'lustre', items });
}

function itemFor(fid: string, action: number) {
  const parsed = parseFid(fid);
  if (!parsed) throw new Error(`no FID: ${fid}`);
  serial += 1;
  return {
    action,
    fid: parsed,
    dfid: parsed,
    extent: { offset: 0n, length: 0xffffffffffffffffn },
    cookie: BigInt(0x7000_0000 + serial),
    gid: 0n,
    data: Buffer.alloc(0),
  };
}

t.test('a bad receive buffer is logged, and what comes behind it is served', async (t) => {
  site.write('behind', 10);
  const good = listOf([]);
  const short = Buffer.concat([good, Buffer.from([9, 0, 0, 0])]);
  short.writeUInt32LE(1, 4);
  const tooMany = Buffer.from(good);
  tooMany.writeUInt32LE(1000, 4);
  const garbage = Buffer.alloc(200, 0xee);
  for (const buffer of [short, tooMany, garbage]) {
    const after = daemon.lines.length;
    await site.sim.inject(0, buffer);
    const line = await daemon.log(
      (each) => daemon.lines.indexOf(each) >= after && each.msg === 'a receive buffer does not decode',
    );
    t.equal(typeof line['reason'], 'string', String(line['reason']));
  }
  await site.hsm('archive', site.path('behind'));
  t.match(await site.state(site.path('behind')), /exists archived/);
});

t.test('an unknown action is ended, and what comes behind it is served', async (t) => {
  site.write('next', 10);
  const fid = await site.sim.fidOf(site.path('next'));
  const after = daemon.lines.length;
  const list = listOf([itemFor(fid, 77)]);
  await site.sim.inject(0, list);
  await daemon.log((line) => daemon.lines.indexOf(line) >= after && line['op'] === 'unknown');
  await site.hsm('archive', site.path('next'));
  t.match(await site.state(site.path('next')), /exists archived/);
});

t.test("garbage in the user's data changes nothing", async (t) => {
  const bytes = site.write('with data', 10);
  await site.lfs('hsm_archive', '--data', '{"name": \u0001 ../../etc/passwd', site.path('with data'));
  await site.drained();
  t.ok((await site.container.getBlobClient('with data').downloadToBuffer()).equals(bytes));
});

t.test('a plain blob at the name of a parent directory: refused, and the blob is not touched', async (t) => {
  await site.container.getBlockBlobClient('both').upload('a file', 6);
  mkdirSync(site.path('both'));
  site.write('both/child', 10);
  const after = daemon.lines.length;
  await site.hsm('archive', site.path('both/child'));
  const line = await ended(await site.sim.fidOf(site.path('both/child')), 'archive', after);
  t.match(line, { level: 'error', code: 'PARENT_IS_FILE' });
  t.equal((await site.container.getBlobClient('both').downloadToBuffer()).toString(), 'a file');
});

t.test('a blob of somebody else at the name of a new file is not overwritten by default', async (t) => {
  await site.container.getBlockBlobClient('taken').upload('precious', 8);
  site.write('taken', 10);
  const after = daemon.lines.length;
  await site.hsm('archive', site.path('taken'));
  const line = await ended(await site.sim.fidOf(site.path('taken')), 'archive', after);
  t.match(line, { level: 'error', code: 'BLOB_NOT_OURS', errno: 'EEXIST' });
  t.match(line.msg, /archive_changed/);
  t.equal((await site.container.getBlobClient('taken').downloadToBuffer()).toString(), 'precious');
  t.equal(statSync(site.path('taken')).size, 10);
});

t.test('remove of a blob that is not there is ENOENT', async (t) => {
  site.write('gone', 10);
  await site.hsm('archive', site.path('gone'));
  await site.container.getBlobClient('gone').delete();
  const after = daemon.lines.length;
  await site.hsm('remove', site.path('gone'));
  const line = await ended(await site.sim.fidOf(site.path('gone')), 'remove', after);
  t.match(line, { level: 'error', errno: 'ENOENT' });
});

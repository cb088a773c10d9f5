// States of files under HSM: what archives, restores, releases and removes do to them, and what does not.
import {
  chmod,
  chown,
  lstat,
  open,
  rename,
  stat,
  symlink,
  truncate,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import {
  ACTION,
  archivedFile,
  cat,
  ERRNO,
  fixture,
  onRealLustre,
  program,
  simOnly,
  STATE,
} from './simtool.js';

const f = await fixture(t);
const sh = (name: string) => join(f.dir, name);
const tool = f.tool();
await tool.register(f.mount);

const times = async (path: string) => {
  const { atimeNs, mtimeNs, ctimeNs } = await lstat(path, { bigint: true });
  return { atimeNs, mtimeNs, ctimeNs };
};
const setXattr = (path: string, name: string, value: string) =>
  program(
    'python3',
    '-c',
    `import os,sys; os.setxattr(sys.argv[1], sys.argv[2], sys.argv[3].encode())`,
    path,
    name,
    value,
  ).result;

t.test('archive touches neither atime, mtime nor ctime', async (t) => {
  await writeFile(sh('times'), 'content');
  await utimes(sh('times'), 1000, 2000);
  const before = await times(sh('times'));
  await f.lfs('hsm_archive', sh('times'));
  const item = await tool.item();
  t.equal(await tool.rc(`begin ${item.index}`), 0);
  const fd = await tool.rc(`get_fd ${item.index}`);
  t.match(await tool.run(`read ${fd}`), { rc: 7, data: Buffer.from('content').toString('hex') });
  await tool.rc(`close ${fd}`);
  t.equal(await tool.rc(`end ${item.index} 0`), 0);
  t.strictSame(await times(sh('times')), before);
  t.match(await f.state(sh('times')), /^\(0x00000009\) exists archived, archive_id:1$/);
});

t.test('restore puts a/m/ctime back', async (t) => {
  await writeFile(sh('back'), 'content');
  await archivedFile(f, tool, sh('back'), { release: true });
  const before = await times(sh('back'));
  await f.lfs('hsm_restore', sh('back'));
  t.equal(await tool.restoreOne(await tool.item(), 'content'), 0);
  t.strictSame(await times(sh('back')), before);
  t.match(await f.state(sh('back')), /^\(0x00000009\)/);
  t.equal((await cat(sh('back')).result).stdout, 'content');
});

t.test('a trusted xattr bumps ctime only, dirties nothing, and restores nothing', async (t) => {
  await writeFile(sh('xattr'), 'x');
  await archivedFile(f, tool, sh('xattr'), { release: true });
  const before = await times(sh('xattr'));
  t.equal((await setXattr(sh('xattr'), 'trusted.lhsm_uuid', 'az://c/' + 'n'.repeat(900))).code, 0);
  const after = await times(sh('xattr'));
  t.equal(after.mtimeNs, before.mtimeNs);
  t.equal(after.atimeNs, before.atimeNs);
  t.ok(after.ctimeNs > before.ctimeNs);
  t.match(await f.state(sh('xattr')), /^\(0x0000000d\)/);
});

t.test('stat, chmod, chown, path2fid and .lustre/fid with or without brackets restore nothing', async (t) => {
  await writeFile(sh('quiet'), 'quiet');
  await archivedFile(f, tool, sh('quiet'), { release: true });
  const fid = (await f.lfs('path2fid', sh('quiet'))).stdout.trim();
  await chmod(sh('quiet'), 0o640);
  await chown(sh('quiet'), 12, 34);
  for (const name of [fid, fid.slice(1, -1)]) {
    const through = join(f.mount, '.lustre/fid', name);
    t.match(await stat(through), { size: 5, uid: 12, gid: 34 });
    const read = `import os,sys; os.getxattr(sys.argv[1], 'trusted.none')`;
    t.match((await program('python3', '-c', read, through).result).stderr, /No data available/);
  }
  t.match(await f.state(sh('quiet')), /^\(0x0000000d\)/);
  t.match((await f.lfs('hsm_action', sh('quiet'))).stdout, /: NOOP\n$/);
});

t.test('a released file shows its real size and 1 block', async (t) => {
  await writeFile(sh('size'), Buffer.alloc(100_000));
  await archivedFile(f, tool, sh('size'), { release: true });
  t.match(await stat(sh('size')), { size: 100_000, blocks: 1 });
});

t.test('open of a released file returns at once and restores nothing; the first read blocks', async (t) => {
  await writeFile(sh('open'), 'open');
  await archivedFile(f, tool, sh('open'), { release: true });
  const file = await open(sh('open'));
  t.equal((await tool.recv(150)).rc, ERRNO.ETIMEDOUT, 'nothing asked for at open');
  const reading = file.read({ buffer: Buffer.alloc(10) });
  const item = await tool.item();
  t.equal(item.action, ACTION.RESTORE);
  t.equal(await tool.restoreOne(item, 'open'), 0);
  const { bytesRead, buffer } = await reading;
  t.equal(buffer.toString('utf8', 0, bytesRead), 'open');
  await file.close();
});

t.test('truncate to 0 restores first, then the file is exists dirty archived', async (t) => {
  await writeFile(sh('trunc'), 'trunc');
  await archivedFile(f, tool, sh('trunc'), { release: true });
  const cut = program('truncate', '-s', '0', sh('trunc'));
  t.equal(await tool.restoreOne(await tool.item(), 'trunc'), 0);
  t.equal((await cut.result).code, 0);
  t.equal((await stat(sh('trunc'))).size, 0);
  t.match(await f.state(sh('trunc')), /^\(0x0000000b\) exists dirty archived/);
});

t.test('appending restores first, too', async (t) => {
  await writeFile(sh('append'), 'one');
  await archivedFile(f, tool, sh('append'), { release: true });
  const append = program('sh', '-c', `printf two >> '${sh('append')}'`);
  t.equal(await tool.restoreOne(await tool.item(), 'one'), 0);
  t.equal((await append.result).code, 0);
  t.equal((await cat(sh('append')).result).stdout, 'onetwo');
  t.match(await f.state(sh('append')), /^\(0x0000000b\)/);
});

t.test('a reader that is interrupted gets EINTR, the restore goes on', async (t) => {
  await writeFile(sh('eintr'), 'later');
  await archivedFile(f, tool, sh('eintr'), { release: true });
  const reader = cat(sh('eintr'));
  const item = await tool.item();
  reader.kill('SIGTERM');
  t.not((await reader.result).code, 0);
  t.equal(await tool.restoreOne(item, 'later'), 0);
  t.equal((await cat(sh('eintr')).result).stdout, 'later');
});

t.test('several readers wait for one restore', async (t) => {
  await writeFile(sh('shared'), 'shared');
  await archivedFile(f, tool, sh('shared'), { release: true });
  const readers = Array.from({ length: 5 }, () => cat(sh('shared')));
  const item = await tool.item();
  if (!onRealLustre) await f.sim.wait('blocked==5');
  t.equal((await tool.recv(100)).rc, ERRNO.ETIMEDOUT, 'one request only');
  t.equal(await tool.restoreOne(item, 'shared'), 0);
  for (const { result } of readers) t.equal((await result).stdout, 'shared');
});

t.test('writing to an archived file makes it dirty; archiving again cleans it', async (t) => {
  await writeFile(sh('dirty'), 'one');
  await archivedFile(f, tool, sh('dirty'));
  await writeFile(sh('dirty'), 'two');
  t.match(await f.state(sh('dirty')), /^\(0x0000000b\) exists dirty archived/);
  t.match((await f.lfs('hsm_release', sh('dirty'))).stderr, /Operation not permitted/);
  await archivedFile(f, tool, sh('dirty'));
  t.match(await f.state(sh('dirty')), /^\(0x00000009\)/);
});

t.test('remove of an archived, present file: state 0x0, but the archive id stays', async (t) => {
  await writeFile(sh('removed'), 'x');
  await archivedFile(f, tool, sh('removed'));
  await f.lfs('hsm_remove', sh('removed'));
  const item = await tool.item();
  t.equal(item.action, ACTION.REMOVE);
  await tool.archiveOne(item);
  t.equal(await f.state(sh('removed')), '(0x00000000), archive_id:1');
});

t.test('remove of a released file is refused with EPERM', async (t) => {
  await writeFile(sh('noremove'), 'x');
  await archivedFile(f, tool, sh('noremove'), { release: true });
  const { code, stderr } = await f.lfs('hsm_remove', sh('noremove'));
  t.not(code, 0);
  t.match(stderr, /Cannot send HSM request \(use of .*noremove\): Operation not permitted/);
});

t.test('a file written during archive: end returns EBUSY, FAILED, exists dirty', async (t) => {
  await writeFile(sh('busy'), 'one');
  await f.lfs('hsm_archive', sh('busy'));
  const item = await tool.item();
  t.equal(await tool.rc(`begin ${item.index}`), 0);
  await writeFile(sh('busy'), 'two');
  t.equal(await tool.rc(`end ${item.index} 0`), ERRNO.EBUSY);
  t.match(await f.state(sh('busy')), /^\(0x00000003\) exists dirty/);
  if (!onRealLustre) await f.sim.requestReaches(sh('busy'), 'FAILED');
});

t.test('truncated, then renamed during archive: the first fails it, the second does not', async (t) => {
  await writeFile(sh('cut'), 'content');
  await writeFile(sh('moved'), 'content');
  await f.lfs('hsm_archive', sh('cut'), sh('moved'));
  const items = await tool.items(2);
  for (const item of items) t.equal(await tool.rc(`begin ${item.index}`), 0);
  await truncate(sh('cut'), 3);
  await rename(sh('moved'), sh('moved2'));
  t.equal(await tool.rc(`end ${items[0]?.index ?? -1} 0`), ERRNO.EBUSY);
  t.equal(await tool.rc(`end ${items[1]?.index ?? -1} 0`), 0);
  t.match(await f.state(sh('moved2')), /^\(0x00000009\)/);
});

t.test('chmod and chown during archive do not fail it', async (t) => {
  await writeFile(sh('mode'), 'x');
  await f.lfs('hsm_archive', sh('mode'));
  const item = await tool.item();
  t.equal(await tool.rc(`begin ${item.index}`), 0);
  await chmod(sh('mode'), 0o600);
  await chown(sh('mode'), 1, 1);
  t.equal(await tool.rc(`end ${item.index} 0`), 0);
});

t.test('a file unlinked before its archive was handed out: FAILED, never delivered', simOnly, async (t) => {
  await f.sim.setParam('hsm_control', 'disabled');
  await writeFile(sh('gone'), 'x');
  const fid = await f.sim.fidOf(sh('gone'));
  await f.lfs('hsm_archive', sh('gone'));
  await unlink(sh('gone'));
  await f.sim.setParam('hsm_control', 'enabled');
  await f.sim.requestReaches(fid, 'FAILED');
  t.equal((await tool.recv(100)).rc, ERRNO.ETIMEDOUT);
});

t.test('a file unlinked while its archive runs: end returns 0, SUCCEED', async (t) => {
  await writeFile(sh('unlinked'), 'x');
  await f.lfs('hsm_archive', sh('unlinked'));
  const item = await tool.item();
  t.equal(await tool.rc(`begin ${item.index}`), 0);
  await unlink(sh('unlinked'));
  t.equal(await tool.rc(`end ${item.index} 0`), 0);
  if (!onRealLustre) await f.sim.requestReaches(item.fid, 'SUCCEED');
});

t.test('an unlinked but open file still restores', async (t) => {
  await writeFile(sh('open-gone'), 'still here');
  await archivedFile(f, tool, sh('open-gone'), { release: true });
  const file = await open(sh('open-gone'));
  await unlink(sh('open-gone'));
  const reading = file.readFile('utf8');
  const item = await tool.item();
  t.equal((await tool.run(`fid2path ${f.mount} ${item.fid}`)).rc, ERRNO.ENOENT);
  t.equal(await tool.restoreOne(item, 'still here'), 0);
  t.equal(await reading, 'still here');
  await file.close();
});

for (const [name, errno] of [
  ['a missing object', 2],
  ['an I/O error', 5],
  ['a cancel', 125],
] as const) {
  t.test(
    `${name} that fails a restore: the reader gets ENODATA, the file stays released, the next read asks again`,
    async (t) => {
      const path = sh(`fails${errno}`);
      await writeFile(path, 'x');
      await archivedFile(f, tool, path, { release: true });
      const reader = cat(path);
      t.strictSame(await tool.failOne(await tool.item(), errno), [0, 0]);
      t.match(await reader.result, { code: 1, stderr: /No data available/ });
      t.match(await f.state(path), /^\(0x0000000d\)/);
      const again = cat(path);
      t.equal(await tool.restoreOne(await tool.item(), 'x'), 0);
      t.equal((await again.result).stdout, 'x');
    },
  );
}

t.test('import makes a stub: state 0xd, size, owner and mtime right, the sticky bit lost', async (t) => {
  const reply = await tool.run(`import ${sh('stub')} 2 12345 1644 1001 1002 1700000000 123456789`);
  t.equal(reply.rc, 0);
  t.equal(reply['fid'], (await f.lfs('path2fid', sh('stub'))).stdout.trim());
  t.equal(await f.state(sh('stub')), '(0x0000000d) released exists archived, archive_id:2');
  const st = await stat(sh('stub'), { bigint: true });
  t.match(st, { size: 12345n, uid: 1001n, gid: 1002n, mtimeNs: 1700000000123456789n });
  t.equal(st.mode & 0o7777n, 0o644n);
  await chmod(sh('stub'), 0o1644);
  t.equal((await stat(sh('stub'))).mode & 0o7777, 0o1644);
  t.equal((await setXattr(sh('stub'), 'trusted.lhsm_uuid', 'az://c/n')).code, 0);
  t.match(await f.state(sh('stub')), /^\(0x0000000d\)/);
});

t.test(
  'importing over an existing name returns EEXIST and prints two lines unless told not to',
  async (t) => {
    await writeFile(sh('exists'), 'x');
    const talker = f.tool();
    const command = `import ${sh('exists')} 1 1 644 0 0 0 0`;
    t.equal(await talker.rc(command), ERRNO.EEXIST);
    await talker.rc('msg_level 7');
    t.equal(await talker.rc(command), ERRNO.EEXIST);
    await talker.close();
    t.equal(talker.stderr.trim().split('\n').length, 2);
  },
);

t.test('importing follows a link that leads to nothing, as the real library does', async (t) => {
  await symlink('pointed-at', sh('dangling'));
  t.equal(await tool.rc(`import ${sh('dangling')} 1 5 644 0 0 0 0`), 0);
  t.match(await f.state(sh('pointed-at')), /^\(0x0000000d\)/);
  t.equal(await tool.rc(`import ${sh('dangling')} 1 5 644 0 0 0 0`), ERRNO.EEXIST, 'and to a file');
});

t.test('a stub restores to the size of what was written', async (t) => {
  await tool.run(`import ${sh('longer')} 1 3 644 0 0 0 0`);
  const reader = cat(sh('longer'));
  t.equal(await tool.restoreOne(await tool.item(), 'longer than three'), 0);
  t.equal((await reader.result).stdout, 'longer than three');
  t.equal((await stat(sh('longer'))).size, 17);
});

t.test('norelease, noarchive and lost are honoured', async (t) => {
  await writeFile(sh('flags'), 'x');
  await archivedFile(f, tool, sh('flags'));
  await f.lfs('hsm_set', '--norelease', sh('flags'));
  t.match((await f.lfs('hsm_release', sh('flags'))).stderr, /Operation not permitted/);
  await f.lfs('hsm_clear', '--norelease', sh('flags'));
  t.equal((await f.lfs('hsm_release', sh('flags'))).code, 0);
  t.equal((await f.lfs('hsm_release', sh('flags'))).code, 0, 'twice is once');
  await f.lfs('hsm_set', '--lost', sh('flags'));
  t.match(await cat(sh('flags')).result, { code: 1, stderr: /No data available/ });
  t.match(await f.state(sh('flags')), /lost_from_hsm/);
});

t.test('states that contradict each other are refused', async (t) => {
  await writeFile(sh('states'), 'x');
  const set = (states: number): Promise<number> => tool.rc(`state_set ${sh('states')} ${states} 0 0`);
  t.equal(await set(STATE.DIRTY), ERRNO.EINVAL, 'dirty without a copy');
  t.equal(await set(STATE.LOST), ERRNO.EINVAL, 'lost, and never archived');
  await archivedFile(f, tool, sh('states'));
  t.equal(await set(STATE.DIRTY | STATE.LOST), 0, 'lost and dirty: there is content to archive anew');
  t.equal(await tool.rc(`state_set ${sh('states')} 0 ${STATE.DIRTY | STATE.LOST} 0`), 0);
  t.equal((await f.lfs('hsm_release', sh('states'))).code, 0);
  t.equal(await set(STATE.DIRTY), ERRNO.EINVAL, 'released and dirty');
  t.equal(
    await tool.rc(`state_set ${sh('states')} 0 ${STATE.ARCHIVED} 0`),
    ERRNO.EINVAL,
    'released without a copy',
  );
});

t.test('release of a file that somebody has open is refused with EBUSY', async (t) => {
  await writeFile(sh('held'), 'x');
  await archivedFile(f, tool, sh('held'));
  const file = await open(sh('held'));
  t.match((await f.lfs('hsm_release', sh('held'))).stderr, /Device or resource busy/);
  await file.close();
  t.equal((await f.lfs('hsm_release', sh('held'))).code, 0);
});

t.test('a write takes a new data version, chmod does not', async (t) => {
  await writeFile(sh('version'), 'x');
  const first = await tool.run(`data_version ${sh('version')}`);
  await chmod(sh('version'), 0o600);
  t.equal((await tool.run(`data_version ${sh('version')}`))['version'], first['version']);
  await writeFile(sh('version'), 'y');
  t.not((await tool.run(`data_version ${sh('version')}`))['version'], first['version']);
});

t.test('the states the library reports', async (t) => {
  t.match(await tool.run(`state ${sh('removed')}`), { rc: 0, states: 0, archive: 1 });
  await tool.run(`state_set ${sh('removed')} ${STATE.EXISTS | STATE.ARCHIVED} 0 9`);
  t.match(await tool.run(`state ${sh('removed')}`), { states: STATE.EXISTS | STATE.ARCHIVED, archive: 9 });
  t.equal((await tool.run(`state ${sh('none')}`)).rc, ERRNO.ENOENT);
  await writeFile(sh('archiving'), 'x');
  await f.lfs('hsm_archive', sh('archiving'));
  const item = await tool.item();
  t.match(await tool.run(`current_action ${sh('archiving')}`), { state: 2, action: 10 });
  await tool.archiveOne(item);
  t.match(await tool.run(`current_action ${sh('archiving')}`), { state: 0, action: 1 });
});

t.test('no test misused the library', simOnly, async (t) => {
  t.strictSame(await f.sim.violations(), []);
});

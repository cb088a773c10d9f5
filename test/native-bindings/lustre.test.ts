// The whole interface Lustre on the simulated file system, or on a real one (LHSM_TEST_MOUNT, LHSM_TEST_LIBRARY).
import { closeSync, constants, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { link, mkdir, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import {
  CopytoolAction,
  DataVersionFlag,
  HsmStateFlag,
  RequestFlag,
  UserAction,
  WHOLE_FILE,
} from '../../native-bindings/constants.js';
import { hasCode } from '../../native-bindings/errors.js';
import type { CopyAction, Fid } from '../../native-bindings/lustre.js';
import { fidPath, formatFid } from '../../native-bindings/lustre.js';
import { encodeActionItem } from '../../native-bindings/structs.js';
import { openDescriptors } from './helpers.js';
import { ARCHIVE_ID, Inbox, readElsewhere, runLfs, startLustre } from './lustre-under-test.js';

const fs = await startLustre(t);
const { lustre, mount, dir } = fs;
const wholeFile = { offset: 0n, length: WHOLE_FILE };
const ECANCELED = 125;
const { ARCHIVED, EXISTS, DIRTY, RELEASED, NOARCHIVE } = HsmStateFlag;

const ask = (action: number, ...fids: Fid[]): Promise<void> =>
  lustre.request(mount, { action, archiveId: ARCHIVE_ID, fids });

/** Ends an action as done. */
const done = async (action: CopyAction): Promise<void> => {
  await action.end(wholeFile, 0, 0);
};

/** Archives a file without keeping its content anywhere. */
async function archived(inbox: Inbox, path: string): Promise<Fid> {
  const fid = await lustre.pathToFid(path);
  await ask(UserAction.ARCHIVE, fid);
  const item = await inbox.next(CopytoolAction.ARCHIVE, fid);
  await done(await inbox.tool.begin(item.raw));
  return fid;
}

t.test('the file system has a name', (t) => {
  t.match(lustre.fsname(dir), /^\w{1,8}$/);
  t.throws(() => lustre.fsname('/proc'), { name: 'LhsmError', op: 'llapi_search_fsname' });
  t.end();
});

t.test('FIDs, paths and descriptors lead to one another, names being bytes', async (t) => {
  // No UTF-8: a byte that stands alone, a newline, a per cent sign.
  const name = Buffer.concat([Buffer.from('%20 "'), Buffer.from([0xff, 0x0a, 0xc3]), Buffer.from('é#')]);
  const path = Buffer.concat([Buffer.from(`${dir}/`), name]);
  await writeFile(path, 'content');
  const fid = await lustre.pathToFid(path);
  t.same(await lustre.fidToPath(mount, fid), path.subarray(Buffer.byteLength(mount) + 1));
  const fd = await lustre.openByFid(mount, fid, constants.O_RDONLY);
  t.same(await lustre.fdToFid(fd), fid);
  t.equal(readFileSync(fd, 'utf8'), 'content');
  t.match(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'), /flags:\s+0?2\d{6}/, 'close-on-exec');
  closeSync(fd);
  t.equal(await readFile(fidPath(mount, fid), 'utf8'), 'content');

  await mkdir(join(dir, 'sub'));
  const other = join(dir, 'sub', 'second');
  await link(path, other);
  const links = await Promise.all([0, 1].map((i) => lustre.fidToPath(mount, fid, i)));
  t.same(
    links.map((link) => link.toString('hex')).sort(),
    [path, Buffer.from(other)].map((link) => link.subarray(mount.length + 1).toString('hex')).sort(),
    'every hard link has its number',
  );
  await rm(path);
  await rm(other);
  await t.rejects(lustre.openByFid(mount, fid, constants.O_RDONLY), { code: 'ENOENT' });
  await t.rejects(lustre.fidToPath(mount, fid), { code: 'ENOENT', message: /llapi_fid2path of \[0x/ });
  await t.rejects(lustre.pathToFid(path), { code: 'ENOENT' });
});

t.test('the data version changes with the content, not with the mode', async (t) => {
  const file = await open(join(dir, 'version'), 'w+');
  await file.write('a');
  const first = await lustre.dataVersion(file.fd, 2n);
  await file.chmod(0o600);
  t.equal(await lustre.dataVersion(file.fd, 2n), first);
  await file.write('b');
  t.not(await lustre.dataVersion(file.fd, 2n), first);
  await file.close();
});

t.test('attributes and times through a descriptor', async (t) => {
  const file = await open(join(dir, 'attributes'), 'w+');
  const name = 'trusted.lhsm_test';
  const xattr = async () => (await lustre.look(file.fd, [name])).xattrs[0];
  const value = Buffer.alloc(300, 7);
  t.equal(await xattr(), undefined);
  await lustre.setXattr(file.fd, name, value);
  t.same(await xattr(), value);
  await lustre.changeXattrs(file.fd, [{ name, value: undefined }]);
  t.equal(await xattr(), undefined);
  const times = { atimeNs: 1_000_000_001n, mtimeNs: 2_000_000_002n, ctimeNs: 3_000_000_003n };
  try {
    await lustre.setTimes(file.fd, times);
    const { atimeNs, mtimeNs, ctimeNs } = await file.stat({ bigint: true });
    t.same({ atimeNs, mtimeNs, ctimeNs }, times);
  } catch (error) {
    // The simulator does not know this ioctl.
    t.ok(fs.sim && hasCode(error, 'ENOTTY'), 'setTimes');
  }
  await file.close();
});

t.test('states by path and by descriptor', async (t) => {
  const path = join(dir, 'state');
  const fd = openSync(path, 'w');
  const none = { states: 0, archiveId: 0, inProgressState: 0, inProgressAction: 0 };
  t.match(await lustre.hsmState(path), none);
  await lustre.setHsmState(path, { set: NOARCHIVE, clear: 0 });
  t.match(await lustre.hsmStateFd(fd), { states: NOARCHIVE });
  await lustre.setHsmStateFd(fd, { set: EXISTS | ARCHIVED, clear: NOARCHIVE, archiveId: 3 });
  t.match(await lustre.hsmState(path), { states: EXISTS | ARCHIVED, archiveId: 3 });
  t.equal((await lustre.currentAction(path)).state, 0, 'nothing is going on');
  closeSync(fd);
  await t.rejects(lustre.hsmState(join(dir, 'nothing')), {
    code: 'ENOENT',
    errno: 2,
    op: 'llapi_hsm_state_get',
    message: /nothing failed: ENOENT/,
  });
  await t.rejects(lustre.hsmState('/proc/self/status'), { code: 'ENOTTY', hint: /Lustre/ });
});

t.test('registering where there is no Lustre says so', async (t) => {
  const before = openDescriptors();
  await t.rejects(lustre.register('/proc', []), { code: 'ENOENT', hint: /Lustre/ });
  await t.rejects(lustre.register('/nowhere', []), { code: 'ENOENT', message: /of \/nowhere failed/ });
  t.equal(openDescriptors(), before);
});

t.test('archive, release, restore by a blocked reader, remove', async (t) => {
  const before = openDescriptors();
  const tool = await lustre.register(mount, [ARCHIVE_ID]);
  const inbox = new Inbox(tool);
  const path = join(dir, 'life');
  const content = Buffer.alloc(100_000, 'abcdefg');
  await writeFile(path, content);
  const fid = await lustre.pathToFid(path);

  await lustre.request(mount, {
    action: UserAction.ARCHIVE,
    archiveId: ARCHIVE_ID,
    fids: [fid],
    data: Buffer.from('{"é":1}'),
  });
  const archive = await inbox.next(CopytoolAction.ARCHIVE, fid);
  t.equal(archive.data.toString(), '{"é":1}');
  t.match(archive, { dfid: fid, extent: wholeFile });
  const archiving = await tool.begin(archive.raw);
  t.same(archiving.dataFid(), fid);
  const source = await archiving.openData();
  const copy = Buffer.alloc(content.length);
  t.equal(readSync(source, copy), content.length);
  await archiving.progress({ offset: 0n, length: 60_000n }, 100_000n);
  t.equal((await lustre.currentAction(path)).action, UserAction.ARCHIVE);
  await archiving.progress({ offset: 60_000n, length: 40_000n }, 100_000n);
  await done(archiving);
  t.same(copy, content);
  t.match(await lustre.hsmState(path), { states: EXISTS | ARCHIVED, archiveId: ARCHIVE_ID });

  const opened = await lustre.openByFid(mount, fid, constants.O_RDONLY);
  const kept = await lustre.dataState(opened, DataVersionFlag.FLUSH_READERS);
  t.match(kept, { states: EXISTS | ARCHIVED, attributes: { size: 100_000n, nlink: 1n } });
  t.equal(kept.dataVersion, await lustre.dataVersion(opened, DataVersionFlag.FLUSH_READERS));
  closeSync(opened);
  await ask(UserAction.RELEASE, fid);
  t.match(await lustre.hsmState(path), { states: EXISTS | ARCHIVED | RELEASED });
  const released = await lustre.openByFid(mount, fid, constants.O_RDONLY);
  const gone = await lustre.dataState(released, DataVersionFlag.FLUSH_READERS);
  t.match(gone, { states: EXISTS | ARCHIVED | RELEASED, dataVersion: 0n });
  const { mtimeNs } = await stat(path, { bigint: true });

  const reading = readElsewhere(path);
  const restore = await inbox.next(CopytoolAction.RESTORE, fid);
  t.ok((inbox.flagsOf(restore) ?? 0n) & RequestFlag.BLOCKING, 'somebody waits');
  const restoring = await tool.begin(restore.raw, { mountFd: released });
  t.not(formatFid(restoring.dataFid()), formatFid(fid), 'the volatile file has a FID of its own');
  const target = await restoring.openData();
  writeSync(target, copy, 0, copy.length, 0);
  await done(restoring);
  t.same(await reading, content);
  closeSync(released);
  t.match(await lustre.hsmState(path), { states: EXISTS | ARCHIVED });
  t.equal((await stat(path, { bigint: true })).mtimeNs, mtimeNs, 'end puts the times back');

  await ask(UserAction.REMOVE, fid);
  const removing = await tool.begin((await inbox.next(CopytoolAction.REMOVE, fid)).raw);
  await done(removing);
  t.match(await lustre.hsmState(path), { states: 0 });
  await tool.unregister();
  t.equal(openDescriptors(), before, 'no descriptor is left');
});

t.test('a file written while it is archived ends EBUSY and stays dirty', async (t) => {
  const inbox = new Inbox(await lustre.register(mount, [ARCHIVE_ID]));
  const path = join(dir, 'changed');
  await writeFile(path, 'one');
  const fid = await lustre.pathToFid(path);
  await ask(UserAction.ARCHIVE, fid);
  const action = await inbox.tool.begin((await inbox.next(CopytoolAction.ARCHIVE, fid)).raw);
  await writeFile(path, 'two', { flag: 'r+' });
  await t.rejects(done(action), {
    code: 'EBUSY',
    message: `llapi_hsm_action_end of ${formatFid(fid)} failed: EBUSY`,
  });
  t.ok((await lustre.hsmState(path)).states & DIRTY);
  await inbox.tool.unregister();
});

t.test('a cancel carries the cookie of its action, and progress then says ECANCELED', async (t) => {
  const inbox = new Inbox(await lustre.register(mount, [ARCHIVE_ID]));
  const path = join(dir, 'cancelled');
  await writeFile(path, 'one');
  const fid = await lustre.pathToFid(path);
  await ask(UserAction.ARCHIVE, fid);
  const item = await inbox.next(CopytoolAction.ARCHIVE, fid);
  const action = await inbox.tool.begin(item.raw);
  await runLfs(fs.lfs, 'hsm_cancel', path);
  t.equal((await inbox.next(CopytoolAction.CANCEL, fid)).cookie, item.cookie);
  await t.rejects(action.progress({ offset: 0n, length: 0n }, 3n), { code: 'ECANCELED', errno: ECANCELED });
  await action.end(wholeFile, 0, ECANCELED);
  t.match(await lustre.hsmState(path), { inProgressState: 0 });
  await inbox.tool.unregister();
});

t.test('a failure is reported through a handle that opens nothing', async (t) => {
  const inbox = new Inbox(await lustre.register(mount, [ARCHIVE_ID]));
  const path = join(dir, 'failed');
  await writeFile(path, 'one');
  const fid = await archived(inbox, path);
  await ask(UserAction.RELEASE, fid);
  const reading = readElsewhere(path);
  const item = await inbox.next(CopytoolAction.RESTORE, fid);
  const action = await inbox.tool.begin(item.raw, { isError: true });
  await action.end(wholeFile, 0, 2);
  t.equal((await reading).length, 0, 'the reader got an error');
  t.match(await lustre.hsmState(path), { states: EXISTS | ARCHIVED | RELEASED });
  const unknown = encodeActionItem({ ...item, cookie: 1n });
  await t.rejects(
    inbox.tool.begin(unknown),
    { code: 'ENOENT' },
    'a cookie that the coordinator does not know',
  );
  await inbox.tool.unregister();
});

t.test('import makes a released stub', async (t) => {
  const path = join(dir, 'stub');
  const attributes = {
    mode: 0o100640,
    uid: 1234,
    gid: 2345,
    sizeBytes: 5_000_000_000n,
    atimeNs: 1_600_000_000_111_111_111n,
    mtimeNs: 1_500_000_000_222_222_222n,
  };
  const fid = await lustre.import(path, ARCHIVE_ID, attributes);
  t.same(await lustre.pathToFid(path), fid);
  const { mode, uid, gid, size, mtimeNs } = await stat(path, { bigint: true });
  const { sizeBytes } = attributes;
  t.same(
    { mode: Number(mode), uid: Number(uid), gid: Number(gid), size, mtimeNs },
    { mode: 0o100640, uid: 1234, gid: 2345, size: sizeBytes, mtimeNs: attributes.mtimeNs },
  );
  t.match(await lustre.hsmState(path), { states: EXISTS | ARCHIVED | RELEASED, archiveId: ARCHIVE_ID });
  await t.rejects(lustre.import(path, ARCHIVE_ID, attributes), { code: 'EEXIST' });

  const named = join(dir, 'named');
  const xattrs = [
    { name: 'trusted.lhsm_uuid', value: Buffer.from('az://container/named') },
    { name: 'trusted.lhsm_etag', value: Buffer.from('"0x1"') },
  ];
  await lustre.import(named, ARCHIVE_ID, attributes, xattrs);
  for (const { name, value } of xattrs) t.same(await lustre.getXattrPath(named, name), value);
  const half = join(dir, 'half');
  const refused = { name: `user.${'x'.repeat(300)}`, value: Buffer.from('x') };
  await t.rejects(lustre.import(half, ARCHIVE_ID, attributes, [refused, ...xattrs]), {
    code: 'ERANGE',
    op: 'lsetxattr',
    message: /user\.x+ of .*half/,
  });
  t.equal(await lustre.getXattrPath(half, 'trusted.lhsm_uuid'), undefined, 'nothing behind what failed');
  t.match(await lustre.hsmState(half), { states: EXISTS | ARCHIVED | RELEASED }, 'the stub stays');
  await t.rejects(lustre.import(path, ARCHIVE_ID, attributes, xattrs), {
    code: 'EEXIST',
    op: 'llapi_hsm_import',
  });
  t.equal(await lustre.getXattrPath(path, 'trusted.lhsm_uuid'), undefined, 'what was there is left alone');

  const value = Buffer.from(`az://container/${'n'.repeat(1000)}`);
  await lustre.setXattrPath(Buffer.from(path), 'trusted.lhsm_uuid', value);
  t.same(await lustre.getXattrPath(path, 'trusted.lhsm_uuid'), value);
  t.equal(await lustre.getXattrPath(path, 'trusted.lhsm_etag'), undefined);
  await lustre.setMtimePath(path, 1_700_000_000_000_000_001n);
  t.equal((await stat(path, { bigint: true })).mtimeNs, 1_700_000_000_000_000_001n);
  t.match(await lustre.hsmState(path), { states: EXISTS | ARCHIVED | RELEASED }, 'a stub still');
});

t.test('one request takes 52 files; a 53rd is E2BIG', async (t) => {
  const tool = await lustre.register(mount, [ARCHIVE_ID]);
  const inbox = new Inbox(tool);
  const fids: Fid[] = [];
  for (let i = 0; i < 53; i++) {
    const path = join(dir, `many-${i}`);
    await writeFile(path, 'x');
    fids.push(await lustre.pathToFid(path));
  }
  await t.rejects(ask(UserAction.ARCHIVE, ...fids), { code: 'E2BIG', hint: /at most 52/ });
  const most = fids.slice(0, 52);
  await ask(UserAction.ARCHIVE, ...most);
  for (const fid of most) {
    const item = await inbox.next(CopytoolAction.ARCHIVE, fid);
    await done(await tool.begin(item.raw));
  }
  t.match(await lustre.hsmState(join(dir, 'many-51')), { states: EXISTS | ARCHIVED });
  await tool.unregister();
});

t.test('receive ends when aborted; registering again and again leaves nothing', async (t) => {
  const before = openDescriptors();
  for (let i = 0; i < 10; i++) {
    const tool = await lustre.register(mount, [ARCHIVE_ID, 7]);
    const abort = new AbortController();
    const receiving = tool.receive(abort.signal);
    abort.abort();
    t.same(await receiving, []);
    const pending = tool.receive(new AbortController().signal);
    await tool.unregister();
    t.same(await pending, [], 'unregister ends it, too');
  }
  t.equal(openDescriptors(), before);
});

t.test('what only the simulator can show', { skip: fs.sim ? false : 'a real Lustre' }, async (t) => {
  const { sim } = fs;
  if (!sim) return;
  const tool = await lustre.register(mount, []);
  const { signal } = new AbortController();

  const list = Buffer.alloc(48 + 72 + 8);
  list.writeUInt32LE(1);
  list.writeUInt32LE(2, 4);
  list.write('lustre', 32);
  list.writeUInt32LE(72, 40);
  list.writeUInt32LE(8, 40 + 72);
  await sim.inject(0, list);
  const [received] = await tool.receive(signal);
  t.equal(received?.items.length, 1);
  t.match(received?.malformed, /item 2 of 2/);

  await sim.fault('register errno=ENXIO count=1');
  await t.rejects(lustre.register(mount, []), { code: 'ENXIO', hint: /hsm_control=enabled/ });
  await sim.evict(0);
  await t.rejects(tool.receive(signal), { code: 'ESHUTDOWN', errno: 108 });
  await tool.unregister();
  t.same(await sim.violations(), [], 'the simulator saw no misuse of the library');
});

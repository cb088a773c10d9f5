// Every call by path, descriptor and FID over a stand-in library: arguments reach C whole, results come back whole,
// errors name function, subject and errno.
import { closeSync, constants, lstatSync, symlinkSync, openSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { UserAction } from '../../native-bindings/constants.js';
import { loadLustre } from '../../native-bindings/liblustreapi.js';
import { fidPath } from '../../native-bindings/lustre.js';
import { Fake } from './fake.js';
import { openDescriptors, sharedLibrary } from './helpers.js';

const fake = Fake.build(t);
const { lustre } = fake;
const fid = { seq: 0xfedcba9876543210n, oid: 0xffffffff, ver: 7 };

t.test('a library that is missing, or too old, is said in a sentence with the mend', (t) => {
  t.throws(() => loadLustre({ library: 'libnowhere-lustreapi.so.1' }), {
    code: 'LIBRARY_MISSING',
    message: 'Library libnowhere-lustreapi.so.1 is not there.',
    hint: /lustre-client/,
  });
  const old = sharedLibrary(join(t.testdir(), 'old.so'), 'int llapi_fid2path(void) { return 0; }');
  t.throws(() => loadLustre({ library: old }), {
    code: 'LIBRARY_SYMBOLS',
    message: /old\.so lacks llapi_hsm_\w+, (llapi_\w+, )+llapi_msg_set_level\.$/,
    hint: /newer Lustre client/,
  });
  t.end();
});

t.test("the library's own messages are switched off", (t) => {
  loadLustre({ library: fake.library });
  t.equal(fake.called, 'level=0');
  t.end();
});

t.test('states', async (t) => {
  const state = {
    states: 0x8000000d,
    archiveId: 4,
    inProgressState: 1,
    inProgressAction: 21,
    inProgressExtent: { offset: 0x1ffffffffn, length: 0xfffffffffffffffen },
  };
  t.same(await lustre.hsmState('/mnt/f'), state);
  t.equal(fake.called, 'path=/mnt/f');
  t.same(await lustre.hsmStateFd(17), state);
  t.equal(fake.called, 'fd=17');
  await lustre.setHsmState('/mnt/f', { set: 0xffffffff, clear: 2, archiveId: 3 });
  t.equal(fake.called, 'path=/mnt/f set=ffffffff clear=2 archive=3');
  await lustre.setHsmStateFd(17, { set: 0, clear: 1 });
  t.equal(fake.called, 'fd=17 set=0 clear=1 archive=0');
  t.same(await lustre.currentAction('/mnt/f'), {
    state: 2,
    action: 11,
    extent: { offset: (2n << 32n) + 1n, length: (4n << 32n) + 3n },
  });
  fake.fail('llapi_hsm_state_get', 25);
  await t.rejects(lustre.hsmStateFd(17), {
    name: 'LhsmError',
    code: 'ENOTTY',
    errno: 25,
    op: 'llapi_hsm_state_get_fd',
    message: 'llapi_hsm_state_get_fd of descriptor 17 failed: ENOTTY',
    hint: /no file of a Lustre/,
  });
});

t.test('paths are bytes', async (t) => {
  await lustre.pathToFid(Buffer.from('2f6d6e742fff', 'hex'));
  t.equal(fake.called, 'path=/mnt/\ufffd');
  await lustre.pathToFid(`/mnt/${'x'.repeat(3000)}`);
  t.equal(fake.called.length, 5 + 5 + 3000);
  await t.rejects(lustre.pathToFid('/mnt/a\0b'), { code: 'EINVAL' });
});

t.test('import', async (t) => {
  const attributes = {
    mode: 0o101644,
    uid: 0xfffffffe,
    gid: 100,
    sizeBytes: 1n << 40n,
    atimeNs: 1_700_000_000_123_456_789n,
    mtimeNs: -1n,
  };
  t.same(await lustre.import('/mnt/stub', 2, attributes), fid);
  const told =
    'path=/mnt/stub archive=2 mode=101644 uid=4294967294 gid=100 size=1099511627776' +
    ' atime=1700000000.123456789 mtime=-1.999999999';
  t.equal(fake.called, `${told} stripe=0,-1,0,0 pool=none`);
  const striping = {
    stripeSizeBytes: 1n << 33n,
    stripeOffset: 1,
    stripeCount: 2,
    stripePattern: 3,
    pool: 'ssd',
  };
  await lustre.import('/mnt/stub', 2, attributes, [], striping);
  t.equal(fake.called, `${told} stripe=8589934592,1,2,3 pool=ssd`);
  fake.fail('llapi_hsm_import', 17);
  await t.rejects(lustre.import('/mnt/stub', 2, attributes), { code: 'EEXIST', message: /\/mnt\/stub/ });
});

t.test('requests', async (t) => {
  const fids = Array.from({ length: 52 }, (_, i) => ({ ...fid, ver: i }));
  const request = { action: UserAction.ARCHIVE, archiveId: 2, flags: 4n, fids, data: Buffer.from('hello') };
  await lustre.request('/mnt', request);
  t.equal(
    fake.called,
    'path=/mnt action=10 archive=2 flags=4 items=52 last=fedcba9876543210:ffffffff:33 data=hello',
  );
  fake.fail('llapi_hsm_request', 7);
  await t.rejects(lustre.request('/mnt', request), {
    code: 'E2BIG',
    message: 'llapi_hsm_request of 52 FIDs on /mnt failed: E2BIG',
    hint: /at most 52/,
  });
  const many = { ...request, fids: Array.from({ length: 1001 }, () => fid) };
  await t.rejects(lustre.request('/mnt', many), { code: 'ENOMEM' });
});

t.test('FIDs, paths, descriptors, data versions', async (t) => {
  const path = await lustre.fidToPath('/mnt', fid, 3);
  t.same(path, Buffer.from('64ff2f6c696e6b33', 'hex'), 'bytes, without the leading slash');
  t.equal(fake.called, 'mount=/mnt fid=[0xfedcba9876543210:0xffffffff:0x7] size=4096 recno=-1');
  t.same(await lustre.pathToFid('/mnt/f'), { seq: 1n, oid: 2, ver: 3 });
  t.same(await lustre.fdToFid(9), { seq: 4n, oid: 5, ver: 6 });
  t.equal(await lustre.dataVersion(9, 2n), 0xfffffffffffffff0n);
  t.equal(fake.called, 'fd=9 flags=2');
  const fd = await lustre.openByFid('/mnt', fid, 0);
  t.equal(fake.called, 'mount=/mnt fid=fedcba9876543210:ffffffff:7');
  t.match(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'), /flags:\s+02\d{6}/, 'close-on-exec');
  closeSync(fd);
  const before = openDescriptors();
  const mount = t.testdir({ '.lustre': { fid: { '0xfedcba9876543210:0xffffffff:0x7': 'content' } } });
  const { attributes, xattrs } = await lustre.lookByFid(mount, fid, ['user.none']);
  t.match(attributes, { size: 7n, mode: lstatSync(fidPath(mount, fid), { bigint: true }).mode });
  t.same(xattrs, [undefined]);
  symlinkSync('nowhere', fidPath(mount, { ...fid, ver: 9 }));
  const link = await lustre.lookByFid(mount, { ...fid, ver: 9 }, ['trusted.none']);
  t.match(link, { attributes: { size: 7n }, xattrs: [undefined] }, 'the link itself');
  await t.rejects(lustre.lookByFid(mount, { ...fid, ver: 8 }, []), {
    code: 'ENOENT',
    op: 'open',
    message: /0xfedcba9876543210:0xffffffff:0x8.* on /,
  });
  const { ino } = statSync('/dev/null', { bigint: true });
  const { O_RDONLY, O_NOFOLLOW } = constants;
  const paths = [
    { path: '/nowhere', ino },
    { path: '/dev/null', ino },
    { path: Buffer.from('/proc/self/exe'), ino },
    { path: '/dev/null', ino: ino + 1n },
  ];
  t.match(await lustre.lookAtPaths(paths, O_RDONLY | O_NOFOLLOW), [
    { code: 'ENOENT', op: 'open' },
    { fid: { seq: 4n, oid: 5, ver: 6 }, state: { states: 0x8000000d, archiveId: 4 } },
    { code: 'ELOOP' },
    undefined,
  ]);
  t.equal(openDescriptors(), before, 'closed again');
  fake.fail('llapi_hsm_state_get', 25);
  t.match(await lustre.lookAtPaths([{ path: '/dev/null', ino }], O_RDONLY), [
    { code: 'ENOTTY', message: 'llapi_hsm_state_get_fd of /dev/null failed: ENOTTY' },
  ]);
  t.equal(openDescriptors(), before, 'closed again');
  fake.fail('llapi_open_by_fid', 2);
  await t.rejects(lustre.openByFid('/mnt', fid, 0), {
    code: 'ENOENT',
    message: /0xfedcba9876543210:.* on \/mnt/,
  });
});

t.test('names of a directory are looked at together, and none stands in the way of the others', async (t) => {
  const dir = t.testdir({ file: 'abc', directory: {}, link: t.fixture('symlink', 'nowhere') });
  const fd = openSync(dir, constants.O_RDONLY);
  t.teardown(() => {
    closeSync(fd);
  });
  const names = ['file', 'none', 'directory', 'link', 'n'.repeat(300)].map((name) => Buffer.from(name));
  const looks = await lustre.lookAtNames(fd, names);
  for (const [i, name] of ['file', undefined, 'directory', 'link'].entries()) {
    if (name === undefined) continue;
    const { dev, ino, mode, nlink, uid, gid, size, blocks, mtimeNs } = lstatSync(join(dir, name), {
      bigint: true,
    });
    t.match(looks[i], { dev, ino, mode, nlink, uid, gid, size, blocks, mtimeNs });
  }
  t.same([looks[1], looks[4]], [2, 36], 'ENOENT, ENAMETOOLONG');
  t.same(await lustre.lookAtNames(fd, []), []);
});

t.test('the name of the file system', (t) => {
  t.equal(lustre.fsname('/mnt/lustre'), 'lustre');
  t.throws(() => lustre.fsname('/home'), { code: 'ENODEV', op: 'llapi_search_fsname', message: /\/home/ });
  t.end();
});

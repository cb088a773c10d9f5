// The C library's calls on an ordinary file system: results, and above all that errno is the call's own.
import { spawn } from 'node:child_process';
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { lstat, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Test } from 'tap';
import t from 'tap';
import { CallFrame } from '../../native-bindings/call-frame.js';
import { hasCode } from '../../native-bindings/errors.js';
import { libc, loadHost, sdNotify, tryLockFile } from '../../native-bindings/libc.js';
import { fixture, gcc, openDescriptors } from './helpers.js';

/** A new file's descriptor, closed with the test. Mode: as open(2)'s flags. */
function openFile(t: Test, path: string, flags = constants.O_RDWR | constants.O_CREAT): number {
  const fd = openSync(path, flags);
  t.teardown(() => {
    closeSync(fd);
  });
  return fd;
}

const BAD_FD = 1_000_000;

t.test('attributes of any size and any bytes', async (t) => {
  const host = libc();
  const path = join(t.testdir(), 'f');
  const fd = openFile(t, path);
  const supported = await host.setXattr(fd, 'user.probe', Buffer.from('x')).then(
    () => true,
    (error: unknown) => !hasCode(error, 'EOPNOTSUPP'),
  );
  if (!supported) {
    t.comment('this file system has no user attributes');
    return;
  }
  t.equal(await host.getXattrPath(path, 'user.none'), undefined, 'one that is not there is no error');
  for (const size of [0, 1, 255, 256, 257, 2000]) {
    const value = Buffer.alloc(size, size % 251);
    await host.setXattr(fd, 'user.v', value);
    t.same(await host.getXattrPath(path, 'user.v'), value, `${size} bytes`);
  }
  await t.rejects(host.setXattr(fd, 'user.v', Buffer.alloc(70_000)), {
    code: 'E2BIG',
    op: 'fsetxattr',
    errno: 7,
    message: `fsetxattr of user.v of descriptor ${fd} failed: E2BIG`,
  });
  await t.rejects(host.setXattr(fd, 'user.a\0b', Buffer.from('x')), { code: 'EINVAL' });
  await t.rejects(host.getXattrPath(path, 'user.a\0b'), { code: 'EINVAL' });
  await t.rejects(host.setXattr(BAD_FD, 'user.v', Buffer.from('x')), { code: 'EBADF', retryable: false });
});

t.test('attributes and times by path, of the name itself', async (t) => {
  const host = libc();
  const dir = t.testdir({ f: '' });
  const file = join(dir, 'f');
  const link = join(dir, 'link');
  await symlink(file, link);
  await t.rejects(host.getXattrPath(Buffer.from(join(dir, 'none')), 'user.v'), {
    code: 'ENOENT',
    op: 'lgetxattr',
  });
  await t.rejects(host.setXattrPath(join(dir, 'none'), 'user.v', Buffer.from('x')), {
    code: 'ENOENT',
    op: 'lsetxattr',
    message: `lsetxattr of user.v of ${join(dir, 'none')} failed: ENOENT`,
  });
  // No user attributes on a link: had it been followed, this would work.
  await t.rejects(host.setXattrPath(link, 'user.v', Buffer.from('x')), { code: /^(EPERM|EOPNOTSUPP)$/ });
  const before = await lstat(file, { bigint: true });
  for (const mtimeNs of [1_700_000_000_123_456_789n, 0n, -1_500_000_001n]) {
    await host.setMtimePath(Buffer.from(link), mtimeNs);
    const { mtimeNs: set, atimeNs } = await lstat(link, { bigint: true });
    t.equal(set, mtimeNs);
    t.not(atimeNs, mtimeNs, 'atime is left alone');
  }
  t.equal((await lstat(file, { bigint: true })).mtimeNs, before.mtimeNs, 'the target is left alone');
  await t.rejects(host.setMtimePath(join(dir, 'none'), 0n), { code: 'ENOENT', op: 'utimensat' });
});

t.test('a look tells attributes and extended attributes of any size in one go', async (t) => {
  const host = libc();
  const path = join(t.testdir(), 'f');
  const fd = openFile(t, path);
  writeSync(fd, 'content');
  for (const size of [0, 256, 257, 4000]) {
    const value = Buffer.alloc(size, 'v');
    const { failure, made } = await host.changeXattrs(fd, [{ name: 'user.v', value }]);
    if (failure?.code === 'EOPNOTSUPP') {
      t.pass('no extended attributes here');
      return;
    }
    t.same([failure, made], [undefined, 1]);
    const { attributes, xattrs } = await host.look(fd, ['user.none', 'user.v']);
    t.same(xattrs, [undefined, value], `${size} bytes`);
    const {
      dev,
      ino,
      mode,
      nlink,
      uid,
      gid,
      size: length,
      blocks,
      atimeNs,
      mtimeNs,
      ctimeNs,
    } = fstatSync(fd, {
      bigint: true,
    });
    t.same(attributes, { dev, ino, mode, nlink, uid, gid, size: length, blocks, atimeNs, mtimeNs, ctimeNs });
  }
  await t.rejects(host.look(BAD_FD, ['user.v']), { code: 'EBADF', op: 'statx' });
  await t.rejects(host.look(fd, ['nonsense.x']), {
    code: 'EOPNOTSUPP',
    op: 'fgetxattr',
    message: /nonsense/,
  });
});

t.test('changes of extended attributes are made up to the first that fails', async (t) => {
  const host = libc();
  const fd = openFile(t, join(t.testdir(), 'f'));
  const set = (name: string) => ({ name, value: Buffer.from(name) });
  const remove = (name: string) => ({ name, value: undefined });
  const first = await host.changeXattrs(fd, [set('user.a'), set('user.b'), remove('user.none')]);
  if (first.failure?.code === 'EOPNOTSUPP') {
    t.pass('no extended attributes here');
    return;
  }
  t.match(first, { failure: undefined, made: 3 }, 'what is not there needs no removal');
  const second = await host.changeXattrs(fd, [remove('user.a'), set('nonsense.x'), remove('user.b')]);
  t.match(second, { made: 1, failure: { code: 'EOPNOTSUPP', op: 'fsetxattr', message: /nonsense\.x/ } });
  t.same((await host.look(fd, ['user.a', 'user.b'])).xattrs, [undefined, Buffer.from('user.b')]);
  const { ctimeNs } = fstatSync(fd, { bigint: true });
  t.ok(second.before.ctimeNs >= first.after.ctimeNs && second.after.ctimeNs === ctimeNs);
  await t.rejects(host.changeXattrs(BAD_FD, [set('user.a')]), { code: 'EBADF', op: 'statx' });
});

t.test('errno is right with many calls at once that fail in different ways', async (t) => {
  const host = libc();
  const dir = t.testdir();
  const fd = openFile(t, join(dir, 'f'));
  const codeOf = (call: Promise<unknown>): Promise<string> =>
    call.then(
      () => 'ok',
      (error: unknown) => (error as { code: string }).code,
    );
  const sparse = openFile(t, join(dir, 'sparse'));
  ftruncateSync(sparse, 100);
  const calls: [string, () => Promise<unknown>][] = [
    ['EBADF', () => host.look(BAD_FD, ['user.x'])],
    ['ok', () => host.look(fd, ['user.none'])],
    ['EOPNOTSUPP', () => host.look(fd, ['nonsense.x'])],
    ['EOPNOTSUPP', () => host.setXattr(fd, 'nonsense.x', Buffer.from('y'))],
    ['EBADF', () => host.setXattr(BAD_FD, 'user.x', Buffer.from('y'))],
    ['ENXIO', () => host.nextHole(sparse, 1000n)],
    ['ok', () => host.nextData(sparse, 1000n)],
    ['EBADF', () => host.nextData(BAD_FD, 0n)],
    ['ENOTTY', () => host.setTimes(fd, { atimeNs: 0n, mtimeNs: 0n, ctimeNs: 0n })],
    // Node's own work on the same threads leaves its own errno behind.
    ['ENOENT', () => stat(join(dir, 'nothing'))],
    ['ENOTDIR', () => stat(join(dir, 'f', 'x'))],
  ];
  const rounds = Array.from({ length: 100 }, () => calls).flat();
  const codes = await Promise.all(
    rounds.map(async ([expected, call]) => [expected, await codeOf(call())] as const),
  );
  t.same(
    codes.filter(([expected, code]) => expected !== code),
    [],
  );
});

t.test("errno of calls made on the main thread survives JavaScript's work in between", (t) => {
  const wrong: unknown[] = [];
  let garbage: Buffer[] = [];
  for (let i = 0; i < 20_000; i++) {
    try {
      tryLockFile(BAD_FD);
      wrong.push('no error');
    } catch (error) {
      if (!hasCode(error, 'EBADF')) wrong.push(error);
    }
    garbage.push(Buffer.alloc(1000));
    if (garbage.length > 2000) garbage = [];
  }
  t.same(wrong, []);
  t.end();
});

t.test('data and holes of a sparse file', async (t) => {
  const host = loadHost();
  const path = join(t.testdir(), 'sparse');
  const fd = openFile(t, path);
  const mib = 1n << 20n;
  ftruncateSync(fd, 4 << 20);
  writeSync(fd, Buffer.alloc(1 << 20, 1), 0, 1 << 20, 1 << 20);
  if ((await host.nextHole(fd, 0n)) !== 0n) {
    t.comment('this file system does not show holes');
    return;
  }
  t.equal(await host.nextData(fd, 0n), mib);
  t.equal(await host.nextData(fd, mib + 5n), mib + 5n);
  t.equal(await host.nextHole(fd, mib), 2n * mib);
  t.equal(await host.nextHole(fd, 3n * mib), 3n * mib);
  t.equal(await host.nextData(fd, 2n * mib), undefined, 'only a hole is left');
  t.equal(await host.nextData(fd, 4n * mib), undefined, 'nothing is left');
  await t.rejects(host.nextHole(fd, 4n * mib), { code: 'ENXIO' });
  const full = openFile(t, join(t.testdir(), 'full'));
  writeSync(full, 'abc');
  t.equal(await host.nextHole(full, 0n), 3n, 'the end is a hole');
});

t.test('a lock is exclusive, and free again when its file is closed', (t) => {
  const path = join(t.testdir(), 'lock');
  const first = openSync(path, 'w');
  const second = openFile(t, path);
  t.equal(tryLockFile(first), true);
  t.equal(tryLockFile(first), true, 'the same open file has it already');
  t.equal(loadHost().tryLock(second), false);
  closeSync(first);
  t.equal(tryLockFile(second), true);
  t.throws(() => tryLockFile(BAD_FD), { code: 'EBADF', op: 'flock' });
  t.end();
});

t.test('poll ends when one of the descriptors is readable, broken or closed', async (t) => {
  const [read, write] = libc().pipe();
  const [otherRead, otherWrite] = libc().pipe();
  const frame = new CallFrame(256);
  const waiting = libc().poll(frame, [read, otherRead]);
  writeSync(otherWrite, 'x');
  await waiting;
  await libc().poll(frame, [read, otherRead]);
  closeSync(otherRead);
  closeSync(otherWrite);
  await libc().poll(frame, [read, BAD_FD]);
  closeSync(write);
  await libc().poll(frame, [read]);
  closeSync(read);
  t.pass('each returned');
});

t.test('sd_notify reaches sockets by path and by abstract name', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'lhsm-notify-'));
  t.teardown(() => {
    rmSync(dir, { recursive: true });
    delete process.env['NOTIFY_SOCKET'];
  });
  const sink = gcc(join(dir, 'sink'), fixture('datagram-sink.c'));
  for (const name of [join(dir, 'notify'), `@lhsm-azblob-test-${process.pid}`]) {
    const child = spawn(sink, [name], { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    process.env['NOTIFY_SOCKET'] = name;
    t.equal(sdNotify('READY=1\nSTATUS=läuft'), true, name);
    t.equal(await text(child.stdout), 'READY=1\nSTATUS=läuft');
  }
  // From here on nothing is spawned, which would open descriptors of Node's own.
  const before = openDescriptors();
  for (const name of [
    join(dir, 'nobody'),
    '@lhsm-azblob-nobody',
    'relative',
    '',
    '@',
    `/${'x'.repeat(200)}`,
  ]) {
    process.env['NOTIFY_SOCKET'] = name;
    t.equal(sdNotify('READY=1'), false, `${name}: nobody listens`);
  }
  delete process.env['NOTIFY_SOCKET'];
  t.equal(sdNotify('READY=1'), false, 'not under systemd');
  t.equal(openDescriptors(), before, 'no descriptor left');
});

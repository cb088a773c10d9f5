// The cache of open directories: on an ordinary file system, which is as good as any for it.
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { mkdtempSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import t from 'tap';
import {
  DirectoryCache,
  NotADirectory,
  splitPath,
  type Directory,
} from '../../../daemon/jobs/directories.js';
import { UNLIMITED } from '../../../daemon/share.js';
import { openDescriptors } from './import-bench.js';

const bytes = (path: string): Buffer => Buffer.from(path);

function start(t: Test, maxOpen?: number): { mount: string; cache: DirectoryCache } {
  // Of its own: names of any bytes and depth must go away again.
  const mount = mkdtempSync(join(tmpdir(), 'lhsm-directories-'));
  const before = openDescriptors();
  const cache = new DirectoryCache({
    mount,
    share: UNLIMITED,
    defaults: { uid: 0, gid: 0, mode: 0o755 },
    ...(maxOpen === undefined ? {} : { maxOpen }),
  });
  t.teardown(() => {
    cache.close();
    execFileSync('rm', ['-r', mount]);
    const left = openDescriptors() - before;
    if (left !== 0) throw new Error(`${left} descriptors are left open`);
  });
  return { mount, cache };
}

const seen = (directory: Directory | undefined): Promise<Pick<Directory, 'madeByJob'> | undefined> =>
  Promise.resolve(directory && { madeByJob: directory.madeByJob });

t.test('a path is split at its last slash', (t) => {
  t.strictSame(splitPath(bytes('a/b/c')), { parent: bytes('a/b'), name: bytes('c') });
  t.strictSame(splitPath(bytes('a')), { parent: bytes(''), name: bytes('a') });
  t.end();
});

t.test('makes what is missing, finds what is there, and knows which is which', async (t) => {
  const { mount, cache } = start(t);
  mkdirSync(join(mount, 'there'));
  t.same(await cache.with(bytes('there'), 'make', seen), { madeByJob: false });
  t.same(await cache.with(bytes('there/new/deeper'), 'make', seen), { madeByJob: true });
  t.ok(cache.isMade(bytes('there/new')));
  t.notOk(cache.isMade(bytes('there')));
  t.same(await cache.with(bytes('none/at/all'), 'look', seen), undefined);
  t.throws(() => lstatSync(join(mount, 'none')), { code: 'ENOENT' });
  t.same(await cache.with(bytes(''), 'look', seen), { madeByJob: false }, 'the mount itself');
  await cache.with(bytes('there'), 'look', (directory) => {
    writeFileSync(directory?.pathOf(bytes('f')) ?? '', 'x');
    return Promise.resolve();
  });
  t.ok(lstatSync(join(mount, 'there/f')).isFile());
});

t.test('what is made has the default mode, whatever the umask', async (t) => {
  const { mount, cache } = start(t);
  const umask = process.umask(0o077);
  t.teardown(() => {
    process.umask(umask);
  });
  await cache.with(bytes('a/b'), 'make', seen);
  for (const path of ['a', 'a/b']) t.equal(lstatSync(join(mount, path)).mode & 0o7777, 0o755);
});

t.test('a set-group-id bit that is inherited stays', async (t) => {
  const { mount, cache } = start(t);
  chmodSync(mount, 0o2755);
  await cache.with(bytes('a'), 'make', seen);
  t.equal(lstatSync(join(mount, 'a')).mode & 0o7777, 0o2755);
});

t.test('many who want one new directory get the same one, made once', async (t) => {
  const { cache } = start(t);
  const wanted = Array.from({ length: 50 }, (_, i) => (i % 5 === 0 ? 'look' : 'make'));
  const paths = await Promise.all(
    wanted.map((how) =>
      cache.with(bytes('x/y/z'), how, (directory) =>
        Promise.resolve(directory && readlinkSync(directory.pathOf(bytes('.')).subarray(0, -2))),
      ),
    ),
  );
  paths.forEach((path, i) => {
    if (wanted[i] === 'make') t.match(path, /x\/y\/z$/);
  });
  t.equal(cache.size, 4);
});

t.test('no link is followed, wherever it leads', async (t) => {
  const { mount, cache } = start(t);
  const outside = t.testdir();
  symlinkSync(outside, join(mount, 'out'));
  mkdirSync(join(mount, 'real'));
  symlinkSync('real', join(mount, 'in'));
  symlinkSync('nothing', join(mount, 'dangling'));
  writeFileSync(join(mount, 'file'), '');
  for (const [path, inTheWay] of [
    ['out', 'out'],
    ['out/a/b', 'out'],
    ['in/a', 'in'],
    ['dangling', 'dangling'],
    ['file/a', 'file'],
  ] as const) {
    for (const how of ['make', 'look'] as const) {
      const error = await cache.with(bytes(path), how, seen).catch((error: unknown) => error);
      t.ok(error instanceof NotADirectory, path);
      t.equal((error as NotADirectory).path.toString(), inTheWay);
    }
  }
  t.strictSame(lstatSync(outside).nlink, 2, 'nothing was made outside');
  t.throws(() => lstatSync(join(mount, 'nothing')), { code: 'ENOENT' });
});

t.test('paths longer than PATH_MAX', async (t) => {
  const { cache } = start(t, 4);
  const path = bytes(Array.from({ length: 60 }, (_, i) => `${i}`.padEnd(200, 'x')).join('/'));
  t.ok(path.length > 4096);
  await cache.with(path, 'make', (directory) => {
    writeFileSync(directory?.pathOf(bytes('f')) ?? '', 'deep');
    return Promise.resolve();
  });
  t.ok(cache.size <= 4);
  await cache.with(path, 'look', (directory) => {
    t.equal(lstatSync(directory?.pathOf(bytes('f')) ?? '').size, 4);
    return Promise.resolve();
  });
});

t.test('no more stay open than allowed, but for those in use', async (t) => {
  const { cache } = start(t, 3);
  const before = openDescriptors();
  await cache.with(bytes('held'), 'make', async () => {
    for (let i = 0; i < 20; i += 1) await cache.with(bytes(`d${i}`), 'make', seen);
    t.ok(openDescriptors() - before <= 3, `${openDescriptors() - before} open`);
    t.ok(cache.isMade(bytes('held')), 'what is in use is not closed');
  });
  t.same(await cache.with(bytes('d0'), 'make', seen), { madeByJob: false }, 'opened anew');
});

t.test('a directory that was taken away is opened anew once it is forgotten', async (t) => {
  const { mount, cache } = start(t);
  await cache.with(bytes('a/b'), 'make', seen);
  renameSync(join(mount, 'a'), join(mount, 'moved'));
  cache.forget(bytes('a/b'), true);
  t.same(await cache.with(bytes('a/b'), 'look', seen), undefined);
  rmdirSync(join(mount, 'moved/b'));
  t.same(await cache.with(bytes('a/b'), 'make', seen), { madeByJob: true });
});

t.test('lent out while the cache is closed: closed when it comes back', async (t) => {
  const { cache } = start(t);
  await cache.with(bytes('a'), 'make', (directory) => {
    cache.close();
    t.ok(lstatSync(directory?.pathOf(bytes('.')) ?? '').isDirectory());
    return Promise.resolve();
  });
});

t.test('one at a time for a path, whatever becomes of the one before', async (t) => {
  const { cache } = start(t);
  const order: string[] = [];
  const work =
    (name: string, fails = false) =>
    async (): Promise<void> => {
      order.push(`${name} begins`);
      await new Promise((resolve) => setImmediate(resolve));
      order.push(`${name} ends`);
      if (fails) throw new Error(name);
    };
  const first = cache.alone(bytes('p'), work('first', true));
  const second = cache.alone(bytes('p'), work('second'));
  await t.rejects(first, { message: 'first' });
  await second;
  t.strictSame(order, ['first begins', 'first ends', 'second begins', 'second ends']);
});

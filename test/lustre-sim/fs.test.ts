// The file system under HSM: what the product's own calls rely on, and that all mounts show the same.
import { constants } from 'node:fs';
import {
  access,
  chmod,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  rmdir,
  stat,
  statfs,
  symlink,
  truncate,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { basename, join } from 'node:path';
import t from 'tap';
import { cat, fixture, onRealLustre, program, simOnly } from './simtool.js';

const f = await fixture(t, { mounts: 2 });
const sh = (name: string) => join(f.dir, name);
const other = (name: string) => join(f.mounts[1] ?? f.mount, basename(f.dir), name);
const python = async (script: string, ...args: string[]) =>
  await program('python3', '-c', `import os,sys,errno\na=sys.argv\n${script}`, ...args).result;

t.test('every mount shows at once what another one did', simOnly, async (t) => {
  await writeFile(sh('shared'), 'one');
  t.equal(await readFile(other('shared'), 'utf8'), 'one');
  await writeFile(other('shared'), 'three');
  t.equal(await readFile(sh('shared'), 'utf8'), 'three');
  t.equal((await stat(sh('shared'))).size, 5);
  await rename(other('shared'), other('renamed'));
  await t.rejects(stat(sh('shared')), { code: 'ENOENT' });
  await mkdir(sh('dir'));
  await writeFile(other('dir/inside'), 'x');
  t.strictSame(await readdir(sh('dir')), ['inside']);
  await rm(other('dir'), { recursive: true });
  await t.rejects(stat(sh('dir')), { code: 'ENOENT' });
  t.equal((await lstat(sh('renamed'))).ino, (await lstat(other('renamed'))).ino);
});

t.test('names: any bytes, 255 of them', async (t) => {
  for (const name of [
    'with space',
    '%41?#&+',
    'tab\there',
    'newline\n',
    'emoji 🐟',
    'ä',
    'back\\slash',
    'dots...',
  ]) {
    await writeFile(sh(name), name);
    t.equal(await readFile(sh(name), 'utf8'), name);
  }
  t.equal((await readdir(f.dir)).filter((name) => name.startsWith('emoji')).length, 1);
  await writeFile(sh('n'.repeat(255)), 'x');
  await t.rejects(writeFile(sh('n'.repeat(256)), 'x'), { code: 'ENAMETOOLONG' });
});

t.test('hard links are one file; symlinks, FIFOs and sockets are what they are', async (t) => {
  await writeFile(sh('first'), 'x');
  await link(sh('first'), sh('second'));
  t.equal((await stat(sh('first'))).nlink, 2);
  await unlink(sh('first'));
  t.equal((await stat(sh('second'))).nlink, 1);
  await symlink('where/to', sh('link'));
  t.equal(await readlink(sh('link')), 'where/to');
  t.equal((await lstat(sh('link'))).size, 8);
  await program('mkfifo', sh('fifo')).result;
  t.ok((await lstat(sh('fifo'))).isFIFO());
  const fid = (await f.lfs('path2fid', sh('link'))).stdout.trim();
  t.match(fid, /^\[0x/, 'a symlink has a FID, too');
});

t.test('rename over, into, exchange', async (t) => {
  await mkdir(sh('a/b'), { recursive: true });
  await mkdir(sh('full/inner'), { recursive: true });
  await t.rejects(rename(sh('a'), sh('a/b/c')), { code: 'EINVAL' });
  await t.rejects(rename(sh('a'), sh('full')), { code: 'ENOTEMPTY' });
  await t.rejects(rmdir(sh('full')), { code: 'ENOTEMPTY' });
  await rename(sh('a'), sh('full/inner'));
  t.strictSame(await readdir(sh('full/inner')), ['b']);
  t.equal((await stat(sh('full'))).nlink, 3);
  await writeFile(sh('x'), 'x');
  await writeFile(sh('y'), 'y');
  await rename(sh('x'), sh('y'));
  t.equal(await readFile(sh('y'), 'utf8'), 'x');
});

t.test('modes, owners, times with nanoseconds, set-id and sticky bits', async (t) => {
  await writeFile(sh('attributes'), 'x');
  await chmod(sh('attributes'), 0o5640);
  t.equal((await stat(sh('attributes'))).mode & 0o7777, 0o5640);
  await python('os.utime(a[1], ns=(1234567890123456789, 1700000000987654321))', sh('attributes'));
  t.match(await stat(sh('attributes'), { bigint: true }), {
    atimeNs: 1234567890123456789n,
    mtimeNs: 1700000000987654321n,
  });
  await utimes(sh('attributes'), 1, 2);
  t.equal((await stat(sh('attributes'))).mtimeMs, 2000);
  await access(sh('attributes'), constants.R_OK);
});

t.test('xattrs of several KiB; listed, replaced, removed', async (t) => {
  await writeFile(sh('xattrs'), 'x');
  const { stdout, stderr } = await python(
    `p = a[1]
os.setxattr(p, 'user.big', b'v' * 4000)
os.setxattr(p, 'trusted.name', b'1')
os.setxattr(p, 'trusted.name', b'22', os.XATTR_REPLACE)
try: os.setxattr(p, 'trusted.name', b'3', os.XATTR_CREATE)
except OSError as e: print(errno.errorcode[e.errno])
print(len(os.getxattr(p, 'user.big')), os.getxattr(p, 'trusted.name'), sorted(n for n in os.listxattr(p) if 'lov' not in n))
os.removexattr(p, 'user.big')
try: os.getxattr(p, 'user.big')
except OSError as e: print(errno.errorcode[e.errno])`,
    sh('xattrs'),
  );
  t.equal(stderr, '');
  t.match(stdout, /^EEXIST\n4000 b'22' .*'trusted.name'.*'user.big'.*\nENODATA\n$/);
});

t.test('holes are found, punched and kept', async (t) => {
  const { stdout, stderr } = await python(
    `p = a[1]
fd = os.open(p, os.O_RDWR | os.O_CREAT)
os.pwrite(fd, b'x' * 4096, 8 << 20)
os.ftruncate(fd, 16 << 20)
print(os.lseek(fd, 0, os.SEEK_DATA) == 8 << 20, os.lseek(fd, 8 << 20, os.SEEK_HOLE) >= (8 << 20) + 4096)
try: os.lseek(fd, 9 << 20, os.SEEK_DATA)
except OSError as e: print(errno.errorcode[e.errno])
os.posix_fallocate(fd, 0, 1 << 20)
s = os.fstat(fd)
print(s.st_size == 16 << 20, s.st_blocks * 512 < 4 << 20, os.pread(fd, 3, 4096) == bytes(3))`,
    sh('holes'),
  );
  t.equal(stderr, '');
  t.equal(stdout, 'True True\nENXIO\nTrue True True\n');
});

t.test('an unlinked file lives as long as it is open, and is found through .lustre/fid', async (t) => {
  await writeFile(sh('gone'), 'still');
  const fid = (await f.lfs('path2fid', sh('gone'))).stdout.trim();
  const file = await open(sh('gone'));
  await unlink(sh('gone'));
  t.equal((await stat(join(f.mount, '.lustre/fid', fid))).size, 5);
  t.equal((await file.readFile()).toString(), 'still');
  await file.close();
  // The kernel tells of the close a moment later.
  while (
    await stat(join(f.mount, '.lustre/fid', fid)).then(
      () => true,
      () => false,
    )
  );
});

t.test('.lustre is not listed, and holds only what it holds', simOnly, async (t) => {
  t.notOk((await readdir(f.mount)).includes('.lustre'));
  await t.rejects(writeFile(join(f.mount, '.lustre/fid/new'), 'x'), { code: 'EPERM' });
  await t.rejects(stat(join(f.mount, '.lustre/fid/[0x200000401:0xffff:0x0]')), { code: 'ENOENT' });
  await t.rejects(stat(join(f.mount, '.lustre/fid/nonsense')), { code: 'ENOENT' });
  await t.rejects(mkdir(join(f.mount, '.lustre')), { code: 'EEXIST' });
});

t.test('an attribute can be set by FID while a truncate of the file waits for its restore', async (t) => {
  const tool = f.tool();
  await tool.register(f.mount);
  await tool.run(`import ${sh('locked')} 1 7 644 0 0 0 0`);
  const fid = (await f.lfs('path2fid', sh('locked'))).stdout.trim();
  const cut = program('truncate', '-s', '3', sh('locked'));
  const item = await tool.item();
  t.equal((await python("os.setxattr(a[1], 'trusted.a', b'1')", join(f.mount, '.lustre/fid', fid))).code, 0);
  t.equal(await tool.restoreOne(item, 'content'), 0);
  t.equal((await cut.result).code, 0);
  t.equal((await cat(sh('locked')).result).stdout, 'con');
  await tool.run('unregister');
});

t.test('large reads and writes, appends by several, O_TRUNC', async (t) => {
  const data = Buffer.alloc(5_000_001);
  for (let i = 0; i < data.length; i += 997) data[i] = i % 251;
  await writeFile(sh('large'), data);
  t.ok((await readFile(sh('large'))).equals(data));
  await truncate(sh('large'), 1_000_000);
  t.ok((await readFile(sh('large'))).equals(data.subarray(0, 1_000_000)));
  await writeFile(sh('large'), 'short');
  t.equal(await readFile(sh('large'), 'utf8'), 'short');
  await Promise.all(
    Array.from({ length: 8 }, () => writeFile(sh('appended'), 'line\n'.repeat(100), { flag: 'a' })),
  );
  t.equal((await readFile(sh('appended'), 'utf8')).length, 4000);
});

t.test('a directory of 3000 names is listed whole, also while it is emptied', async (t) => {
  await mkdir(sh('many'));
  for (let i = 0; i < 3000; i++) await (await open(sh(`many/${i}`), 'w')).close();
  t.equal(new Set(await readdir(sh('many'))).size, 3000);
  await rm(sh('many'), { recursive: true });
});

t.test('statfs answers; permissions hold for other users', async (t) => {
  const { bsize, blocks } = await statfs(f.mount);
  t.ok(bsize > 0 && blocks > 0);
  await writeFile(sh('private'), 'x', { mode: 0o600 });
  if (onRealLustre) return;
  const { stderr } = await python(
    `os.chmod(os.path.dirname(a[1]), 0o755)
os.setuid(65534)
open(a[1])`,
    sh('private'),
  );
  t.match(stderr, /PermissionError/);
});

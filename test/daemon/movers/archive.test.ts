// What an archive writes, and what it refuses. What happens meanwhile is in archive-meanwhile.test.ts.
import { chmodSync, closeSync, openSync, statSync, symlinkSync, truncateSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { archive } from '../../../daemon/movers/archive.js';
import { LhsmError } from '../../../native-bindings/errors.js';
import { startAzurite } from '../../helpers/azurite.js';
import { Bench } from './bench.js';
import { withOpen } from './fake-lustre.js';

const azurite = await startAzurite();
t.teardown(() => azurite.stop());

t.test('a file becomes a block blob at its path, with its attributes, and remembers it', async (t) => {
  const bench = await Bench.start(t, azurite, { prefix: 'fs1/' });
  const fid = bench.lustre.create('a/b c/%41#?é😀', 'content');
  chmodSync(join(bench.lustre.mount, 'a/b c/%41#?é😀'), 0o640);
  const stat = statSync(join(bench.lustre.mount, 'a/b c/%41#?é😀'), { bigint: true });
  const outcome = await bench.archive(fid);
  const name = 'fs1/a/b c/%41#?é😀';
  t.match(outcome, { blob: name, sizeBytes: 7n });
  t.notOk('notes' in outcome);
  t.equal(await bench.content(name), 'content');
  t.match(await bench.metadata(name), {
    owner: '0',
    group: '0',
    permissions: '0640',
    modtime_ns: String(stat.mtimeNs),
    lustre_fid: '[0x200000401:0x1:0x0]',
    lustre_fs: 'fake',
  });
  t.equal(bench.lustre.xattr(fid, 'trusted.lhsm_uuid'), `az://${bench.container.container}/${name}`);
  t.equal(bench.lustre.xattr(fid, 'trusted.lhsm_etag'), await bench.etag(name));
});

t.test('by FID, the blob is named by the FID, and its parents are no directories', async (t) => {
  const bench = await Bench.start(t, azurite, { naming: 'fid', prefix: 'p/' });
  const fid = bench.lustre.create('d/f', 'x');
  t.equal((await bench.archive(fid)).blob, 'p/0001/0x200000401:0x1:0x0');
  t.same(await bench.blobs(), ['p/0001/0x200000401:0x1:0x0']);
});

t.test(
  'a small new file costs one request once its parents are known; replacing it costs one look more',
  async (t) => {
    const bench = await Bench.start(t, azurite);
    await bench.archive(bench.lustre.create('d/e/first', '1'));
    t.equal(bench.requests, 3, 'two directories and the file');
    bench.requests = 0;
    const fid = bench.lustre.create('d/e/second', '2');
    await bench.archive(fid);
    t.equal(bench.requests, 1);
    bench.requests = 0;
    bench.lustre.write('d/e/second', '22');
    await bench.archive(fid);
    t.equal(bench.requests, 2);
    t.equal(await bench.content('d/e/second'), '22');
  },
);

t.test('an empty file becomes an empty blob', async (t) => {
  const bench = await Bench.start(t, azurite);
  t.equal((await bench.archive(bench.lustre.create('empty', ''))).sizeBytes, 0n);
  t.equal(await bench.content('empty'), '');
  t.equal(bench.requests, 1);
});

t.test('a large file goes in blocks, after a look at its name', async (t) => {
  const bench = await Bench.start(t, azurite, { blockSizeBytes: 1 << 20 });
  const content = Buffer.alloc((3 << 20) + 17, 'abc');
  await bench.archive(bench.lustre.create('large', content));
  t.ok((await bench.client.getBlobClient('large').downloadToBuffer()).equals(content));
});

t.test('a file with holes says so, one without does not', async (t) => {
  const bench = await Bench.start(t, azurite, { firstHole: 0n });
  const sparse = bench.lustre.create('sparse', '');
  truncateSync(join(bench.lustre.mount, 'sparse'), 1 << 20);
  await bench.archive(sparse);
  t.equal((await bench.metadata('sparse'))['lhsm_sparse'], '1');
  t.equal((await bench.client.getBlobClient('sparse').getProperties()).contentLength, 1 << 20);
  await bench.archive(bench.lustre.create('dense', Buffer.alloc(8192, 1)));
  t.notOk('lhsm_sparse' in (await bench.metadata('dense')));
});

t.test('only regular files are archived', async (t) => {
  const bench = await Bench.start(t, azurite);
  const { mount } = bench.lustre;
  bench.lustre.create('dir/file', '');
  const fid = bench.lustre.adopt('dir');
  await t.rejects(
    withOpen(join(mount, 'dir'), 'r', (fd) => bench.run(archive, fid, fd)),
    { code: 'NOT_A_FILE', errno: 22 },
  );
  symlinkSync('file', join(mount, 'dir/link'));
  const O_PATH_NOFOLLOW = 0o10400000;
  const link = openSync(join(mount, 'dir/link'), O_PATH_NOFOLLOW);
  try {
    await t.rejects(bench.run(archive, fid, link), { code: 'NOT_A_FILE', errno: 22 });
  } finally {
    closeSync(link);
  }
  t.same(await bench.blobs(), []);
});

t.test('archive puts back all three times', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('f', 'x');
  const path = join(bench.lustre.mount, 'f');
  utimesSync(path, 1_000_000_000, 1_100_000_000);
  const before = statSync(path, { bigint: true });
  await bench.archive(fid);
  const after = statSync(path, { bigint: true });
  t.equal(after.atimeNs, before.atimeNs);
  t.equal(after.mtimeNs, before.mtimeNs);
  t.equal(bench.lustre.node(fid).putBack?.ctimeNs, before.ctimeNs);
});

t.test('a chmod during archive does not fail it, and its ctime is kept', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('f', 'x');
  const path = join(bench.lustre.mount, 'f');
  let changed = 0n;
  bench.beforeCommit = () => {
    chmodSync(path, 0o600);
    changed = statSync(path, { bigint: true }).ctimeNs;
  };
  await bench.archive(fid);
  t.equal(bench.lustre.node(fid).putBack?.ctimeNs, changed);
});

t.test('times are left alone when the file was touched meanwhile', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('f', 'x');
  bench.afterUpload = () => {
    utimesSync(join(bench.lustre.mount, 'f'), 1_000_000_000, 1_100_000_000);
  };
  t.match(await bench.archive(fid), { notes: [/times left/] });
  t.equal(statSync(join(bench.lustre.mount, 'f')).mtimeMs, 1_100_000_000_000);
});

t.test('times that cannot be put back are a note, not a failure', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('f', 'x');
  bench.lustre.before('setTimes', () => {
    throw new LhsmError('LL_IOC_FUTIMES_3: ENOTTY', { code: 'ENOTTY', op: 'ioctl' });
  });
  t.match(await bench.archive(fid), { notes: [/times not put back: .*ENOTTY/] });
});

t.test('a name that no blob can have is refused, and nothing is written', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('f', 'content');
  bench.lustre.node(fid).rawPath = Buffer.from('d\xff/f', 'latin1');
  await t.rejects(bench.archive(fid), { code: 'NAME_NOT_UTF8' });
  t.same(await bench.blobs(), []);
  t.equal(bench.lustre.xattr(fid, 'trusted.lhsm_uuid'), undefined);
});

t.test('hard links are one file: one blob, under the name it has while a link has it', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('one', 'content');
  await bench.archive(fid);
  bench.lustre.link('one', 'two');
  bench.lustre.node(fid).paths.reverse();
  bench.lustre.write('one', 'changed');
  t.equal((await bench.archive(fid)).blob, 'one', 'though link 0 is another now');
  t.same(await bench.blobs(), ['one']);
  bench.lustre.unlink('one');
  bench.lustre.write('two', 'changed again');
  t.equal((await bench.archive(fid)).blob, 'two');
});

t.test('a memory that makes no sense is replaced', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('f', 'content');
  bench.lustre.node(fid).xattrs.set('trusted.lhsm_uuid', Buffer.from('s3://bucket/x'));
  t.match(await bench.archive(fid), { blob: 'f', notes: [/another kind of store/] });
  t.equal(bench.lustre.xattr(fid, 'trusted.lhsm_uuid'), `az://${bench.container.container}/f`);
});

t.test('a container that is not there is said to be missing', async (t) => {
  const bench = await Bench.start(t, azurite);
  await bench.client.delete();
  const fid = bench.lustre.create('f', 'content');
  await t.rejects(bench.archive(fid), { code: 'CONTAINER_MISSING', errno: 2 });
});

// What a restore takes for a file's content. What it refuses is in restore-refusals.test.ts.
import { readFileSync, statSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { restore } from '../../../daemon/movers/restore.js';
import { LhsmError } from '../../../native-bindings/errors.js';
import { startAzurite } from '../../helpers/azurite.js';
import { Bench, type BenchOptions } from './bench.js';
import { withOpen } from './fake-lustre.js';
import type { Mover } from '../../../daemon/movers/mover.js';
import type { BlobHeaders } from '../../../daemon/blob.js';
import type { DownloadRequest } from '../../../daemon/transfer/transfer.js';
import type { Fid } from '../../../native-bindings/lustre.js';

const azurite = await startAzurite();
t.teardown(() => azurite.stop());

/** A bench with `d/f` archived, its content in Lustre then replaced by as many zeros, as of a released file. */
async function archived(
  t: Parameters<typeof Bench.start>[0],
  content: string | Buffer,
  options: BenchOptions = {},
): Promise<{ bench: Bench; fid: Fid }> {
  const bench = await Bench.start(t, azurite, options);
  const fid = bench.lustre.create('d/f', content);
  await bench.archive(fid);
  bench.lustre.write('d/f', Buffer.alloc(Buffer.byteLength(content)));
  return { bench, fid };
}

t.test('a small file comes back with exactly one request', async (t) => {
  const { bench, fid } = await archived(t, 'content');
  const { content, requests, outcome } = await bench.restore(fid);
  t.equal(content.toString(), 'content');
  t.equal(requests, 1);
  t.match(outcome, { blob: 'd/f', sizeBytes: 7n });
});

t.test('an empty file comes back empty', async (t) => {
  const { bench, fid } = await archived(t, '');
  const { content, requests } = await bench.restore(fid);
  t.equal(content.length, 0);
  t.equal(requests, 1);
});

t.test('a large file comes back whole', async (t) => {
  const { bench, fid } = await archived(t, Buffer.alloc((3 << 20) + 17, 'abcdefg'));
  t.ok((await bench.restore(fid)).content.equals(Buffer.alloc((3 << 20) + 17, 'abcdefg')));
});

t.test('a file archived with holes comes back with holes, its end included', async (t) => {
  const size = 4 << 20;
  const content = Buffer.alloc(size);
  content.write('in the middle', 2 << 20);
  const bench = await Bench.start(t, azurite, { firstHole: 0n });
  const fid = bench.lustre.create('f', '');
  const path = join(bench.lustre.mount, 'f');
  truncateSync(path, size);
  await withOpen(path, 'r+', (fd) => {
    writeSync(fd, 'in the middle', 2 << 20);
    return Promise.resolve();
  });
  await bench.archive(fid);
  const restored = await bench.restore(fid);
  t.ok(restored.content.equals(content));
  t.ok(restored.blocks * 512 < size, `${restored.blocks} blocks`);
});

t.test('a file renamed after archive is restored from the blob it remembers', async (t) => {
  const { bench, fid } = await archived(t, 'content');
  bench.lustre.rename('d/f', 'elsewhere/g');
  const { content, outcome } = await bench.restore(fid);
  t.equal(content.toString(), 'content');
  t.equal(outcome.blob, 'd/f');
});

t.test('an unlinked file that is still open is restored: no path is needed', async (t) => {
  const { bench, fid } = await archived(t, 'content');
  bench.lustre.before('fidToPath', () => {
    throw new LhsmError('no path', { code: 'ENOENT', op: 'llapi_fid2path' });
  });
  t.equal((await bench.restore(fid)).content.toString(), 'content');
});

t.test('a bare relative name, as lemur wrote it, is understood', async (t) => {
  const bench = await Bench.start(t, azurite, { prefix: 'p/' });
  await bench.put('p/o/1234', 'lemur');
  const fid = bench.lustre.create('f', '.....');
  bench.lustre.node(fid).xattrs.set('trusted.lhsm_uuid', Buffer.from('o/1234'));
  t.equal((await bench.restore(fid)).content.toString(), 'lemur');
});

t.test('a file that remembers nothing is restored from its path', async (t) => {
  const bench = await Bench.start(t, azurite);
  await bench.put('d/f', 'by path');
  const fid = bench.lustre.create('d/f', '.......');
  t.equal((await bench.restore(fid)).content.toString(), 'by path');
});

t.test('a file that remembers nothing is restored from any of its links', async (t) => {
  const bench = await Bench.start(t, azurite);
  await bench.put('second', 'content');
  const fid = bench.lustre.create('first', '.......');
  bench.lustre.link('first', 'second');
  t.equal((await bench.restore(fid)).content.toString(), 'content');
});

t.test('a file that remembers nothing is restored from its FID when no path leads to a blob', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('f', '......');
  await bench.put('0001/0x200000401:0x1:0x0', 'by FID');
  t.equal((await bench.restore(fid)).content.toString(), 'by FID');
});

t.test('a file archived by FID is restored, renamed or not', async (t) => {
  const { bench, fid } = await archived(t, 'content', { naming: 'fid' });
  bench.lustre.rename('d/f', 'g');
  bench.lustre.node(fid).xattrs.clear();
  t.equal((await bench.restore(fid)).content.toString(), 'content');
});

t.test('a changed blob of the same size is taken under policy accept, and pinned', async (t) => {
  const { bench, fid } = await archived(t, 'content', { policy: { restoreChanged: 'accept' } });
  await bench.put('d/f', 'CONTENT');
  const { content, outcome, requests } = await bench.restore(fid);
  t.equal(content.toString(), 'CONTENT');
  t.equal(requests, 1);
  t.match(outcome.notes, [/took the changed version/]);
  t.equal(bench.lustre.xattr(fid, 'trusted.lhsm_etag'), await bench.etag('d/f'));
});

t.test('a pin without quotes, as other tools write it, is the same version', async (t) => {
  const { bench, fid } = await archived(t, 'content');
  const etag = bench.lustre.xattr(fid, 'trusted.lhsm_etag') ?? '';
  bench.lustre.node(fid).xattrs.set('trusted.lhsm_etag', Buffer.from(etag.replaceAll('"', '')));
  t.equal((await bench.restore(fid)).content.toString(), 'content');
});

t.test('by its path alone a file gets no blob of another file, though that one is gone', async (t) => {
  const { bench } = await archived(t, 'content');
  bench.lustre.unlink('d/f');
  const next = bench.lustre.create('d/f', '.......');
  await t.rejects(bench.restore(next), { code: 'BLOB_OF_OTHER_FILE', errno: 2 });
});

t.test('policy accept takes the blob of a file that is gone, not of one that lives', async (t) => {
  const { bench, fid } = await archived(t, 'content', { policy: { restoreChanged: 'accept' } });
  bench.lustre.rename('d/f', 'renamed');
  const next = bench.lustre.create('d/f', '.......');
  await t.rejects(bench.restore(next), { code: 'BLOB_OF_OTHER_FILE', errno: 2 });
  t.ok(bench.lustre.node(fid));
  bench.lustre.unlink('renamed');
  const { content, requests } = await bench.restore(next);
  t.equal(content.toString(), 'content');
  t.equal(requests, 2, 'the doubt costs one more');
});

t.test('the pinned version is taken, whoever else it names: an import beside a renamed file', async (t) => {
  const { bench, fid } = await archived(t, 'content');
  bench.lustre.rename('d/f', 'renamed');
  const imported = bench.lustre.create('d/f', '.......');
  for (const [name, value] of bench.lustre.node(fid).xattrs)
    bench.lustre.node(imported).xattrs.set(name, value);
  const { content, requests } = await bench.restore(imported);
  t.equal(content.toString(), 'content');
  t.equal(requests, 1);
});

t.test('the size of a file with holes is set, whatever the engine left unwritten', async (t) => {
  const { bench, fid } = await archived(t, Buffer.alloc(10_000));
  const engine = {
    ...bench.tools.transfer,
    download: () =>
      Promise.resolve({
        sizeBytes: 10_000,
        etag: bench.lustre.xattr(fid, 'trusted.lhsm_etag') ?? '',
        blobType: 'BlockBlob',
        accessTier: 'Hot',
        metadata: { lhsm_sparse: '1' },
        lastModified: undefined,
      }),
  };
  const mover: Mover = (job, tools, signal) => restore(job, { ...tools, transfer: engine }, signal);
  const path = join(bench.lustre.mount, '.volatile');
  await withOpen(path, 'wx', (fd) => bench.run(mover, fid, fd));
  t.equal(statSync(path).size, 10_000);
});

t.test(
  'a blob that vanishes half way leaves nothing in the holes of the one under the next name',
  async (t) => {
    const bench = await Bench.start(t, azurite);
    const fid = bench.lustre.create('f', Buffer.alloc(200_000));
    const asked: string[] = [];
    const engine = {
      ...bench.tools.transfer,
      download: async ({ blob, fd }: DownloadRequest): Promise<BlobHeaders> => {
        asked.push(blob.url);
        if (asked.length === 1) {
          writeSync(fd, Buffer.alloc(150_000, 'old'), 0, 150_000, 0);
          throw new LhsmError('deleted meanwhile', { code: 'BLOB_MISSING', op: 'Get Blob', errno: 2 });
        }
        // As with keepHoles: nothing but the last byte of zeros is written.
        writeSync(fd, Buffer.alloc(1), 0, 1, 199_999);
        return Promise.resolve({
          sizeBytes: 200_000,
          etag: '"0x1"',
          blobType: 'BlockBlob',
          accessTier: 'Hot',
          metadata: {},
          lastModified: undefined,
        });
      },
    };
    const mover: Mover = (job, tools, signal) => restore(job, { ...tools, transfer: engine }, signal);
    const path = join(bench.lustre.mount, '.volatile');
    await withOpen(path, 'wx', (fd) => bench.run(mover, fid, fd));
    t.equal(asked.length, 2);
    t.ok(readFileSync(path).equals(Buffer.alloc(200_000)));
  },
);

t.test('the FID of another file system in a blob is not looked up', async (t) => {
  const { bench, fid } = await archived(t, 'content');
  await bench.put('g', 'foreign', { ...bench.ownedBy(fid), lustre_fs: 'scratch' });
  const { requests } = await bench.restore(bench.lustre.create('g', '.......'));
  t.equal(requests, 1);
});

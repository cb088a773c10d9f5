// What a restore takes for a file's content, and what it refuses.
import { truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { restore } from '../../../daemon/movers/restore.js';
import { LhsmError } from '../../../native-bindings/errors.js';
import { startAzurite } from '../../helpers/azurite.js';
import { Bench, type BenchOptions } from './bench.js';
import { withOpen } from './fake-lustre.js';
import type { Mover } from '../../../daemon/movers/mover.js';
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

t.test('a blob in another container is refused, and said to be there', async (t) => {
  const { bench, fid } = await archived(t, 'content');
  bench.lustre.node(fid).xattrs.set('trusted.lhsm_uuid', Buffer.from('az://another/d/f'));
  await t.rejects(bench.restore(fid), { code: 'OTHER_CONTAINER', errno: 5, message: /another/ });
});

t.test('a memory that makes no sense is refused', async (t) => {
  const { bench, fid } = await archived(t, 'content');
  bench.lustre.node(fid).xattrs.set('trusted.lhsm_uuid', Buffer.from('az://x'));
  await t.rejects(bench.restore(fid), { code: 'BLOB_XATTR_INVALID' });
});

t.test('a missing blob is ENOENT', async (t) => {
  const { bench, fid } = await archived(t, 'content');
  await bench.client.deleteBlob('d/f');
  await t.rejects(bench.restore(fid), { code: 'BLOB_MISSING', errno: 2, message: /d\/f/ });
});

t.test('a missing blob is ENOENT for a file that remembers nothing, too', async (t) => {
  const bench = await Bench.start(t, azurite);
  await t.rejects(bench.restore(bench.lustre.create('f', 'x')), { code: 'BLOB_MISSING', errno: 2 });
});

for (const [what, content] of [
  ['shorter', 'short'],
  ['longer', 'content and more'],
  ['empty', ''],
] as const) {
  t.test(`a blob that became ${what} is refused with both sizes, nothing is cut to fit`, async (t) => {
    const { bench, fid } = await archived(t, 'content', { policy: { restoreChanged: 'accept' } });
    await bench.edit('d/f', content);
    await t.rejects(bench.restore(fid), {
      code: 'SIZE_MISMATCH',
      errno: 5,
      message: new RegExp(`${content.length} bytes.*7`),
    });
  });
}

t.test('a blob of another size is refused with both sizes under policy fail, too', async (t) => {
  const { bench, fid } = await archived(t, 'content');
  await bench.put('d/f', 'short');
  await t.rejects(bench.restore(fid), { code: 'SIZE_MISMATCH', errno: 5, message: /5 bytes.*7/ });
});

t.test('a changed blob is refused with EIO under policy fail, though its size fits', async (t) => {
  const { bench, fid } = await archived(t, 'content');
  await bench.put('d/f', 'CONTENT');
  await t.rejects(bench.restore(fid), { code: 'BLOB_CHANGED', errno: 5, hint: /restore_changed/ });
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

t.test(
  'restore never sets the times of the released file: that would wait for the restore itself',
  async (t) => {
    const { bench, fid } = await archived(t, 'content', { policy: { restoreChanged: 'accept' } });
    await bench.put('d/f', 'CONTENT');
    bench.lustre.before('setTimes', () => {
      t.fail('setTimes during a restore');
    });
    await bench.restore(fid);
  },
);

t.test('a pin without quotes, as other tools write it, is the same version', async (t) => {
  const { bench, fid } = await archived(t, 'content');
  const etag = bench.lustre.xattr(fid, 'trusted.lhsm_etag') ?? '';
  bench.lustre.node(fid).xattrs.set('trusted.lhsm_etag', Buffer.from(etag.replaceAll('"', '')));
  t.equal((await bench.restore(fid)).content.toString(), 'content');
});

t.test('a page blob is refused', async (t) => {
  const bench = await Bench.start(t, azurite);
  await bench.client.getPageBlobClient('f').create(512);
  const fid = bench.lustre.create('f', Buffer.alloc(512));
  await t.rejects(bench.restore(fid), { code: 'NOT_BLOCK_BLOB', errno: 5, message: /PageBlob/ });
});

t.test('an append blob is refused', async (t) => {
  const bench = await Bench.start(t, azurite);
  await bench.client.getAppendBlobClient('f').create();
  await bench.client.getAppendBlobClient('f').appendBlock('x', 1);
  const fid = bench.lustre.create('f', 'x');
  await t.rejects(bench.restore(fid), { code: 'NOT_BLOCK_BLOB', errno: 5, message: /AppendBlob/ });
});

t.test('a directory stub is refused', async (t) => {
  const bench = await Bench.start(t, azurite);
  await bench.put('f', '', { hdi_isfolder: 'TRUE' });
  await t.rejects(bench.restore(bench.lustre.create('f', '')), { code: 'BLOB_IS_DIRECTORY', errno: 5 });
});

t.test('a blob in the Archive tier is refused with EIO and the mend', async (t) => {
  const { bench, fid } = await archived(t, 'content');
  await bench.client.getBlobClient('d/f').setAccessTier('Archive');
  await t.rejects(bench.restore(fid), { code: 'BLOB_ARCHIVED', errno: 5, hint: /tier/ });
});

t.test('the blob of another living file is refused for a file that remembers nothing', async (t) => {
  const { bench, fid } = await archived(t, 'content');
  bench.lustre.rename('d/f', 'renamed');
  const stranger = bench.lustre.create('d/f', '.......');
  await t.rejects(bench.restore(stranger), { code: 'BLOB_OF_OTHER_FILE', errno: 2 });
  t.equal((await bench.restore(fid)).content.toString(), 'content', 'its own file still gets it');
});

t.test('the blob of a file that is gone is taken: an import over an old name', async (t) => {
  const { bench } = await archived(t, 'content');
  bench.lustre.unlink('d/f');
  const next = bench.lustre.create('d/f', '.......');
  const { content, requests } = await bench.restore(next);
  t.equal(content.toString(), 'content');
  t.equal(requests, 2, 'the doubt costs one more');
});

t.test('the FID of another file system in a blob is not looked up', async (t) => {
  const { bench, fid } = await archived(t, 'content');
  await bench.put('g', 'foreign', { ...bench.ownedBy(fid), lustre_fs: 'scratch' });
  const { requests } = await bench.restore(bench.lustre.create('g', '.......'));
  t.equal(requests, 1);
});

for (const code of ['ENOSPC', 'EDQUOT'] as const) {
  t.test(`${code} while writing is reported as such`, async (t) => {
    const { bench, fid } = await archived(t, 'content');
    const full = new LhsmError(`write: ${code}`, { code, op: 'write' });
    const engine = { ...bench.tools.transfer, download: () => Promise.reject(full) };
    const overFull: Mover = (job, tools, signal) => restore(job, { ...tools, transfer: engine }, signal);
    await withOpen(join(bench.lustre.mount, '.volatile'), 'wx', async (fd) => {
      await t.rejects(bench.run(overFull, fid, fd), { code, errno: full.errno });
    });
  });
}

t.test('a full disk is ENOSPC', async (t) => {
  const { bench, fid } = await archived(t, 'content');
  await withOpen('/dev/full', 'w', async (fd) => {
    await t.rejects(bench.run(restore, fid, fd), { code: 'ENOSPC', errno: 28 });
  });
});

t.test('an abort before anything is done asks for nothing', async (t) => {
  const { bench, fid } = await archived(t, 'content');
  bench.signal.abort();
  await t.rejects(bench.restore(fid), { name: 'AbortError' });
  t.equal(bench.requests, 0);
});

t.test('an abort on the way ends the restore', async (t) => {
  const { bench, fid } = await archived(t, 'content');
  bench.lustre.before('getXattr', () => {
    bench.signal.abort();
  });
  await t.rejects(bench.restore(fid), { name: 'AbortError' });
  t.equal(bench.requests, 0);
});

t.test('only regular files are restored', async (t) => {
  const bench = await Bench.start(t, azurite);
  bench.lustre.create('d/f', 'x');
  await t.rejects(bench.restore(bench.lustre.adopt('d')), { code: 'NOT_A_FILE', errno: 22 });
});

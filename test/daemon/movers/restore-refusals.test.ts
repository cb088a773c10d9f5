// What a restore refuses, and with which errno.
import { join } from 'node:path';
import t from 'tap';
import type { Mover } from '../../../daemon/movers/mover.js';
import { restore } from '../../../daemon/movers/restore.js';
import { LhsmError } from '../../../native-bindings/errors.js';
import type { Fid } from '../../../native-bindings/lustre.js';
import { startAzurite } from '../../helpers/azurite.js';
import { Bench, type BenchOptions } from './bench.js';
import { withOpen } from './fake-lustre.js';

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
  t.equal(bench.requests, 2, 'its path and its FID, once each');
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

t.test('a page blob is refused', async (t) => {
  const bench = await Bench.start(t, azurite);
  await bench.client.getPageBlobClient('f').create(512);
  const fid = bench.lustre.create('f', Buffer.alloc(512));
  await t.rejects(bench.restore(fid), { code: 'NOT_BLOCK_BLOB', errno: 5, message: /PageBlob/ });
});

t.test('an append blob is read as any other, in its pinned version only', async (t) => {
  const bench = await Bench.start(t, azurite);
  const blob = bench.client.getAppendBlobClient('f');
  await blob.create();
  await blob.appendBlock('xyz', 3);
  const fid = bench.lustre.create('f', 'abc');
  t.equal((await bench.restore(fid)).content.toString(), 'xyz');
  const node = bench.lustre.node(fid);
  node.xattrs.set('trusted.lhsm_uuid', Buffer.from(`az://${bench.container.container}/f`));
  node.xattrs.set('trusted.lhsm_etag', Buffer.from((await bench.etag('f')) ?? ''));
  await blob.appendBlock('more', 4);
  await t.rejects(bench.restore(fid), { code: 'SIZE_MISMATCH', errno: 5 });
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
  bench.lustre.before('look', () => {
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

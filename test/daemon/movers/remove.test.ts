// What a remove deletes, and what it leaves alone.
import { statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { HsmStateFlag } from '../../../native-bindings/constants.js';
import { LhsmError } from '../../../native-bindings/errors.js';
import { startAzurite } from '../../helpers/azurite.js';
import { Bench, type BenchOptions } from './bench.js';
import type { Fid } from '../../../native-bindings/lustre.js';

const azurite = await startAzurite();
t.teardown(() => azurite.stop());

async function archived(
  t: Parameters<typeof Bench.start>[0],
  options: BenchOptions = {},
): Promise<{ bench: Bench; fid: Fid }> {
  const bench = await Bench.start(t, azurite, options);
  const fid = bench.lustre.create('f', 'content');
  await bench.archive(fid);
  return { bench, fid };
}

t.test('remove deletes the blob and the memory, and puts the times back', async (t) => {
  const { bench, fid } = await archived(t);
  const before = statSync(join(bench.lustre.mount, 'f'), { bigint: true });
  t.match(await bench.remove(fid), { blob: 'f', sizeBytes: 7n });
  t.same(await bench.blobs(), []);
  t.equal(bench.lustre.node(fid).xattrs.size, 0);
  t.equal(bench.lustre.node(fid).putBack?.ctimeNs, before.ctimeNs);
});

t.test('remove finds the blob of a renamed file', async (t) => {
  const { bench, fid } = await archived(t);
  bench.lustre.rename('f', 'g');
  t.equal((await bench.remove(fid)).blob, 'f');
});

t.test('remove finds the blob of a file that has lost its memory by its path', async (t) => {
  const { bench, fid } = await archived(t);
  bench.lustre.node(fid).xattrs.clear();
  t.equal((await bench.remove(fid)).blob, 'f');
  t.same(await bench.blobs(), []);
});

t.test('a missing blob is ENOENT', async (t) => {
  const { bench, fid } = await archived(t);
  await bench.client.deleteBlob('f');
  await t.rejects(bench.remove(fid), { code: 'BLOB_MISSING', errno: 2 });
});

t.test('a file gone for good is removed by its FID', async (t) => {
  const { bench, fid } = await archived(t, { naming: 'fid' });
  bench.lustre.unlink('f');
  t.equal((await bench.remove(fid)).blob, '0001/0x200000401:0x1:0x0');
  t.same(await bench.blobs(), []);
});

t.test('a file gone for good cannot be found by path: ENOENT, and the blob stays', async (t) => {
  const { bench, fid } = await archived(t);
  bench.lustre.unlink('f');
  await t.rejects(bench.remove(fid), { code: 'FILE_GONE', errno: 2, hint: /naming = "fid"/ });
  t.same(await bench.blobs(), ['f']);
});

t.test('by FID, the blob of another file system is not deleted', async (t) => {
  const { bench, fid } = await archived(t, { naming: 'fid' });
  bench.lustre.unlink('f');
  const [name = ''] = await bench.blobs();
  await bench.put(name, 'theirs', { ...bench.ownedBy(fid), lustre_fs: 'scratch' });
  await t.rejects(bench.remove(fid), { code: 'BLOB_NOT_OURS', errno: 1 });
  t.equal(await bench.content(name), 'theirs');
});

t.test('the blob of another living file is never deleted, whatever the policy', async (t) => {
  const { bench, fid } = await archived(t, { policy: { archiveChanged: 'overwrite' } });
  bench.lustre.rename('f', 'g');
  const next = bench.lustre.create('f', 'B');
  await t.rejects(bench.remove(next), { code: 'BLOB_OF_OTHER_FILE', errno: 1 });
  t.equal((await bench.restore(fid)).content.toString(), 'content');
});

t.test('the blob of a file that is gone is not deleted for another one', async (t) => {
  const { bench } = await archived(t);
  bench.lustre.unlink('f');
  await t.rejects(bench.remove(bench.lustre.create('f', 'B')), { code: 'BLOB_NOT_OURS', errno: 1 });
  t.same(await bench.blobs(), ['f']);
});

for (const how of ['put', 'edit'] as const) {
  t.test(`a blob that somebody changed is not deleted by default (${how})`, async (t) => {
    const { bench, fid } = await archived(t);
    await bench[how]('f', 'theirs');
    await t.rejects(bench.remove(fid), { code: 'BLOB_CHANGED', errno: 116 });
    t.equal(await bench.content('f'), 'theirs');
    t.equal(bench.lustre.node(fid).xattrs.size, 2, 'the file remembers it');
  });
}

t.test('a blob that somebody changed is deleted where the policy lets us overwrite it', async (t) => {
  const { bench, fid } = await archived(t, { policy: { archiveChanged: 'overwrite' } });
  await bench.put('f', 'theirs');
  await bench.remove(fid);
  t.same(await bench.blobs(), []);
});

t.test('a blob that is foreign and not pinned is not deleted by default', async (t) => {
  const bench = await Bench.start(t, azurite);
  await bench.put('f', 'theirs');
  await t.rejects(bench.remove(bench.lustre.create('f', 'B')), { code: 'BLOB_NOT_OURS', errno: 1 });
  t.same(await bench.blobs(), ['f']);
});

t.test('an imported blob is deleted by its pin', async (t) => {
  const bench = await Bench.start(t, azurite);
  await bench.put('f', 'imported');
  const fid = bench.lustre.create('f', 'imported');
  const { xattrs } = bench.lustre.node(fid);
  xattrs.set('trusted.lhsm_uuid', Buffer.from(`az://${bench.container.container}/f`));
  xattrs.set('trusted.lhsm_etag', Buffer.from((await bench.etag('f')) ?? ''));
  await bench.remove(fid);
  t.same(await bench.blobs(), []);
});

t.test('the copy of a released file is its only one and is not deleted', async (t) => {
  const { bench, fid } = await archived(t);
  bench.lustre.node(fid).states = HsmStateFlag.EXISTS | HsmStateFlag.ARCHIVED | HsmStateFlag.RELEASED;
  await t.rejects(bench.remove(fid), { code: 'FILE_RELEASED', errno: 1 });
  t.same(await bench.blobs(), ['f']);
});

t.test('a copy in another container is refused', async (t) => {
  const { bench, fid } = await archived(t);
  bench.lustre.node(fid).xattrs.set('trusted.lhsm_uuid', Buffer.from('az://another/f'));
  await t.rejects(bench.remove(fid), { code: 'OTHER_CONTAINER', errno: 1 });
  t.same(await bench.blobs(), ['f']);
});

t.test('a directory stub and a page blob are not deleted', async (t) => {
  const bench = await Bench.start(t, azurite, { policy: { archiveChanged: 'overwrite' } });
  await bench.put('dir', '', { hdi_isfolder: 'true' });
  await bench.client.getPageBlobClient('page').create(512);
  await t.rejects(bench.remove(bench.lustre.create('dir', '')), { code: 'BLOB_IS_DIRECTORY', errno: 21 });
  await t.rejects(bench.remove(bench.lustre.create('page', '')), { code: 'NOT_BLOCK_BLOB', errno: 1 });
  t.same(await bench.blobs(), ['dir', 'page']);
});

t.test('a memory that cannot be removed is a note: the blob is gone as asked', async (t) => {
  const { bench, fid } = await archived(t);
  bench.lustre.before('removeXattr', () => {
    throw new LhsmError('read-only', { code: 'EROFS', op: 'fremovexattr' });
  });
  t.match(await bench.remove(fid), { notes: [/still remembers the blob/] });
  t.same(await bench.blobs(), []);
});

t.test('a file that cannot be opened is not taken for gone', async (t) => {
  const { bench, fid } = await archived(t, { naming: 'fid' });
  bench.lustre.before('openByFid', () => {
    throw new LhsmError('no answer', { code: 'ETIMEDOUT', op: 'llapi_open_by_fid' });
  });
  await t.rejects(bench.remove(fid), { code: 'ETIMEDOUT' });
  t.equal((await bench.blobs()).length, 1);
});

t.test('somebody who writes between the look and the deletion wins', async (t) => {
  const { bench, fid } = await archived(t);
  bench.beforeDelete = () => bench.put('f', 'theirs');
  await t.rejects(bench.remove(fid), { code: 'BLOB_CHANGED', errno: 116 });
  t.equal(await bench.content('f'), 'theirs');
});

t.test('an abort deletes nothing', async (t) => {
  const { bench, fid } = await archived(t);
  bench.lustre.before('hsmStateFd', () => {
    bench.signal.abort();
  });
  await t.rejects(bench.remove(fid), { name: 'AbortError' });
  t.same(await bench.blobs(), ['f']);
});

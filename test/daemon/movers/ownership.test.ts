// Two files never share a blob: whole archives against Azurite. The decision table itself is in collision.test.ts,
// what happens when the daemon dies in between in after-crash.test.ts.
import t from 'tap';
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
  const fid = bench.lustre.create('p', 'A');
  await bench.archive(fid);
  return { bench, fid };
}

/** The name in a file's memory. */
function remembered(bench: Bench, fid: Fid): string | undefined {
  return bench.lustre.xattr(fid, 'trusted.lhsm_uuid')?.replace(`az://${bench.container.container}/`, '');
}

for (const size of [1, (1 << 20) + 1]) {
  t.test(`a new file at the old name of a renamed one gets another blob (${size} bytes)`, async (t) => {
    const { bench, fid } = await archived(t);
    bench.lustre.rename('p', 'q');
    const next = bench.lustre.create('p', Buffer.alloc(size, 'B'));
    const { blob, notes } = await bench.archive(next);
    t.equal(blob, 'p.lhsm-200000401-2-0');
    t.match(notes, [/holds the copy of \[0x200000401:0x1:0x0\]/]);
    t.equal(remembered(bench, next), blob);
    t.equal((await bench.restore(fid)).content.toString(), 'A', "the renamed file's only copy is whole");
    t.ok((await bench.restore(next)).content.equals(Buffer.alloc(size, 'B')));
    bench.requests = 0;
    bench.lustre.write('p', 'BB');
    t.equal((await bench.archive(next)).blob, blob, 'it keeps that name');
    t.equal(bench.requests, 2);
  });
}

t.test('a living file that has lost its memory keeps its blob', async (t) => {
  const { bench, fid } = await archived(t);
  bench.lustre.rename('p', 'q');
  bench.lustre.node(fid).xattrs.clear();
  t.equal((await bench.archive(bench.lustre.create('p', 'B'))).blob, 'p.lhsm-200000401-2-0');
  t.equal(await bench.content('p'), 'A');
});

t.test('a file whose alternative name is taken, too, is refused', async (t) => {
  const { bench, fid } = await archived(t);
  bench.lustre.rename('p', 'q');
  bench.lustre.node(fid).xattrs.clear();
  await bench.put('p.lhsm-200000401-2-0', 'A', bench.ownedBy(fid));
  const next = bench.lustre.create('p', 'B');
  await t.rejects(bench.archive(next), { code: 'BLOB_OF_OTHER_FILE', errno: 17 });
  t.equal(remembered(bench, next), undefined);
});

t.test('a file archived again under its name keeps that memory as it is', async (t) => {
  const { bench, fid } = await archived(t);
  bench.lustre.write('p', 'AA');
  const written: unknown[] = [];
  bench.lustre.before('setXattr', (name) => written.push(name));
  await bench.archive(fid);
  t.same(written, ['trusted.lhsm_etag']);
});

t.test('a renamed file whose content changed is archived at its new path, the old blob stays', async (t) => {
  const { bench, fid } = await archived(t);
  bench.lustre.rename('p', 'q');
  bench.lustre.write('q', 'AA');
  t.equal((await bench.archive(fid)).blob, 'q');
  t.same(await bench.blobs(), ['p', 'q']);
  t.equal(await bench.content('p'), 'A');
  t.equal((await bench.restore(fid)).content.toString(), 'AA');
});

t.test('a file that comes back to its first name replaces its own former copy', async (t) => {
  const { bench, fid } = await archived(t);
  bench.lustre.rename('p', 'q');
  bench.lustre.write('q', 'AA');
  await bench.archive(fid);
  bench.lustre.rename('q', 'p');
  bench.lustre.write('p', 'AAA');
  t.equal((await bench.archive(fid)).blob, 'p');
  t.equal(await bench.content('p'), 'AAA');
});

t.test('a file saved by an editor (written anew, renamed over) replaces the orphan', async (t) => {
  const { bench, fid } = await archived(t);
  bench.lustre.unlink('p');
  const next = bench.lustre.create('p', 'B');
  t.match(await bench.archive(next), { blob: 'p', notes: [/replaced the copy of/] });
  t.equal(await bench.content('p'), 'B');
  t.match(await bench.metadata('p'), bench.ownedBy(next));
  t.notSame(next, fid);
});

t.test('the blob that a renamed file left behind for another one is an orphan', async (t) => {
  const { bench, fid } = await archived(t);
  bench.lustre.rename('p', 'q');
  bench.lustre.write('q', 'AA');
  await bench.archive(fid);
  t.equal((await bench.archive(bench.lustre.create('p', 'B'))).blob, 'p');
});

t.test('xattrs copied with a file (cp -a, rsync -X) do not share its blob', async (t) => {
  const { bench, fid } = await archived(t);
  bench.lustre.rename('p', 'q');
  const copy = bench.lustre.create('p', 'copy');
  for (const [name, value] of bench.lustre.node(fid).xattrs) bench.lustre.node(copy).xattrs.set(name, value);
  t.equal((await bench.archive(copy)).blob, 'p.lhsm-200000401-2-0');
  t.equal((await bench.restore(fid)).content.toString(), 'A');
});

t.test('a blob of another file system is not overwritten by default', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('p', 'B');
  await bench.put('p', 'theirs', { ...bench.ownedBy(fid), lustre_fs: 'scratch' });
  await t.rejects(bench.archive(fid), { code: 'BLOB_NOT_OURS', errno: 17, hint: /archive_changed/ });
  t.equal(await bench.content('p'), 'theirs');
  t.equal(remembered(bench, fid), undefined);
});

t.test('a foreign blob is overwritten where the policy says so', async (t) => {
  const bench = await Bench.start(t, azurite, { policy: { archiveChanged: 'overwrite' } });
  await bench.put('p', 'theirs');
  t.match(await bench.archive(bench.lustre.create('p', 'B')), {
    blob: 'p',
    notes: [/overwrote a foreign blob/],
  });
  t.equal(await bench.content('p'), 'B');
});

t.test('an imported file is archived over the blob it was imported from', async (t) => {
  const bench = await Bench.start(t, azurite);
  await bench.put('p', 'imported');
  const fid = bench.lustre.create('p', 'B');
  const { xattrs } = bench.lustre.node(fid);
  xattrs.set('trusted.lhsm_uuid', Buffer.from(`az://${bench.container.container}/p`));
  xattrs.set('trusted.lhsm_etag', Buffer.from((await bench.etag('p')) ?? ''));
  t.match(await bench.archive(fid), { blob: 'p', notes: undefined });
  t.equal(await bench.content('p'), 'B');
});

for (const how of ['put', 'edit'] as const) {
  t.test(`a blob that somebody changed is not overwritten by default (${how})`, async (t) => {
    const { bench, fid } = await archived(t);
    const pin = bench.lustre.xattr(fid, 'trusted.lhsm_etag');
    await bench[how]('p', 'theirs');
    bench.lustre.write('p', 'AA');
    await t.rejects(bench.archive(fid), { code: 'BLOB_CHANGED', errno: 116 });
    t.equal(await bench.content('p'), 'theirs');
    t.equal(bench.lustre.xattr(fid, 'trusted.lhsm_etag'), pin);
  });
}

t.test('a blob that somebody changed is overwritten where the policy says so', async (t) => {
  const { bench, fid } = await archived(t, { policy: { archiveChanged: 'overwrite' } });
  await bench.put('p', 'theirs');
  bench.lustre.write('p', 'AA');
  t.match(await bench.archive(fid), { notes: [/overwrote a changed blob/] });
});

t.test('a blob that somebody deleted is written anew', async (t) => {
  const { bench, fid } = await archived(t);
  await bench.client.deleteBlob('p');
  bench.lustre.write('p', 'AA');
  t.match(await bench.archive(fid), { blob: 'p', notes: [/former copy was missing/] });
});

t.test('somebody who writes before the commit of a new file wins, and is reported', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('p', 'B');
  bench.beforeCommit = () => bench.put('p', 'theirs');
  await t.rejects(bench.archive(fid), { code: 'BLOB_NOT_OURS' });
  t.equal(await bench.content('p'), 'theirs');
});

t.test('somebody who writes between the look and the commit wins, and is reported', async (t) => {
  const { bench, fid } = await archived(t);
  bench.beforeCommit = () => bench.edit('p', 'theirs');
  bench.lustre.write('p', 'AA');
  await t.rejects(bench.archive(fid), { code: 'BLOB_CHANGED', errno: 116 });
  t.equal(await bench.content('p'), 'theirs');
});

t.test('a page blob at the name is refused, however large the file', async (t) => {
  const bench = await Bench.start(t, azurite, { putBlobMaxBytes: 1000, blockSizeBytes: 1000 });
  await bench.client.getPageBlobClient('small').create(512);
  await bench.client.getPageBlobClient('staged').create(512);
  const refused = { code: 'NOT_BLOCK_BLOB', errno: 17 };
  await t.rejects(bench.archive(bench.lustre.create('small', 'x')), refused);
  await t.rejects(bench.archive(bench.lustre.create('staged', Buffer.alloc(5000))), refused);
});

t.test('a directory stub at the name leaves the file another one, for the directory is gone', async (t) => {
  const bench = await Bench.start(t, azurite);
  await bench.archive(bench.lustre.create('dir/f', 'x'));
  bench.lustre.rename('dir', 'elsewhere');
  const fid = bench.lustre.create('dir', 'B');
  t.match(await bench.archive(fid), { blob: /^dir\.lhsm-/, notes: [/stands for a directory that is gone/] });
  t.equal((await bench.restore(fid)).content.toString(), 'B');
  t.match(await bench.metadata('dir'), { hdi_isfolder: 'true' }, 'the stub stays, for what may be below it');
});

t.test('a remembered blob without a version is refused in words of its own', async (t) => {
  const bench = await Bench.start(t, azurite);
  await bench.put('p', 'of lemur');
  const fid = bench.lustre.create('p', 'B');
  bench.lustre.node(fid).xattrs.set('trusted.lhsm_uuid', Buffer.from('p'));
  await t.rejects(bench.archive(fid), {
    code: 'BLOB_NOT_OURS',
    errno: 17,
    message: /remembers the blob p, but not which version/,
    hint: /trusted\.lhsm_etag/,
  });
});

t.test('an owner that cannot be looked at stops the archive, and the blob stays', async (t) => {
  const { bench } = await archived(t);
  bench.lustre.rename('p', 'q');
  const next = bench.lustre.create('p', 'B');
  bench.lustre.before('openByFid', () => {
    throw new LhsmError('no answer', { code: 'ETIMEDOUT', op: 'llapi_open_by_fid' });
  });
  await t.rejects(bench.archive(next), { code: 'ETIMEDOUT' });
  t.equal(await bench.content('p'), 'A');
});

t.test('a copy in another container stays behind, and the archive says so', async (t) => {
  const { bench, fid } = await archived(t);
  const second = await Bench.start(t, azurite, { lustre: bench.lustre });
  bench.lustre.write('p', 'AA');
  t.match(await second.archive(fid), { blob: 'p', notes: [/stays behind/] });
  t.equal(remembered(second, fid), 'p');
  t.equal(await second.content('p'), 'AA');
  t.equal(await bench.content('p'), 'A');
});

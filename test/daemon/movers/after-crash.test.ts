// Archives that a dead or failing daemon left half done: the next one finishes them, and nothing is lost in between.
import t from 'tap';
import { LhsmError } from '../../../native-bindings/errors.js';
import type { Fid } from '../../../native-bindings/lustre.js';
import { startAzurite } from '../../helpers/azurite.js';
import { Bench, type BenchOptions } from './bench.js';

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

/** Kills the daemon right after a commit; the next daemon is sent the same item again. */
async function killAfterCommit(t: Parameters<typeof Bench.start>[0], bench: Bench, fid: Fid): Promise<void> {
  bench.afterUpload = () => {
    bench.lustre.kill();
  };
  await t.rejects(bench.archive(fid), { code: 'EIO' });
  bench.afterUpload = undefined;
  bench.lustre.revive();
}

t.test('kill -9 between the commit of a first archive and its pin: the redo succeeds', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('p', 'A');
  await killAfterCommit(t, bench, fid);
  t.equal(await bench.content('p'), 'A', 'it was committed');
  t.equal(bench.lustre.xattr(fid, 'trusted.lhsm_etag'), undefined, 'and not pinned');
  t.equal((await bench.archive(fid)).blob, 'p');
  t.equal(bench.lustre.xattr(fid, 'trusted.lhsm_etag'), await bench.etag('p'));
});

t.test('kill -9 between the commit of a later archive and its pin: the redo succeeds, twice', async (t) => {
  const { bench, fid } = await archived(t);
  bench.lustre.write('p', 'AA');
  await killAfterCommit(t, bench, fid);
  bench.lustre.write('p', 'AAA');
  await killAfterCommit(t, bench, fid);
  bench.lustre.write('p', 'AAAA');
  t.match(await bench.archive(fid), { blob: 'p', notes: [/took up an upload/] });
  t.equal(await bench.content('p'), 'AAAA');
});

t.test('kill -9 after the commit of a renamed file: the redo succeeds', async (t) => {
  const { bench, fid } = await archived(t);
  bench.lustre.rename('p', 'q');
  bench.lustre.write('q', 'AA');
  await killAfterCommit(t, bench, fid);
  t.equal((await bench.archive(fid)).blob, 'q');
  t.equal(bench.lustre.xattr(fid, 'trusted.lhsm_etag'), await bench.etag('q'));
});

t.test('kill -9 while a file comes back to its first name: the redo succeeds', async (t) => {
  const { bench, fid } = await archived(t);
  bench.lustre.rename('p', 'q');
  bench.lustre.write('q', 'AA');
  await bench.archive(fid);
  bench.lustre.rename('q', 'p');
  bench.lustre.write('p', 'AAA');
  bench.beforeCommit = () => {
    bench.lustre.kill();
    throw new LhsmError('killed', { code: 'EIO', op: 'test' });
  };
  await t.rejects(bench.archive(fid), { code: 'EIO' });
  bench.beforeCommit = undefined;
  bench.lustre.revive();
  t.equal((await bench.archive(fid)).blob, 'p');
});

t.test('kill -9 after the commit, then a rename: a new file at the name spares the blob', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('p', 'A');
  await killAfterCommit(t, bench, fid);
  bench.lustre.rename('p', 'q');
  const next = bench.lustre.create('p', 'B');
  t.equal((await bench.archive(next)).blob, 'p.lhsm-200000401-2-0');
  t.equal((await bench.archive(fid)).blob, 'q');
});

t.test(
  'a name is claimed before its blob is committed: nobody takes it for an orphan in between',
  async (t) => {
    const bench = await Bench.start(t, azurite);
    const fid = bench.lustre.create('p', 'A');
    bench.beforeCommit = () => {
      t.equal(remembered(bench, fid), 'p');
    };
    await bench.archive(fid);
  },
);

t.test('a version that cannot be pinned fails the archive, and the next one takes it up', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('p', 'A');
  bench.lustre.before('setXattr', (name) => {
    if (name === 'trusted.lhsm_etag') throw new LhsmError('full', { code: 'ENOSPC', op: 'fsetxattr' });
  });
  await t.rejects(bench.archive(fid), { code: 'ENOSPC' });
  bench.lustre.revive();
  t.equal((await bench.archive(fid)).blob, 'p');
});

t.test('a failed archive of a renamed file leaves it the memory of its old blob', async (t) => {
  const { bench, fid } = await archived(t);
  const memory = new Map(bench.lustre.node(fid).xattrs);
  bench.lustre.rename('p', 'q');
  bench.beforeCommit = () => {
    bench.lustre.write('q', 'moving');
  };
  await t.rejects(bench.archive(fid), { code: 'FILE_CHANGED' });
  t.same(bench.lustre.node(fid).xattrs, memory);
});

// What an archive does when the file changes, moves or goes under it, or is aborted.
import { statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { archive } from '../../../daemon/movers/archive.js';
import { LhsmError } from '../../../native-bindings/errors.js';
import { startAzurite } from '../../helpers/azurite.js';
import { Bench } from './bench.js';
import { withOpen } from './fake-lustre.js';

const azurite = await startAzurite();
t.teardown(() => azurite.stop());

for (const [what, act] of [
  [
    'written',
    (b: Bench) => {
      b.lustre.write('f', 'other');
    },
  ],
  [
    'grown',
    (b: Bench) => {
      b.lustre.write('f', 'content and more');
    },
  ],
  [
    'truncated',
    (b: Bench) => {
      truncateSync(join(b.lustre.mount, 'f'), 3);
    },
  ],
] as const) {
  t.test(`a file ${what} during archive ends with EBUSY, the last good version stays`, async (t) => {
    const bench = await Bench.start(t, azurite);
    const fid = bench.lustre.create('f', 'version 1');
    await bench.archive(fid);
    const etag = await bench.etag('f');
    bench.lustre.write('f', 'content');
    bench.beforeCommit = () => {
      act(bench);
    };
    await t.rejects(bench.archive(fid), { code: 'FILE_CHANGED', errno: 16, retryable: true });
    t.equal(await bench.content('f'), 'version 1');
    t.equal(bench.lustre.xattr(fid, 'trusted.lhsm_etag'), etag);
    bench.beforeCommit = undefined;
    await bench.archive(fid);
    t.equal(await bench.content('f'), bench.lustre.read('f').toString(), 'at rest it is archived');
  });
}

t.test('a file truncated before it is read ends with EBUSY, too', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('d/f', 'content');
  bench.lustre.before('setXattr', () => {
    truncateSync(join(bench.lustre.mount, 'd/f'), 2);
  });
  await t.rejects(bench.archive(fid), { code: 'FILE_CHANGED', errno: 16 });
  t.same(await bench.blobs(), ['d'], 'nothing is committed');
});

t.test('a failed first archive leaves no memory and puts ctime back', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('f', 'content');
  const before = statSync(join(bench.lustre.mount, 'f'), { bigint: true });
  bench.beforeCommit = () => {
    throw new LhsmError('out of luck', { code: 'EIO', op: 'test' });
  };
  await t.rejects(bench.archive(fid), { code: 'EIO' });
  t.equal(bench.lustre.xattr(fid, 'trusted.lhsm_uuid'), undefined);
  t.equal(bench.lustre.node(fid).putBack?.ctimeNs, before.ctimeNs);
});

t.test('a file renamed during archive keeps the blob it got', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('old', 'content');
  bench.beforeCommit = () => {
    bench.lustre.rename('old', 'new');
  };
  await bench.archive(fid);
  t.equal(bench.lustre.xattr(fid, 'trusted.lhsm_uuid'), `az://${bench.container.container}/old`);
  bench.lustre.rename('new', 'newer');
  t.equal((await bench.restore(fid)).content.toString(), 'content');
});

t.test('a file unlinked during archive is archived: its descriptor lives on', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('f', 'content');
  bench.beforeCommit = () => {
    bench.lustre.unlink('f');
  };
  t.equal((await bench.archive(fid)).blob, 'f');
  t.equal(await bench.content('f'), 'content');
});

t.test('a file gone for good when its version is to be pinned is a note', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('f', 'content');
  bench.lustre.before('setXattr', (name) => {
    if (name === 'trusted.lhsm_etag') throw new LhsmError('gone', { code: 'ESTALE', op: 'fsetxattr' });
  });
  t.match(await bench.archive(fid), { notes: [/removed meanwhile/] });
});

t.test('a file without a path and without memory is refused with ENOENT', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('f', 'content');
  await withOpen(join(bench.lustre.mount, 'f'), 'r', async (fd) => {
    bench.lustre.unlink('f');
    await t.rejects(bench.run(archive, fid, fd), { code: 'ENOENT', hint: /naming = "fid"/ });
  });
});

t.test('a file without a path is archived where it remembers', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('f', 'one');
  await bench.archive(fid);
  await withOpen(join(bench.lustre.mount, 'f'), 'r', async (fd) => {
    bench.lustre.write('f', 'two');
    bench.lustre.unlink('f');
    t.equal((await bench.run(archive, fid, fd)).blob, 'f');
  });
  t.equal(await bench.content('f'), 'two');
});

t.test('an abort before anything is done does nothing', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('f', 'content');
  bench.signal.abort();
  await t.rejects(bench.archive(fid), { name: 'AbortError' });
  t.same(await bench.blobs(), []);
});

t.test('an abort during upload commits nothing and leaves no memory', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('f', 'content');
  bench.beforeCommit = () => {
    bench.signal.abort();
  };
  await t.rejects(bench.archive(fid), { code: 'ECANCELED' });
  t.same(await bench.blobs(), []);
  t.equal(bench.lustre.xattr(fid, 'trusted.lhsm_uuid'), undefined);
});

t.test('an abort after the commit still records it', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('f', 'content');
  bench.afterUpload = () => {
    bench.signal.abort();
  };
  await t.rejects(bench.archive(fid), { name: 'AbortError' });
  t.equal(bench.lustre.xattr(fid, 'trusted.lhsm_etag'), await bench.etag('f'));
});

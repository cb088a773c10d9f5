// Against a service that keeps names otherwise than they were given, as Azure drops dots at the end of segments:
// no two files share a blob.
import t from 'tap';
import { startFaultyBench } from './faulty-bench.js';

t.test('files whose names differ in dots at the end of a segment have blobs of their own', async (t) => {
  const { bench, server } = await startFaultyBench(t);
  server.dropsDots = true;
  const paths = ['data.', 'data', 'data..', 'dir./x', 'dir/x', '.../x'];
  const fids = [];
  for (const path of paths) {
    const fid = bench.lustre.create(path, `content of ${path}`);
    await bench.archive(fid);
    fids.push(fid);
  }
  for (const [index, fid] of fids.entries()) {
    t.equal((await bench.restore(fid)).content.toString(), `content of ${paths[index] ?? ''}`);
  }
});

t.test('a living file that has the version pinned claims the blob, whatever name it remembers', async (t) => {
  const { bench, server } = await startFaultyBench(t);
  server.dropsDots = true;
  const owner = bench.lustre.create('other', 'only copy');
  await bench.archive(owner);
  // As if it had been written under a name that the service keeps as `data`.
  server.blobs.set('data', server.blobs.get('other') ?? server.put('x', Buffer.alloc(0)));
  const { xattrs } = bench.lustre.node(owner);
  xattrs.set('trusted.lhsm_uuid', Buffer.from('az://container/data.'));
  const next = bench.lustre.create('data', 'another');
  t.equal((await bench.archive(next)).blob, 'data.lhsm-200000401-2-0');
  t.equal((await bench.restore(owner)).content.toString(), 'only copy');
});

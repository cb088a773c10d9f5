// Movers ask for room, once, before content moves: hsm/ bounds the bytes in flight that way.
import t from 'tap';
import { LhsmError } from '../../../native-bindings/errors.js';
import { startAzurite } from '../../helpers/azurite.js';
import { Bench } from './bench.js';

const azurite = await startAzurite();
t.teardown(() => azurite.stop());

t.test('archive, restore and remove say size and blob once', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('f', 'content');
  await bench.archive(fid);
  await bench.restore(fid);
  await bench.remove(fid);
  t.same(bench.admitted, Array(3).fill({ sizeBytes: 7n, blob: 'f' }));
});

t.test('an archive that ends up under another name has asked once', async (t) => {
  const bench = await Bench.start(t, azurite);
  await bench.archive(bench.lustre.create('f', 'A'));
  bench.lustre.rename('f', 'g');
  const next = bench.lustre.create('f', 'B');
  bench.admitted.length = 0;
  t.not((await bench.archive(next)).blob, 'f');
  t.equal(bench.admitted.length, 1);
});

t.test('a restore that looks under several names has asked once', async (t) => {
  const bench = await Bench.start(t, azurite);
  await bench.put('b', 'content');
  const fid = bench.lustre.create('a', '.......');
  bench.lustre.link('a', 'b');
  await bench.restore(fid);
  t.equal(bench.admitted.length, 1);
});

t.test('what is not admitted moves nothing', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('f', 'content');
  await bench.archive(fid);
  bench.requests = 0;
  const canceled = new LhsmError('canceled', { code: 'ECANCELED', op: 'test' });
  bench.gate = () => Promise.reject(canceled);
  await t.rejects(bench.archive(fid), { code: 'ECANCELED' });
  await t.rejects(bench.restore(fid), { code: 'ECANCELED' });
  t.equal(bench.requests, 0);
});

t.test('a file written while its archive waits for room is archived as it is then', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('f', 'before');
  let open: (() => void) | undefined;
  bench.gate = () => new Promise((resolve) => (open = resolve));
  const archiving = bench.archive(fid);
  while (bench.admitted.length === 0) await new Promise((resolve) => setImmediate(resolve));
  bench.lustre.write('f', 'and after');
  open?.();
  await archiving;
  t.equal(await bench.content('f'), 'and after');
});

// The bound on asynchronous calls: never more than allowed, first come first served, nothing lost on errors.
import t from 'tap';
import { CallPool, callPool } from '../../native-bindings/call-pool.js';

t.test('one pool a process', (t) => {
  t.equal(callPool(), callPool());
  t.end();
});

t.test('calls beyond the bound wait, first come first served', async (t) => {
  const pool = new CallPool(2);
  const order: number[] = [];
  const gates: (() => void)[] = [];
  let running = 0;
  let most = 0;
  const runs = Array.from({ length: 6 }, (_, i) =>
    pool.run(async () => {
      order.push(i);
      most = Math.max(most, ++running);
      await new Promise<void>((resolve) => gates.push(resolve));
      running--;
      return i;
    }),
  );
  t.equal(pool.pending, 6);
  while (gates.length < 2) await Promise.resolve();
  for (let opened = 0; opened < 6; opened++) {
    while (gates.length <= opened) await Promise.resolve();
    gates[opened]?.();
  }
  t.same(await Promise.all(runs), [0, 1, 2, 3, 4, 5]);
  t.same(order, [0, 1, 2, 3, 4, 5]);
  t.equal(most, 2);
  t.equal(pool.pending, 0);
});

t.test('a call that fails gives its place back', async (t) => {
  const pool = new CallPool(1);
  await t.rejects(
    pool.run(() => Promise.reject(new Error('no'))),
    { message: 'no' },
  );
  t.equal(await pool.run(() => Promise.resolve(7)), 7);
  t.equal(pool.pending, 0);
});

// The buffers: never more than the bound, in the order of asking, reused.
import { setMaxListeners } from 'node:events';
import fc from 'fast-check';
import t from 'tap';
import { BufferPool, type PooledBuffer } from '../../../daemon/transfer/buffer-pool.js';

const never = new AbortController().signal;
setMaxListeners(0, never);
const KIB = 1024;

t.test('whatever is asked and given back, the bound holds and everybody is served', async (t) => {
  const size = fc.integer({ min: 1, max: 64 * KIB });
  const checked = fc.assert(
    fc.asyncProperty(fc.array(size, { minLength: 1, maxLength: 60 }), async (sizes) => {
      const pool = new BufferPool(64 * KIB);
      let served = 0;
      await Promise.all(
        sizes.map(async (bytes) => {
          const buffer = await pool.acquire(bytes, never);
          if (buffer.bytes.length !== bytes) throw new Error('wrong length');
          if (pool.heldBytes > pool.maxBytes) throw new Error('over the bound');
          await Promise.resolve();
          buffer.release();
          served += 1;
        }),
      );
      return served === sizes.length && pool.usedBytes === 0 && pool.heldBytes <= pool.maxBytes;
    }),
    { interruptAfterTimeLimit: 2000, numRuns: 100 },
  );
  await t.resolves(checked);
});

t.test('first come, first served, also for the large', async (t) => {
  const pool = new BufferPool(16 * KIB);
  const first = await pool.acquire(12 * KIB, never);
  const order: string[] = [];
  const large = pool.acquire(16 * KIB, never).then((buffer) => {
    order.push('large');
    buffer.release();
  });
  const small = pool.acquire(1, never).then((buffer) => {
    order.push('small');
    buffer.release();
  });
  first.release();
  await Promise.all([large, small]);
  t.same(order, ['large', 'small']);
});

t.test('buffers are used again, and make room for other sizes', async (t) => {
  const pool = new BufferPool(64 * KIB);
  const first = await pool.acquire(32 * KIB, never);
  const memory = first.bytes.buffer;
  first.release();
  const second = await pool.acquire(30 * KIB, never);
  t.equal(second.bytes.buffer, memory, 'the same memory');
  second.release();
  const all = await pool.acquire(64 * KIB, never);
  t.equal(pool.heldBytes, 64 * KIB, 'the idle one had to go');
  all.release();
  t.throws(() => {
    all.release();
  }, /twice/);
  pool.trim();
  t.equal(pool.heldBytes, 0);
});

t.test('who gives up waiting does not hold up the others', async (t) => {
  const pool = new BufferPool(16 * KIB);
  const held = await pool.acquire(8 * KIB, never);
  const control = new AbortController();
  const tooLarge = pool.acquire(16 * KIB, control.signal);
  let behind: PooledBuffer | undefined;
  const waiting = pool.acquire(4 * KIB, never).then((buffer) => (behind = buffer));
  control.abort();
  await t.rejects(tooLarge, { code: 'ECANCELED', errno: 125 });
  await waiting;
  t.ok(behind);
  behind?.release();
  held.release();
  t.equal(pool.usedBytes, 0);
  await t.rejects(pool.acquire(1, AbortSignal.abort()), { code: 'ECANCELED' });
  await t.rejects(pool.acquire(16 * KIB + 1, never), RangeError);
  t.throws(() => new BufferPool(100), RangeError);
});

t.test('who is urgent comes before those who are not, in the order of asking', async (t) => {
  const pool = new BufferPool(16 * KIB);
  const held = await pool.acquire(8 * KIB, never);
  const order: string[] = [];
  const take = async (name: string, bytes: number, urgent: boolean): Promise<void> => {
    const buffer = await pool.acquire(bytes, never, urgent);
    order.push(name);
    buffer.release();
  };
  const later = take('later', 16 * KIB, false);
  await take('fits', 4 * KIB, true);
  const others = [
    take('last', 16 * KIB, false),
    take('first', 16 * KIB, true),
    take('second', 8 * KIB, true),
  ];
  held.release();
  await Promise.all([later, ...others]);
  t.same(order, ['fits', 'first', 'second', 'later', 'last']);
});

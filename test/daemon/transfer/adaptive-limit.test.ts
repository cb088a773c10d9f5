// The limit of requests in flight: halved by a wave of refusals, grown by successes, and who waits gets a place in turn.
import { setMaxListeners } from 'node:events';
import fc from 'fast-check';
import t from 'tap';
import { AdaptiveLimit } from '../../../daemon/transfer/adaptive-limit.js';

const never = new AbortController().signal;
setMaxListeners(0, never);

async function fill(limit: AdaptiveLimit, places: number): Promise<void> {
  for (let index = 0; index < places; index += 1) await limit.take(false, never);
}

t.test('a wave of refusals halves it once, the next wave again, and never below one', async (t) => {
  const limit = new AdaptiveLimit(64);
  await fill(limit, 64);
  for (const now of [5000, 5001, 5999]) limit.throttled(now);
  t.equal(limit.limit, 32);
  limit.throttled(6000);
  t.equal(limit.limit, 16);
  for (let now = 7000; now < 20_000; now += 1000) limit.throttled(now);
  t.equal(limit.limit, 1);
});

t.test('what is halved is what was really under way', async (t) => {
  const limit = new AdaptiveLimit(64);
  await fill(limit, 10);
  limit.throttled(5000);
  t.equal(limit.limit, 5);
});

t.test('as many successes as there are places add one, up to the most', async (t) => {
  const limit = new AdaptiveLimit(16);
  await fill(limit, 16);
  limit.throttled(5000);
  t.equal(limit.limit, 8);
  const grownAfter: number[] = [];
  for (let successes = 1, before = 8; limit.limit < 16; successes += 1) {
    limit.succeeded();
    if (limit.limit > before) grownAfter.push(successes);
    before = limit.limit;
    if (successes > 1000) break;
  }
  // 8, then 9, then 10 … successes, and one for the rounding.
  t.equal(grownAfter[0], 9);
  t.equal(grownAfter.length, 8);
  t.ok(
    grownAfter.every(
      (at, index) => index === 0 || Math.abs(at - (grownAfter[index - 1] ?? 0) - 9 - index) <= 1,
    ),
  );
  for (let successes = 0; successes < 100; successes += 1) limit.succeeded();
  t.equal(limit.limit, 16);
});

t.test('a first range goes before later ones, each in the order of asking', async (t) => {
  const limit = new AdaptiveLimit(1);
  await limit.take(false, never);
  const order: string[] = [];
  const line = (['late 1', 'urgent 1', 'late 2', 'urgent 2'] as const).map(async (name) => {
    await limit.take(name.startsWith('urgent'), never);
    order.push(name);
    limit.give();
  });
  limit.give();
  await Promise.all(line);
  t.same(order, ['urgent 1', 'urgent 2', 'late 1', 'late 2']);
  t.equal(limit.inFlight, 0);
});

t.test(
  'every fourth place is for the others, so that a backlog of first ranges starves nobody',
  async (t) => {
    const limit = new AdaptiveLimit(1);
    await limit.take(false, never);
    const order: string[] = [];
    const line = ['u1', 'u2', 'u3', 'u4', 'u5', 'u6', 'u7', 'l1', 'l2', 'l3'].map(async (name) => {
      await limit.take(name.startsWith('u'), never);
      order.push(name);
      limit.give();
    });
    limit.give();
    await Promise.all(line);
    t.same(order, ['u1', 'u2', 'u3', 'l1', 'u4', 'u5', 'u6', 'l2', 'u7', 'l3']);
  },
);

t.test('who gives up leaves the line', async (t) => {
  const limit = new AdaptiveLimit(1);
  await limit.take(false, never);
  const control = new AbortController();
  const leaving = limit.take(true, control.signal);
  const staying = limit.take(false, never);
  control.abort();
  await t.rejects(leaving, { code: 'ECANCELED' });
  limit.give();
  await staying;
  t.equal(limit.inFlight, 1);
  await t.rejects(limit.take(true, AbortSignal.abort()), { code: 'ECANCELED' });
  limit.give();
  t.equal(limit.inFlight, 0);
});

t.test('at least one, whatever was asked for', async (t) => {
  const limit = new AdaptiveLimit(0);
  await limit.take(false, never);
  limit.throttled();
  t.equal(limit.limit, 1);
});

type Step = 'take' | 'urgent' | 'give' | 'succeeded' | 'throttled' | 'abort';
const step = fc.constantFrom<Step>('take', 'take', 'urgent', 'give', 'succeeded', 'throttled', 'abort');

t.test('whatever happens, places stay within the limit, and nobody waits while there is one', async (t) => {
  const checked = fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 12 }),
      fc.array(step, { maxLength: 80 }),
      async (max, steps) => {
        const limit = new AdaptiveLimit(max);
        const waiting: { control: AbortController; urgent: boolean }[] = [];
        let held = 0;
        let now = 0;
        for (const each of steps) {
          const before = limit.inFlight;
          if (each === 'take' || each === 'urgent') {
            const waiter = { control: new AbortController(), urgent: each === 'urgent' };
            const leave = (): void => void waiting.splice(waiting.indexOf(waiter), 1);
            waiting.push(waiter);
            void limit.take(waiter.urgent, waiter.control.signal).then(() => {
              const first = waiting.find(({ urgent }) => urgent === waiter.urgent);
              if (first !== waiter) throw new Error('out of turn');
              leave();
              held += 1;
            }, leave);
          } else if (each === 'give' && held > 0) {
            held -= 1;
            limit.give();
          } else if (each === 'succeeded') limit.succeeded();
          else if (each === 'throttled') limit.throttled((now += 600));
          else if (each === 'abort') waiting[0]?.control.abort();
          await new Promise((resolve) => setImmediate(resolve));
          const bound = Math.max(before, limit.limit);
          if (limit.limit < 1 || limit.limit > max || limit.inFlight !== held || held > bound) return false;
          if (waiting.length > 0 && held < limit.limit) return false;
        }
        for (; held > 0; held -= 1) {
          limit.give();
          await new Promise((resolve) => setImmediate(resolve));
        }
        return waiting.length === 0 && limit.inFlight === 0;
      },
    ),
    { interruptAfterTimeLimit: 3000, numRuns: 200 },
  );
  await t.resolves(checked);
});

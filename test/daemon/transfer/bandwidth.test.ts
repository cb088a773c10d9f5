// The cap on bytes a second, on a clock of the test's own.
import { setMaxListeners } from 'node:events';
import fc from 'fast-check';
import t from 'tap';
import { Bandwidth, type Clock } from '../../../daemon/transfer/bandwidth.js';
import { openBench, pattern, KIB } from './bench.js';

const never = new AbortController().signal;
setMaxListeners(0, never);

/** Time passes when the test says so. */
class TestClock implements Clock {
  ms = 0;
  readonly #timers = new Set<{ readonly at: number; readonly ring: () => void }>();

  now(): number {
    return this.ms;
  }

  wait(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = { at: this.ms + ms, ring: resolve };
      this.#timers.add(timer);
      signal.addEventListener('abort', () => {
        this.#timers.delete(timer);
        reject(new Error('aborted'));
      });
    });
  }

  get timers(): number {
    return this.#timers.size;
  }

  /** Lets everything happen that is due until then. */
  async pass(ms: number): Promise<void> {
    const end = this.ms + ms;
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      const [next] = [...this.#timers].sort((a, b) => a.at - b.at);
      if (!next || next.at > end) break;
      this.#timers.delete(next);
      this.ms = Math.max(this.ms, next.at);
      next.ring();
    }
    this.ms = end;
  }
}

t.test('without a cap nobody waits', async (t) => {
  const clock = new TestClock();
  const bandwidth = new Bandwidth(0, clock);
  for (let index = 0; index < 100; index += 1) await bandwidth.take(1e12, never);
  t.equal(clock.timers, 0);
});

t.test('the first second is free, what goes beyond is waited for afterwards', async (t) => {
  const clock = new TestClock();
  const bandwidth = new Bandwidth(1000, clock);
  await bandwidth.take(900, never);
  await bandwidth.take(3000, never);
  const at: number[] = [];
  const third = bandwidth.take(1, never).then(() => at.push(clock.ms));
  await clock.pass(5000);
  await third;
  t.equal(at[0], 2901, 'when the credit of 2,900 bytes is paid');
  t.equal(clock.timers, 0);
});

t.test('an idle time is not saved up beyond a second', async (t) => {
  const clock = new TestClock();
  const bandwidth = new Bandwidth(1000, clock);
  await clock.pass(3_600_000);
  await bandwidth.take(1000, never);
  const began = clock.ms;
  let went = 0;
  const next = bandwidth.take(1000, never).then(() => (went = clock.ms));
  await clock.pass(10_000);
  await next;
  t.equal(went - began, 1);
});

t.test('the average is kept, whatever the requests are, in the order of asking', async (t) => {
  const requests = fc.array(
    fc.record({ bytes: fc.nat(10_000), pauseMs: fc.constantFrom(0, 0, 0, 100, 5000) }),
    { minLength: 1, maxLength: 40 },
  );
  const checked = fc.assert(
    fc.asyncProperty(requests, fc.integer({ min: 100, max: 5000 }), async (list, rate) => {
      const clock = new TestClock();
      const bandwidth = new Bandwidth(rate, clock);
      const went: { index: number; at: number; bytes: number }[] = [];
      for (const [index, { bytes, pauseMs }] of list.entries()) {
        void bandwidth.take(bytes, never).then(() => went.push({ index, at: clock.ms, bytes }));
        await clock.pass(pauseMs);
      }
      await clock.pass(1e7);
      if (went.length !== list.length || went.some(({ index }, place) => index !== place)) return false;
      // Before each: all that went before is within a second's worth and the time since; and nobody waits for longer.
      let before = 0;
      for (const { at, bytes } of went) {
        if (before > 0 && before >= rate + (at / 1000) * rate) return false;
        before += bytes;
      }
      const total = list.reduce((sum, { bytes }) => sum + bytes, 0);
      const pauses = list.reduce((sum, { pauseMs }) => sum + pauseMs, 0);
      return (went.at(-1)?.at ?? 0) <= pauses + (total / rate) * 1000 + 2 * list.length;
    }),
    { interruptAfterTimeLimit: 3000, numRuns: 100 },
  );
  await t.resolves(checked);
});

t.test('who gives up is told at once, wherever it stands, and the others go on', async (t) => {
  const clock = new TestClock();
  const bandwidth = new Bandwidth(1000, clock);
  await bandwidth.take(11_000, never);
  const controls = [new AbortController(), new AbortController(), new AbortController()];
  const [first, second, third] = controls.map(({ signal }) => bandwidth.take(1, signal));
  controls[1]?.abort();
  await t.rejects(second ?? Promise.resolve(), { code: 'ECANCELED' }, 'not only when its turn comes');
  t.equal(clock.ms, 0);
  controls[0]?.abort();
  await t.rejects(first ?? Promise.resolve(), { code: 'ECANCELED' });
  t.equal(clock.timers, 1, 'there is still one to wake up for');
  const waiting = third?.then(() => clock.ms);
  await clock.pass(20_000);
  t.equal(await waiting, 10_001);
});

t.test('when all have given up, no timer is left', async (t) => {
  const clock = new TestClock();
  const bandwidth = new Bandwidth(1000, clock);
  await bandwidth.take(11_000, never);
  const control = new AbortController();
  const waiting = bandwidth.take(1, control.signal);
  control.abort();
  await t.rejects(waiting, { code: 'ECANCELED' });
  t.equal(clock.timers, 0);
  await t.rejects(bandwidth.take(1, AbortSignal.abort()), { code: 'ECANCELED' });
  const later = bandwidth.take(1, never).then(() => clock.ms);
  await clock.pass(20_000);
  t.equal(await later, 10_001, 'what was taken is still owed');
});

t.test('a range that breaks off is charged for what is left of it only', async (t) => {
  const size = 64 * KIB;
  const at = await openBench(t, { maxDownloadBytesPerSecond: size, maxTries: 10 });
  const content = pattern(size);
  at.server.put('blob', content);
  at.server.inject('Get Blob', { resetAfter: size - 1000 });
  at.server.inject('Get Blob', { resetAfter: 10 }, 6);
  const began = performance.now();
  await at.download({ sizeBytes: size });
  t.ok(at.target().equals(content));
  // Charged as a whole each time, it would take six seconds and more.
  t.ok(performance.now() - began < 4000, `${performance.now() - began} ms`);
});

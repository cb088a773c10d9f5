// Tries again: how often, after how long, and for whom.
import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { RestError } from '@azure/storage-blob';
import t from 'tap';
import {
  ThrottleGate,
  backoffMs,
  retryPolicyOf,
  withRetries,
  type RetryOptions,
} from '../../daemon/azure-retry.js';
import { LhsmError } from '../../native-bindings/errors.js';

const policy = { maxTries: 4, baseDelayMs: 1, maxDelayMs: 4 };
const { signal } = new AbortController();
setMaxListeners(0, signal);
const options: RetryOptions = { policy, op: 'op', subject: 'blob', signal };
const passing = new LhsmError('later', { code: 'UNREACHABLE', op: 'op', errno: 11, retryable: true });
const lasting = new LhsmError('never', { code: 'FORBIDDEN', op: 'op', errno: 13 });

t.test('the pause doubles up to its limit, and is never the same for two', (t) => {
  const wide = { maxTries: 9, baseDelayMs: 100, maxDelayMs: 1000 };
  t.same(
    [1, 2, 3, 4, 5, 60].map((failures) => backoffMs(wide, failures, () => 0)),
    [50, 100, 200, 400, 500, 500],
  );
  t.equal(
    backoffMs(wide, 2, () => 1),
    200,
  );
  t.end();
});

t.test('passing failures are tried again, lasting ones are not', async (t) => {
  let tries = 0;
  const value = await withRetries(options, ({ number }) => {
    tries = number;
    return number < 3 ? Promise.reject(passing) : Promise.resolve('done');
  });
  t.equal(value, 'done');
  t.equal(tries, 3);
  for (const [error, expected] of [
    [passing, 4],
    [lasting, 1],
  ] as const) {
    let seen = 0;
    const running = withRetries(options, () => {
      seen += 1;
      return Promise.reject(error);
    });
    await t.rejects(running, error);
    t.equal(seen, expected);
  }
});

t.test('progress gives a new set of tries', async (t) => {
  let seen = 0;
  const running = withRetries(options, (attempt) => {
    seen += 1;
    if (seen <= 5) attempt.madeProgress();
    return Promise.reject(passing);
  });
  await t.rejects(running, passing);
  t.equal(seen, 5 + 3, 'the last one with progress is the first of four');
});

t.test('one throttle holds back everybody at the gate', async (t) => {
  const gate = new ThrottleGate();
  const began = performance.now();
  gate.close(40);
  gate.close(1);
  await withRetries({ ...options, gate }, () => Promise.resolve());
  t.ok(performance.now() - began >= 39);
  gate.close(60_000);
  const control = new AbortController();
  const waiting = withRetries({ ...options, gate, signal: control.signal }, () => Promise.resolve());
  control.abort();
  await t.rejects(waiting, { code: 'ECANCELED', errno: 125 });
});

const busy = (): RestError => new RestError('busy', { statusCode: 503, code: 'ServerBusy' });

t.test('what passes by itself is bounded by time, anything else by tries', async (t) => {
  const timed = { ...policy, maxTries: 2, maxPassingTries: Infinity, retryForMs: 100 };
  for (const [error, atLeast] of [
    [passing, 4],
    [busy(), 4],
    [new LhsmError('bad', { code: 'BAD_ANSWER', op: 'op', retryable: true }), 2],
  ] as const) {
    let tries = 0;
    const began = performance.now();
    const running = withRetries({ ...options, policy: timed }, () => {
      tries += 1;
      return Promise.reject(error);
    });
    await t.rejects(running);
    if (atLeast === 2) t.equal(tries, 2);
    else {
      t.ok(tries > atLeast, `${tries} tries`);
      t.ok(performance.now() - began >= 100);
    }
  }
});

t.test('the policy of a configuration', (t) => {
  t.match(retryPolicyOf({ maxTries: 8, retryForMs: 5000 }), {
    maxTries: 8,
    maxPassingTries: Infinity,
    retryForMs: 5000,
  });
  t.match(
    retryPolicyOf({ maxTries: 2, retryForMs: 5000 }),
    { maxTries: 2, maxPassingTries: 2 },
    'both bounds',
  );
  t.match(retryPolicyOf({ maxTries: 8 }), { maxTries: 8, maxPassingTries: 8 });
  t.end();
});

t.test('a wave of refusals is one failure, and closes the gate for a short while', async (t) => {
  const gate = new ThrottleGate();
  const tries = Array.from({ length: 16 }, () => 0);
  let refusing = true;
  const began = performance.now();
  const slow = { ...policy, maxTries: 2, baseDelayMs: 60_000, maxDelayMs: 60_000 };
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  const running = tries.map((_, n) =>
    withRetries({ ...options, policy: slow, gate, signal: stop.signal }, async () => {
      tries[n] = (tries[n] ?? 0) + 1;
      const refused = refusing;
      await delay(5);
      if (refused) throw busy();
    }).then(
      () => 'done',
      () => 'failed',
    ),
  );
  await delay(20);
  refusing = false;
  // All but the first of the wave are through; that one alone sits out its own backoff.
  while ((await Promise.race([Promise.all(running.slice(1)), delay(20)])) === undefined) {
    if (performance.now() - began > 5000) break;
  }
  t.equal(tries.filter((count) => count >= 2).length, 15);
  stop.abort();
  t.same((await Promise.all(running)).sort(), [...Array.from({ length: 15 }, () => 'done'), 'failed']);
});

t.test('who is refused for ever fails in the end, though others get through all the time', async (t) => {
  const gate = new ThrottleGate();
  const timed = { ...policy, maxPassingTries: Infinity, retryForMs: 500 };
  const others = setInterval(() => {
    gate.passed();
  }, 1);
  t.teardown(() => {
    clearInterval(others);
  });
  const began = performance.now();
  const running = withRetries({ ...options, policy: timed, gate }, () => Promise.reject(busy()));
  await t.rejects(running, { code: 'THROTTLED' });
  const lasted = performance.now() - began;
  t.ok(lasted >= 2000, `${lasted} ms: while they do, patience is longer`);
});

t.test('near the allowance of a service everybody gets through, and few requests are in vain', async (t) => {
  const perSecond = 400;
  let tokens = 20;
  let filledAtMs = performance.now();
  let served = 0;
  let refused = 0;
  const refill = (): void => {
    const nowMs = performance.now();
    tokens = Math.min(perSecond / 10, tokens + ((nowMs - filledAtMs) * perSecond) / 1000);
    filledAtMs = nowMs;
  };
  const gate = new ThrottleGate();
  const timed = retryPolicyOf({ maxTries: 8, retryForMs: 60_000, retryDelayMs: 20 });
  let left = 800;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await withRetries({ ...options, policy: timed, gate }, async () => {
        await delay(2);
        refill();
        if (tokens < 1) {
          refused += 1;
          throw busy();
        }
        tokens -= 1;
        served += 1;
      });
    }
  };
  await Promise.all(Array.from({ length: 64 }, worker));
  t.equal(served, 800);
  t.ok(refused < served, `${refused} refused`);
});

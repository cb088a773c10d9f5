// Tries again: how often, after how long, and for whom.
import t from 'tap';
import { ThrottleGate, backoffMs, withRetries, type RetryOptions } from '../../daemon/azure-retry.js';
import { LhsmError } from '../../native-bindings/errors.js';

const policy = { maxTries: 4, baseDelayMs: 1, maxDelayMs: 4 };
const options: RetryOptions = { policy, op: 'op', subject: 'blob', signal: new AbortController().signal };
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
  gate.close(40);
  gate.close(1);
  const began = performance.now();
  await withRetries({ ...options, gate }, () => Promise.resolve());
  t.ok(performance.now() - began >= 39);
  gate.close(60_000);
  const control = new AbortController();
  const waiting = withRetries({ ...options, gate, signal: control.signal }, () => Promise.resolve());
  control.abort();
  await t.rejects(waiting, { code: 'ECANCELED', errno: 125 });
});

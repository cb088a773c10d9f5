// The lock: on Azurite between nodes, and with a lease of our own where time has to run.
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import fc from 'fast-check';
import t from 'tap';
import { LhsmError } from '../../../native-bindings/errors.js';
import { holderMetadata, holderOf, type LockHolder } from '../../../daemon/jobs/lock-holder.js';
import { JobLock, type LockContainer, type LockTimes } from '../../../daemon/jobs/lock.js';
import { never, startLogs } from './logs.js';

const FS = 'lustre@1700000000';

function holder(name: string, more: Partial<LockHolder> = {}): LockHolder {
  const started = '2026-11-27T10:00:00.000Z';
  return { kind: 'import', name, host: 'node1', mount: '/mnt/lüstre', pid: 7, started, ...more };
}

function take(
  container: LockContainer,
  name: string,
  leaseId = randomUUID(),
  times: Partial<LockTimes> = {},
) {
  return JobLock.acquire(container, { fileSystem: FS, holder: holder(name), leaseId, times }, never);
}

t.test('of two that race one wins, and the other learns from whom', async (t) => {
  const { open } = await startLogs(t);
  const results = await Promise.allSettled([take(open(), 'one'), take(open(), 'two')]);
  const [won, ...others] = results.filter((each) => each.status === 'fulfilled');
  t.same(others, []);
  const winner = won === results[0] ? 'one' : 'two';
  t.equal(won?.value.previous, undefined);
  await t.rejects(take(open(), 'three'), {
    code: 'JOB_RUNNING',
    errno: 16,
    retryable: true,
    message: new RegExp(`import job ${winner} runs on node1 since 2026-11-27T10:00:00.000Z`),
    hint: new RegExp(`lhsm-azblob jobs cancel ${winner}`),
  });
  const loser = results.find((each) => each.status === 'rejected');
  t.match(loser?.reason, { code: 'JOB_RUNNING' });
  await won?.value.release(never);
  const next = await take(open(), 'three');
  t.equal(next.previous, undefined, 'a lock that was given back names nobody');
  await next.release(never);
});

t.test('who comes back with the same lease id has it again at once; for others it runs out', async (t) => {
  const { open } = await startLogs(t);
  const leaseId = randomUUID();
  // Killed: it renews no more.
  const times = { leaseSeconds: 15, renewMs: 3_600_000, marginMs: 0 };
  await take(open(), 'killed', leaseId, times);
  const again = await take(open(), 'killed', leaseId, times);
  t.same(again.previous, holder('killed'), 'its own job, to be taken up');
  const other = open();
  await t.rejects(take(other, 'next'), { code: 'JOB_RUNNING', message: /killed/ });
  await once(again.lost, 'abort');
  t.match(again.lost.reason, { code: 'JOB_LOCK_LOST' });
  let next: JobLock | undefined;
  while (!next) next = await take(other, 'next').catch(() => undefined);
  t.same(next.previous, holder('killed'), 'whose job is to be marked');
  await again.release(never);
  await t.rejects(
    take(open(), 'third'),
    { code: 'JOB_RUNNING', message: /next/ },
    'the loser gave nothing back',
  );
  await next.release(never);
});

/** A lease that does what the test says. */
class FakeLease implements LockContainer {
  renewals = 0;
  released = 0;
  onRenew: (signal: AbortSignal) => Promise<void> = () => Promise.resolve();
  look = () => Promise.resolve(undefined);
  write = () => Promise.resolve('"1"');
  acquireLease = () => Promise.resolve();
  renewLease = (_name: string, _id: string, signal: AbortSignal): Promise<void> => {
    this.renewals += 1;
    return this.onRenew(signal);
  };
  releaseLease = (): Promise<void> => {
    this.released += 1;
    return Promise.resolve();
  };
}

const quick = { leaseSeconds: 0.25, renewMs: 20, retryMs: 5, attemptMs: 20, marginMs: 50 };
const unreachable = new LhsmError('no answer', { code: 'UNREACHABLE', op: 'Renew Lease', retryable: true });

/** Keeps the process alive: the lock's own timers do not. */
async function lostWithin(lock: JobLock, ms = 10_000): Promise<number> {
  const startedAt = performance.now();
  const alive = setTimeout(() => undefined, ms);
  if (!lock.lost.aborted) await once(lock.lost, 'abort');
  clearTimeout(alive);
  return performance.now() - startedAt;
}

t.test('a lock is renewed until it is released', async (t) => {
  const lease = new FakeLease();
  const lock = await take(lease, 'job', undefined, quick);
  const failing = new Promise<void>((resolve) => {
    lease.onRenew = () => {
      if (lease.renewals === 4) return Promise.reject(unreachable);
      if (lease.renewals > 20) resolve();
      return Promise.resolve();
    };
  });
  const alive = setInterval(() => undefined, 1000);
  await failing;
  clearInterval(alive);
  t.equal(lock.lost.aborted, false, 'beyond the first lease, one renewal that failed included');
  await lock.release(never);
  t.equal(lease.released, 1);
  t.equal(lock.lost.aborted, false);
});

t.test('a lock that cannot be renewed in time is given up before the lease ends', async (t) => {
  for (const fail of [
    () => Promise.reject(unreachable),
    // Not even the end of its signal ends it.
    () => new Promise<void>(() => undefined),
  ]) {
    const lease = new FakeLease();
    const lock = await take(lease, 'job', undefined, quick);
    lease.onRenew = fail;
    t.ok((await lostWithin(lock)) < 250);
    t.match(lock.lost.reason, { code: 'JOB_LOCK_LOST', message: /could not be renewed in time/ });
    await lock.release(never);
    t.equal(lease.released, 0, 'it is not ours to release');
  }
});

t.test('a lock that the service gives to somebody else is lost at once', async (t) => {
  for (const code of ['LEASE_LOST', 'BLOB_LEASED', 'BLOB_MISSING']) {
    const lease = new FakeLease();
    const lock = await take(lease, 'job', undefined, { ...quick, leaseSeconds: 3600 });
    lease.onRenew = () => Promise.reject(new LhsmError('lost', { code, op: 'Renew Lease' }));
    await lostWithin(lock);
    t.match(lock.lost.reason, { code: 'JOB_LOCK_LOST', message: /taken it over/, cause: { code } });
  }
});

t.test('a lock that fails half way gives the lease back', async (t) => {
  const lease = new FakeLease();
  lease.write = () => Promise.reject(unreachable);
  await t.rejects(take(lease, 'job'), { code: 'UNREACHABLE' });
  t.equal(lease.released, 1);
  lease.write = () => Promise.reject(new LhsmError('lost', { code: 'LEASE_LOST', op: 'Put Blob' }));
  await t.rejects(take(lease, 'job'), { code: 'JOB_LOCK_LOST' });
});

t.test('any holder goes through the metadata of a blob', (t) => {
  const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(text, text, text, fc.nat(), (name, host, mount, pid) => {
      const whole = holder(name, { host, mount, pid });
      const metadata = holderMetadata(whole);
      t.same(holderOf(metadata), whole);
      t.ok(Object.values(metadata).every((value) => /^[!-~]+$/.test(value)));
    }),
    { numRuns: 50 },
  );
  const long = holderMetadata(holder('job', { mount: `/${'ü'.repeat(4000)}`, host: 'node\ud800' }));
  t.ok(JSON.stringify(long).length < 8000);
  t.equal(holderOf(long)?.host, 'node\ufffd');
  t.equal(holderOf({}), undefined);
  t.equal(holderOf({ ...long, host: '%' }), undefined);
  t.equal(holderOf({ ...long, kind: 'dance' }), undefined);
  t.end();
});

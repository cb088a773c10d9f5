// The checks of the doctor, one by one, with what they look at made up.
import t from 'tap';
import { skewFindings } from '../../../daemon/doctor/clock-skew.js';
import { lockFindings } from '../../../daemon/doctor/lock-check.js';
import {
  diskFindings,
  eventLoopFindings,
  nameFindings,
  queueFindings,
  type DiskState,
} from '../../../daemon/doctor/node-checks.js';
import { RecentTroubles } from '../../../daemon/doctor/recent-troubles.js';
import { runChecks } from '../../../daemon/doctor/run-checks.js';
import { AgentEmitter, type FinishedEvent } from '../../../daemon/events.js';
import { Scheduler } from '../../../daemon/hsm/scheduler.js';
import type { JobDocument } from '../../../daemon/jobs/job.js';
import { holderMetadata } from '../../../daemon/jobs/lock-holder.js';
import { LhsmError } from '../../../native-bindings/errors.js';

const { signal } = new AbortController();

t.test('every check is bounded, and what goes wrong in one is a finding', async (t) => {
  const findings = await runChecks(
    [
      { name: 'hangs', run: () => new Promise(() => undefined) },
      {
        name: 'stops when told',
        run: (stop) =>
          new Promise((_resolve, reject) => {
            stop.addEventListener('abort', () => {
              reject(new Error('aborted'));
            });
          }),
      },
      {
        name: 'fails',
        run: () => Promise.reject(new LhsmError('no way', { code: 'FORBIDDEN', op: 'x', hint: 'Mend.' })),
      },
      { name: 'breaks', run: () => Promise.reject(new TypeError('bug')) },
      {
        name: 'is well',
        run: () => Promise.resolve([{ severity: 'note', code: 'N', what: 'n', hint: 'h' }]),
      },
    ],
    signal,
    50,
  );
  t.match(findings, [
    { code: 'CHECK_TIMEOUT', what: 'hangs: no answer within 0.05 s' },
    { code: 'CHECK_TIMEOUT', what: /^stops when told/ },
    { code: 'FORBIDDEN', what: 'no way', hint: 'Mend.' },
    { code: 'INTERNAL', what: 'bug' },
    { severity: 'note' },
  ]);
});

t.test('clocks', (t) => {
  t.same(skewFindings('c', undefined), []);
  t.same(skewFindings('c', 59_000), []);
  t.match(skewFindings('c', -61_000), [{ severity: 'warning', what: /61 s behind that of container c/ }]);
  t.match(skewFindings('c', 3_600_000), [{ severity: 'error', what: /60 min 0 s ahead of/ }]);
  t.end();
});

t.test('the disk of the journal', async (t) => {
  const stat = (bavail: number, ffree = 9): (() => Promise<DiskState>) => {
    const found = { bavail, blocks: 1_000_000, bsize: 4096, ffree, files: 10 };
    return () => Promise.resolve(found);
  };
  t.same(await diskFindings('/x', stat(500_000)), []);
  t.match(await diskFindings('/x', stat(19_000)), [{ severity: 'warning', code: 'STATE_DIR_FULL' }]);
  t.match(await diskFindings('/x', stat(100)), [{ severity: 'error', what: /has 0 MiB left/ }]);
  t.match(await diskFindings('/x', stat(500_000, 0)), [{ severity: 'error', what: /no inodes/ }]);
  await t.rejects(diskFindings('/nowhere/at/all'), { code: 'ENOENT' });
});

t.test('the event loop, and containers of one name', (t) => {
  t.same(eventLoopFindings({ meanMs: 3, p99Ms: 80, maxMs: 1500 }), []);
  t.match(eventLoopFindings({ meanMs: 200, p99Ms: 900, maxMs: 1500 }), [
    { code: 'EVENT_LOOP_LATE', what: /200, 900, 1500 ms/ },
  ]);
  const a = { archiveId: 1, container: 'c', url: 'https://a/c' };
  t.same(nameFindings([a, { ...a, archiveId: 2 }]), [], 'the same one with two prefixes is fine');
  t.match(nameFindings([a, { archiveId: 2, container: 'c', url: 'https://b/c' }]), [
    { code: 'CONTAINER_NAMES_ALIKE', what: /archives 1 and 2 are containers called c/ },
  ]);
  t.end();
});

t.test('what waits in this daemon', (t) => {
  const scheduler = new Scheduler({ maxActions: 2, restoreReserved: 1 });
  const minutes = (count: number): number => count * 60_000;
  const submit = (key: string, lane: 'archive' | 'restore', receivedAtMs: number): void => {
    const run = (): Promise<void> => new Promise(() => undefined);
    scheduler.submit({ key, fid: key, lane, blocking: lane === 'restore', receivedAtMs, run });
  };
  const found = (nowMs: number) => queueFindings(scheduler.lanes(), nowMs);
  t.same(found(minutes(60)), [], 'nothing waits');
  submit('runs', 'archive', 0);
  t.same(found(minutes(60)), [], 'what runs does not wait');
  submit('oldest', 'archive', minutes(1));
  submit('older', 'archive', minutes(2));
  submit('on its way', 'restore', minutes(1));
  submit('young', 'restore', minutes(5));
  t.same(found(minutes(11) - 1), []);
  t.match(found(minutes(11)), [
    {
      severity: 'warning',
      code: 'QUEUE_OLD',
      what: '2 archive actions wait in this daemon, the oldest for 10 min; 1 run',
      hint: /scheduler.max_actions/,
    },
  ]);
  t.match(found(minutes(185)), [
    { what: /1 restore actions wait .* for 3 h; 1 run/ },
    { what: /2 archive .* for 3 h/ },
  ]);
  scheduler.withdraw('oldest');
  t.same(found(minutes(12) - 1), [], 'the next one has not waited for so long');
  t.end();
});

t.test('throttles count for five minutes', (t) => {
  const events = new AgentEmitter();
  let nowMs = 0;
  const troubles = new RecentTroubles(events, () => nowMs);
  const finished = { throttles: 15 } as FinishedEvent;
  events.emit('finished', finished);
  events.emit('containerRequest', { what: 'retry' });
  t.same(troubles.findings(), []);
  nowMs = 120_000;
  events.emit('finished', finished);
  events.emit('containerRequest', { what: 'throttle' });
  troubles.limited('acct', 'upload', 7);
  t.match(troubles.findings(), [
    {
      code: 'THROTTLING',
      what: /patience 31 times in 5 minutes; acct \(upload\) down to 7 requests at once/,
    },
  ]);
  nowMs = 310_000;
  t.equal(troubles.throttles, 16);
  nowMs = 3_600_000;
  t.equal(troubles.throttles, 0);
  t.end();
});

t.test('who holds the lock', async (t) => {
  const now = Date.parse('2026-11-27T22:00:00Z');
  const holder = {
    kind: 'export',
    name: 'day',
    host: 'node9',
    mount: '/mnt/x',
    pid: 7,
    started: '2026-11-27T20:00:00.000Z',
  } as const;
  const ask = (
    isLeased: boolean,
    status: Partial<JobDocument> | undefined,
    metadata = holderMetadata(holder),
  ) =>
    lockFindings(
      {
        mount: '/mnt/x',
        now: () => now,
        store: { fileSystem: 'fs', status: () => Promise.resolve(status as JobDocument | undefined) },
        container: {
          look: () =>
            Promise.resolve({
              metadata,
              isLeased,
              appends: undefined,
              sizeBytes: 0,
              etag: '"1"',
              blobType: 'BlockBlob',
              accessTier: undefined,
              lastModified: undefined,
            }),
        },
      },
      signal,
    );
  const fresh = { state: 'InProgress', updatedTime: '2026-11-27T21:59:50.000Z' } as const;
  const old = { state: 'InProgress', updatedTime: '2026-11-27T21:30:00.000Z' } as const;
  t.same(await ask(true, fresh), []);
  t.same(await ask(false, fresh, {}), [], 'given back');
  t.same(await ask(false, { ...old, state: 'Completed' }), [], 'over, the name has stayed');
  t.match(await ask(true, old), [{ code: 'LOCK_HELD', what: /nothing for 30 min/ }]);
  t.match(await ask(false, old), [{ code: 'JOB_ORPHANED', hint: /jobs cancel day/ }]);
  t.match(await ask(true, undefined), [{ code: 'LOCK_HELD', what: /nothing for 2 h/ }]);
});

// The scheduler: lanes, reserved slots, one action of a file at a time.
import fc from 'fast-check';
import t from 'tap';
import type { Lane } from '../../../daemon/events.js';
import { Scheduler, type Task } from '../../../daemon/hsm/scheduler.js';

interface Controlled extends Task {
  started: boolean;
  finish(): Promise<void>;
}

let order: string[] = [];

function task(key: string, lane: Lane, options: { fid?: string; blocking?: boolean } = {}): Controlled {
  let resolve: (() => void) | undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  const made: Controlled = {
    key,
    fid: options.fid ?? key,
    lane,
    blocking: options.blocking ?? false,
    receivedAtMs: 0,
    started: false,
    run: async () => {
      made.started = true;
      order.push(key);
      await promise;
    },
    finish: async () => {
      resolve?.();
      // The scheduler hears of it in a later microtask.
      await new Promise((done) => setImmediate(done));
    },
  };
  return made;
}

t.beforeEach(() => {
  order = [];
});

t.test('restores go first, then removes, then archives', async (t) => {
  const scheduler = new Scheduler({ maxActions: 1, restoreReserved: 0 });
  const first = task('first', 'archive');
  const later = [
    task('a', 'archive'),
    task('rm', 'remove'),
    task('batch', 'restore'),
    task('reader', 'restore', { blocking: true }),
  ];
  scheduler.submit(first);
  for (const each of later) scheduler.submit(each);
  await first.finish();
  for (const key of ['reader', 'batch', 'rm', 'a']) await later.find((each) => each.key === key)?.finish();
  t.same(order, ['first', 'reader', 'batch', 'rm', 'a']);
});

t.test('what nobody waits for can be kept few, and readers do not mind', async (t) => {
  const scheduler = new Scheduler({ maxActions: 10, restoreReserved: 4 });
  scheduler.setMaxUnawaited(2);
  const batch = Array.from({ length: 5 }, (_, i) => task(`batch${i}`, i % 2 === 0 ? 'restore' : 'archive'));
  for (const each of batch) scheduler.submit(each);
  t.equal(batch.filter(({ started }) => started).length, 2);
  const readers = Array.from({ length: 4 }, (_, i) => task(`reader${i}`, 'restore', { blocking: true }));
  for (const each of readers) scheduler.submit(each);
  t.ok(readers.every(({ started }) => started));
  for (const each of readers) await each.finish();
  t.equal(batch.filter(({ started }) => started).length, 2, 'their room is not for the batch');
  await batch.find(({ started }) => started)?.finish();
  t.equal(batch.filter(({ started }) => started).length, 3);
  scheduler.setMaxUnawaited(10);
  t.ok(
    batch.every(({ started }) => started),
    'more room is used at once',
  );
  for (const each of batch) await each.finish();
  await scheduler.idle();
});

t.test('archives and removes can never fill the slots that are reserved for restores', (t) => {
  const scheduler = new Scheduler({ maxActions: 4, restoreReserved: 2 });
  const others = ['a1', 'a2', 'a3'].map((key) => task(key, 'archive'));
  for (const each of [...others, task('rm', 'remove')]) scheduler.submit(each);
  t.same(order, ['a1', 'a2']);
  scheduler.submit(task('r1', 'restore', { blocking: true }));
  scheduler.submit(task('r2', 'restore', { blocking: true }));
  t.same(order, ['a1', 'a2', 'r1', 'r2']);
  t.match(scheduler.lanes(), [
    { lane: 'restore', queued: 0, running: 2 },
    { lane: 'remove', queued: 1, running: 0 },
    { lane: 'archive', queued: 1, running: 2 },
  ]);
  t.end();
});

t.test('a batch of restores leaves a slot for a blocked reader', (t) => {
  const scheduler = new Scheduler({ maxActions: 4, restoreReserved: 2 });
  for (let n = 0; n < 10; n += 1) scheduler.submit(task(`batch${n}`, 'restore'));
  t.equal(order.length, 3);
  scheduler.submit(task('reader', 'restore', { blocking: true }));
  t.equal(order.at(-1), 'reader');
  t.end();
});

t.test('two actions for one FID run one after the other, in order', async (t) => {
  const scheduler = new Scheduler({ maxActions: 10, restoreReserved: 0 });
  const first = task('1', 'archive', { fid: 'F' });
  const second = task('2', 'restore', { fid: 'F', blocking: true });
  const third = task('3', 'remove', { fid: 'F' });
  for (const each of [first, second, third]) scheduler.submit(each);
  t.same(order, ['1']);
  await first.finish();
  t.same(order, ['1', '2']);
  await second.finish();
  await third.finish();
  t.same(order, ['1', '2', '3']);
});

t.test('a queued action that a blocked reader waits behind takes its urgency', async (t) => {
  const scheduler = new Scheduler({ maxActions: 1, restoreReserved: 0 });
  const running = task('running', 'archive');
  scheduler.submit(running);
  scheduler.submit(task('other', 'restore'));
  scheduler.submit(task('archive F', 'archive', { fid: 'F' }));
  scheduler.submit(task('restore F', 'restore', { fid: 'F', blocking: true }));
  await running.finish();
  t.equal(order[1], 'archive F');
});

t.test('a withdrawn action never runs, and its file goes on', async (t) => {
  const scheduler = new Scheduler({ maxActions: 1, restoreReserved: 0 });
  const running = task('running', 'archive');
  const queued = task('queued', 'archive', { fid: 'F' });
  const behind = task('behind', 'archive', { fid: 'F' });
  for (const each of [running, queued, behind]) scheduler.submit(each);
  t.equal(scheduler.find('queued')?.state, 'queued');
  t.ok(scheduler.withdraw('queued'));
  t.notOk(scheduler.withdraw('queued'));
  t.notOk(scheduler.withdraw('running'));
  await running.finish();
  await behind.finish();
  await scheduler.idle();
  t.same(order, ['running', 'behind']);
});

t.test('paused, nothing starts; resumed, it goes on', async (t) => {
  const scheduler = new Scheduler({ maxActions: 2, restoreReserved: 0 });
  const running = task('running', 'archive');
  scheduler.submit(running);
  const quiet = scheduler.pause();
  scheduler.submit(task('next', 'archive'));
  t.same(order, ['running']);
  await running.finish();
  await quiet;
  t.same(order, ['running']);
  scheduler.resume();
  t.same(order, ['running', 'next']);
});

t.test('whatever is submitted and withdrawn: bounds hold, files stay serial, nothing is lost', async (t) => {
  const event = fc.record({
    what: fc.constantFrom('submit', 'submit', 'submit', 'withdraw', 'finish'),
    fid: fc.integer({ min: 0, max: 5 }),
    lane: fc.constantFrom<Lane>('restore', 'remove', 'archive'),
    blocking: fc.boolean(),
    pick: fc.nat(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 50 }), async (events) => {
      const scheduler = new Scheduler({ maxActions: 3, restoreReserved: 1 });
      const open = new Map<string, Controlled>();
      const urgent = new Set<string>();
      let serial = 0;
      const check = (): void => {
        const running = [...open.values()].filter((each) => each.started);
        if (running.length > 3) throw new Error('more than maxActions run');
        // A head that a restore waits (or waited) behind may use the reserve.
        const others = running.filter((each) => each.lane !== 'restore' && !urgent.has(each.fid));
        if (others.length > 2) throw new Error('the reserve is used');
        if (new Set(running.map((each) => each.fid)).size !== running.length)
          throw new Error('a file runs twice');
      };
      for (const { what, fid, lane, blocking, pick } of events) {
        const some = [...open.values()][pick % Math.max(1, open.size)];
        if (what === 'submit') {
          const made = task(`${serial++}`, lane, { fid: `${fid}`, blocking });
          open.set(made.key, made);
          if (lane === 'restore') urgent.add(made.fid);
          scheduler.submit(made);
        } else if (some && what === 'withdraw') {
          if (scheduler.withdraw(some.key) !== !some.started)
            throw new Error('withdraw is wrong about what runs');
          if (!some.started) open.delete(some.key);
        } else if (some?.started) {
          open.delete(some.key);
          await some.finish();
        }
        check();
      }
      while (open.size > 0) {
        const running = [...open.values()].filter((each) => each.started);
        if (running.length === 0) throw new Error('queued actions are stuck');
        for (const each of running) {
          open.delete(each.key);
          await each.finish();
        }
        check();
      }
      await scheduler.idle();
    }),
    { numRuns: 200 },
  );
  t.pass('200 histories');
});

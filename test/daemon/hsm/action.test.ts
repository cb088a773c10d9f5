// The life of an action, from the received list to its one end.
import t from 'tap';
import { CopytoolAction, ProgressFlag, RequestFlag } from '../../../native-bindings/constants.js';
import { LhsmError } from '../../../native-bindings/errors.js';
import { itemKey } from '../../../daemon/hsm/journal.js';
import { STOP_REASONS } from '../../../daemon/hsm/action.js';
import { failure, makeItem, makeList } from './fake-coordinator.js';
import { rig, rule } from './rig.js';

const { ARCHIVE, RESTORE, REMOVE, CANCEL } = CopytoolAction;
const EIO = 5;
const EINVAL = 22;
const EOPNOTSUPP = 95;
const ECANCELED = 125;

rule(
  'success: begun, moved, ended once with 0, journal clean',
  async (t, { receiver, copytool, journal, job, finished }) => {
    const item = makeItem(ARCHIVE);
    receiver.accept(makeList([item]));
    t.equal(journal.items, 1, 'journaled before it begins');
    (await job(0)).done();
    await receiver.settled();
    t.same(copytool.ended, [{ cookie: item.cookie, errno: 0, flags: 0, isError: false }]);
    t.match(finished, [{ kind: 'archive', result: 'succeeded', errno: 0, blocking: false }]);
  },
);

const failures = [
  { name: 'an LhsmError tells its errno', error: failure('ENOENT'), errno: 2, flags: 0, result: 'failed' },
  {
    name: 'an exception from our own mistakes is EIO',
    error: new TypeError('oops'),
    errno: EIO,
    flags: 0,
    result: 'failed',
  },
  { name: 'ENOSYS is never reported', error: failure('ENOSYS'), errno: EIO, flags: 0, result: 'failed' },
  {
    name: 'an errno above 126 is never reported',
    error: new LhsmError('x', { code: 'X', op: 'x', errno: 512 }),
    errno: EIO,
    flags: 0,
    result: 'failed',
  },
  {
    name: 'an error worth retrying carries HP_FLAG_RETRY',
    error: new LhsmError('busy', { code: 'EAGAIN', op: 'x', retryable: true }),
    errno: 11,
    flags: ProgressFlag.RETRY,
    result: 'retry',
  },
];
for (const { name, error, errno, flags, result } of failures) {
  rule(`failure: ${name}`, async (t, { receiver, copytool, job, finished, errors }) => {
    receiver.accept(makeList([makeItem(RESTORE)]));
    (await job(0)).done(error);
    await receiver.settled();
    t.match(copytool.ended, [{ errno, flags, isError: false }]);
    t.match(finished, [{ result, errno }]);
    t.same(errors, [error]);
  });
}

rule('a failure before there is a handle: begin(is_error), then end', async (t, { receiver, copytool }) => {
  copytool.fail.begin.push(failure('EACCES'));
  receiver.accept(makeList([makeItem(RESTORE)]));
  await receiver.settled();
  t.match(copytool.ended, [{ errno: 13, isError: true }]);
});

rule(
  'ENOENT from begin and end (another tool on the mount had the item) is harmless',
  async (t, { receiver, copytool, errors, finished }) => {
    copytool.fail.begin.push(failure('ENOENT'));
    copytool.fail.end.push(failure('ENOENT'));
    receiver.accept(makeList([makeItem(ARCHIVE)]));
    await receiver.settled();
    t.same(copytool.ended, []);
    t.match(finished, [{ code: 'FORGOTTEN' }]);
    t.same(errors, []);
  },
);

rule(
  'an unknown action and an unknown archive id are each ended with a clear error',
  async (t, { receiver, copytool, finished }) => {
    receiver.accept(makeList([makeItem(99)]));
    receiver.accept(makeList([makeItem(ARCHIVE)], { archiveId: 300 }));
    await receiver.settled();
    t.match(copytool.ended, [
      { errno: EOPNOTSUPP, isError: true },
      { errno: EINVAL, isError: true },
    ]);
    t.match(finished, [{ code: 'UNKNOWN_ACTION' }, { code: 'UNKNOWN_ARCHIVE' }]);
  },
);

rule(
  'a malformed buffer loses none of its good items, and is counted',
  async (t, { receiver, copytool, job, events }) => {
    const malformed: string[] = [];
    events.on('malformed', (event) => malformed.push(event.reason));
    receiver.accept(makeList([makeItem(ARCHIVE)], { malformed: 'item 1 is short' }));
    (await job(0)).done();
    await receiver.settled();
    t.match(copytool.ended, [{ errno: 0 }]);
    t.same(malformed, ['item 1 is short']);
  },
);

rule(
  'cancel of a queued action: it never begins and ends with ECANCELED',
  async (t, { receiver, copytool, job }) => {
    const [first, second] = [makeItem(ARCHIVE), makeItem(ARCHIVE)];
    receiver.accept(makeList([first, second]));
    const running = await job(0);
    receiver.accept(makeList([{ ...second, action: CANCEL }]));
    running.done();
    await receiver.settled();
    t.same(
      copytool.ended
        .map(({ cookie, errno, isError }) => ({ cookie, errno, isError }))
        .sort((a, b) => Number(a.cookie - b.cookie)),
      [
        { cookie: first.cookie, errno: 0, isError: false },
        { cookie: second.cookie, errno: ECANCELED, isError: true },
      ],
    );
    t.same(copytool.begun, [first.cookie]);
  },
  { maxActions: 1 },
);

rule(
  'cancel of a running action: its I/O is aborted, then it ends with ECANCELED',
  async (t, { receiver, copytool, job, finished }) => {
    const item = makeItem(RESTORE);
    receiver.accept(makeList([item]));
    const running = await job(0);
    receiver.accept(makeList([{ ...item, action: CANCEL }]));
    await receiver.settled();
    t.ok(running.signal.aborted);
    t.match(copytool.ended, [{ errno: ECANCELED, isError: false }]);
    t.match(finished, [{ result: 'canceled' }]);
  },
);

rule(
  'an action and its CANCEL in one list: begin says ECANCELED, and so does the end',
  async (t, { receiver, copytool }) => {
    const item = makeItem(ARCHIVE);
    copytool.fail.begin.push(failure('ECANCELED'));
    receiver.accept(makeList([item, { ...item, action: CANCEL }]));
    await receiver.settled();
    t.match(copytool.ended, [{ cookie: item.cookie, errno: ECANCELED, isError: true }]);
  },
);

rule(
  'a CANCEL of an unknown cookie (left by a dead process) is answered, which clears it',
  async (t, { receiver, copytool }) => {
    const item = makeItem(CANCEL);
    receiver.accept(makeList([item]));
    await receiver.settled();
    t.same(copytool.ended, [{ cookie: item.cookie, errno: ECANCELED, flags: 0, isError: true }]);
    t.same(copytool.begun, []);
  },
);

rule('the same item again while it is in hand is not done twice', async (t, { receiver, copytool, job }) => {
  const item = makeItem(ARCHIVE);
  receiver.accept(makeList([item]));
  receiver.accept(makeList([item]));
  (await job(0)).done();
  await receiver.settled();
  t.equal(copytool.ended.length, 1);
});

rule(
  'progress sends what moved since the last one; a beat without movement is a sign of life',
  async (t, { receiver, copytool, job }) => {
    receiver.accept(makeList([makeItem(ARCHIVE)]));
    const { job: given, done } = await job(0);
    const [action] = receiver.actions();
    given.counters.bytes = 100;
    await action?.beat(performance.now() + 1);
    given.counters.bytes = 150;
    await action?.beat(performance.now() + 2);
    await action?.beat(performance.now() + 3);
    done();
    await receiver.settled();
    t.same(
      copytool.progress.map(({ extent }) => extent),
      [
        { offset: 0n, length: 100n },
        { offset: 100n, length: 50n },
        { offset: 150n, length: 0n },
      ],
    );
  },
);

rule(
  'the first progress of a restore is held back, and noted in the journal before it is sent',
  async (t, { receiver, copytool, journal, job }) => {
    receiver.accept(makeList([makeItem(RESTORE)]));
    const { done } = await job(0);
    const [action] = receiver.actions();
    const begunMs = performance.now();
    await action?.beat(begunMs + 900);
    t.same(copytool.progress, []);
    const sizeBefore = journal.sizeBytes;
    await action?.beat(begunMs + 1100);
    t.equal(copytool.progress.length, 1);
    t.ok(journal.sizeBytes > sizeBefore, 'noted');
    done();
    await receiver.settled();
  },
  {
    timings: { heartbeatMs: 10, restoreFirstProgressMs: 1000 },
  },
);

rule('progress saying ECANCELED stops the action', async (t, { receiver, copytool, job }) => {
  receiver.accept(makeList([makeItem(ARCHIVE)]));
  await job(0);
  copytool.fail.progress.push(failure('ECANCELED'));
  const [action] = receiver.actions();
  await action?.beat(performance.now() + 1);
  await receiver.settled();
  t.match(copytool.ended, [{ errno: ECANCELED }]);
});

rule(
  'progress saying ENOENT (forgotten after an MDT restart) stops and discards',
  async (t, { receiver, copytool, job, finished }) => {
    receiver.accept(makeList([makeItem(ARCHIVE)]));
    await job(0);
    copytool.fail.progress.push(failure('ENOENT'));
    copytool.fail.end.push(failure('ENOENT'));
    const [action] = receiver.actions();
    await action?.beat(performance.now() + 1);
    await receiver.settled();
    t.match(finished, [{ code: 'FORGOTTEN', result: 'failed' }]);
  },
);

rule(
  'an end that fails is followed by one that clears the request',
  async (t, { receiver, copytool, job, finished }) => {
    copytool.fail.end.push(failure('EINVAL'));
    receiver.accept(makeList([makeItem(RESTORE)]));
    (await job(0)).done();
    await receiver.settled();
    t.match(copytool.ended, [{ errno: EINVAL, isError: true }]);
    t.match(finished, [{ result: 'failed', code: 'EINVAL' }]);
  },
);

rule(
  'EBUSY from the end (the file was written meanwhile) is final: nothing is ended twice',
  async (t, { receiver, copytool, job, finished }) => {
    copytool.fail.end.push(failure('EBUSY'));
    receiver.accept(makeList([makeItem(ARCHIVE)]));
    (await job(0)).done();
    await receiver.settled();
    t.same(copytool.ended, []);
    t.match(finished, [{ result: 'failed', errno: 16 }]);
  },
);

rule(
  'what a dead process left is redone, but a restore that had sent progress is cleared',
  async (t, { receiver, copytool, journal, job, recovered }) => {
    const items = [makeItem(ARCHIVE), makeItem(RESTORE), makeItem(RESTORE), makeItem(REMOVE)];
    const entries = items.map((item, n) => ({
      key: itemKey(item),
      archiveId: 1,
      flags: RequestFlag.BLOCKING,
      raw: item.raw,
      progressed: n === 2,
    }));
    journal.received(entries);
    receiver.recover(entries, (raw) => items.find((item) => item.raw.equals(raw)) ?? makeItem(0));
    for (let n = 0; n < 3; n += 1) (await job(n)).done();
    await receiver.settled();
    const ends = new Map(copytool.ended.map((each) => [each.cookie, each]));
    t.match(
      items.map((item) => ends.get(item.cookie)),
      [
        { errno: 0, isError: false },
        { errno: 0, isError: false },
        { errno: EIO, isError: true },
        { errno: 0, isError: false },
      ],
    );
    t.same(recovered.map(({ outcome }) => outcome).sort(), ['cleared', 'redone', 'redone', 'redone']);
  },
);

rule(
  'shutdown: what runs is stopped and what is queued is ended, all with RETRY; late comers too',
  async (t, { receiver, copytool, job }) => {
    receiver.accept(makeList([makeItem(ARCHIVE), makeItem(ARCHIVE), makeItem(RESTORE)]));
    await job(0);
    receiver.intake('hold');
    receiver.accept(makeList([makeItem(RESTORE)]));
    await receiver.stopAll(STOP_REASONS.shutdown());
    t.equal(copytool.ended.length, 4);
    for (const each of copytool.ended) t.match(each, { errno: 11, flags: ProgressFlag.RETRY });
  },
  { maxActions: 1 },
);

rule(
  'registering anew: what runs may finish, the queue stays and goes on',
  async (t, { receiver, scheduler, copytool, job }) => {
    receiver.accept(makeList([makeItem(ARCHIVE), makeItem(ARCHIVE)]));
    const first = await job(0);
    const quiet = receiver.quiesce(60_000, STOP_REASONS.reregister());
    first.done();
    await quiet;
    t.equal(copytool.ended.length, 1);
    scheduler.resume();
    (await job(1)).done();
    await receiver.settled();
    t.match(copytool.ended, [{ errno: 0 }, { errno: 0 }]);
  },
  { maxActions: 1 },
);

rule(
  'registering anew: what does not finish in time is ended with RETRY',
  async (t, { receiver, scheduler, copytool, job }) => {
    receiver.accept(makeList([makeItem(ARCHIVE)]));
    await job(0);
    await receiver.quiesce(0, STOP_REASONS.reregister());
    t.match(copytool.ended, [{ flags: ProgressFlag.RETRY }]);
    scheduler.resume();
  },
);

rule(
  'a remove asks the MDT whether it is still wanted: the begin of a remove asks nothing',
  async (t, { receiver, copytool, job }) => {
    receiver.accept(makeList([makeItem(REMOVE)]));
    (await job(0)).done();
    await receiver.settled();
    t.match(copytool.progress, [{ extent: { offset: 0n, length: 0n } }]);
    t.match(copytool.ended, [{ errno: 0 }]);
  },
);

for (const [what, code, result] of [
  ['timed out or was done', 'ENOENT', 'failed'],
  ['was cancelled', 'ECANCELED', 'canceled'],
] as const) {
  rule(
    `a remove that ${what} meanwhile deletes nothing`,
    async (t, { receiver, copytool, finished, jobs }) => {
      copytool.fail.progress.push(failure(code));
      copytool.fail.end.push(failure('ENOENT'));
      receiver.accept(makeList([makeItem(REMOVE)]));
      await receiver.settled();
      t.equal(jobs.length, 0, 'no mover was asked');
      t.match(finished, [{ result }]);
    },
  );
}

rule(
  'an item that comes again while its end is under way is carried out again',
  async (t, { receiver, copytool, job }) => {
    const item = makeItem(ARCHIVE);
    copytool.onEnd = () => {
      copytool.onEnd = () => undefined;
      receiver.accept(makeList([item]));
    };
    receiver.accept(makeList([item]));
    (await job(0)).done(new LhsmError('busy', { code: 'EAGAIN', op: 'x', retryable: true }));
    (await job(1)).done();
    await receiver.settled();
    t.match(copytool.ended, [{ errno: 11, flags: ProgressFlag.RETRY }, { errno: 0 }]);
  },
);

rule(
  'registering anew: the grace time ends what runs, not what is queued',
  async (t, { receiver, scheduler, copytool, job }) => {
    receiver.accept(makeList([makeItem(ARCHIVE), makeItem(ARCHIVE)]));
    await job(0);
    await receiver.quiesce(0, STOP_REASONS.reregister());
    t.match(copytool.ended, [{ errno: 11, flags: ProgressFlag.RETRY }]);
    scheduler.resume();
    (await job(1)).done();
    await receiver.settled();
    t.match(copytool.ended, [{}, { errno: 0 }]);
  },
  { maxActions: 1 },
);

rule(
  'an early begin that fails is tried again when its turn comes',
  async (t, { receiver, copytool, job }) => {
    receiver.accept(makeList([makeItem(ARCHIVE), makeItem(ARCHIVE)]));
    const running = await job(0);
    copytool.fail.begin.push(failure('ENOTCONN'));
    const [, queued] = receiver.actions();
    await queued?.beginEarly();
    running.done();
    (await job(1)).done();
    await receiver.settled();
    t.match(copytool.ended, [{ errno: 0 }, { errno: 0 }]);
  },
  { maxActions: 1 },
);

rule(
  'an end that does not reach the MDT is told again until it does',
  async (t, { receiver, copytool, job }) => {
    copytool.fail.end.push(failure('ENOTCONN'));
    copytool.fail.errorBegin.push(failure('ENOTCONN'));
    receiver.accept(makeList([makeItem(ARCHIVE)]));
    (await job(0)).done();
    await receiver.settled();
    t.match(copytool.ended, [{ isError: true, errno: 107 }]);
  },
);

t.test('what the MDT never heard of stays in the journal for the next process', async (t) => {
  const giveUp = new AbortController();
  const { receiver, copytool, journal, job } = rig(t, { giveUp: giveUp.signal });
  copytool.fail.end.push(failure('ENOTCONN'));
  copytool.fail.errorBegin.push(failure('ENOTCONN'));
  receiver.accept(makeList([makeItem(ARCHIVE)]));
  giveUp.abort();
  (await job(0)).done();
  await receiver.settled();
  t.same(copytool.ended, []);
  t.equal(journal.items, 1);
});

rule(
  "a library's own abort is no cancel: ECANCELED would be recorded as success",
  async (t, { receiver, copytool, job }) => {
    receiver.accept(makeList([makeItem(ARCHIVE)]));
    (await job(0)).done(new DOMException('aborted', 'AbortError'));
    await receiver.settled();
    t.match(copytool.ended, [{ errno: EIO, flags: ProgressFlag.RETRY }]);
  },
);

rule(
  'the time to the first byte counts from receipt, all waiting before the transfer included',
  async (t, { receiver, job, finished }) => {
    receiver.accept(makeList([makeItem(RESTORE)]));
    const { job: given, done } = await job(0);
    const [action] = receiver.actions();
    // The bytes gate, say, or a look at an xattr.
    const until = performance.now() + 20;
    while (performance.now() < until);
    given.asking?.();
    const askedMs = performance.now() - (action?.receivedAtMs ?? NaN);
    given.counters.firstByteMs = 7;
    // Another name is tried: what came first has come.
    while (performance.now() < until + 20);
    given.asking?.();
    done();
    await receiver.settled();
    const { firstByteMs = NaN } = finished[0] ?? {};
    t.ok(Math.abs(firstByteMs - askedMs - 7) < 10, `${firstByteMs} ms, asked after ${askedMs} ms`);
  },
);

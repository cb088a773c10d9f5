import { link, mkdir, unlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import fc from 'fast-check';
import { AgentEmitter, type FinishedEvent } from '../../../daemon/events.js';
import { fidsPerRequest, type AskedFile, type Outcome } from '../../../daemon/jobs/asked-file.js';
import { MAX_WINDOW, Requester } from '../../../daemon/jobs/requester.js';
import type { RequesterOptions, RequestTimings } from '../../../daemon/jobs/request-options.js';
import { HsmStateFlag } from '../../../native-bindings/constants.js';
import { LhsmError } from '../../../native-bindings/errors.js';
import { loadLustre } from '../../../native-bindings/liblustreapi.js';
import { formatFid, type ActionItem, type Fid, type Lustre } from '../../../native-bindings/lustre.js';
import { LustreSim } from '../../lustre-sim/lustre-sim.js';
import { makeFiles, makeStubs, TestCopytool } from './test-copytool.js';

const noSignal = new AbortController().signal;
const sim = await LustreSim.start({ tunables: { 'hsm.grace_delay': '3600' } });
const lustre = loadLustre({ library: sim.library });
const copytool = new TestCopytool(lustre, sim.mount);
await copytool.start();
t.teardown(async () => {
  await copytool.stop();
  await sim.stop();
});
t.beforeEach(() => {
  copytool.verdict = () => 0;
  copytool.onEnd = () => undefined;
  copytool.received.length = 0;
});

const FAST: Partial<RequestTimings> = {
  pollMinMs: 10,
  checkAfterMs: 100,
  checkMaxMs: 200,
  lingerMs: 20,
  backoffMinMs: 10,
  backoffMaxMs: 50,
  waitingNoticeMs: 60,
  cancelGraceMs: 2000,
};

let made = 0;
/** Names in a directory of their own. */
async function names(count: number): Promise<string[]> {
  const dir = join(sim.mount, `d${(made += 1)}`);
  await mkdir(dir);
  return Array.from({ length: count }, (_, at) => join(dir, `f${at}`));
}

const asked = (fids: readonly Fid[], paths: readonly string[] = []): AskedFile[] =>
  fids.map((fid, at) => ({ fid, path: Buffer.from(paths[at] ?? `f${at}`), sizeBytes: 8n }));

function keyOf(fids: readonly Fid[], at: number): string {
  const fid = fids[at];
  if (!fid) throw new Error('no such file');
  return formatFid(fid);
}

async function* inBatches<T>(files: readonly T[], size = 64): AsyncGenerator<T[]> {
  for (let at = 0; at < files.length; at += size) yield await Promise.resolve(files.slice(at, at + size));
}

interface Ran {
  readonly requester: Requester<AskedFile>;
  readonly outcomes: Map<string, Outcome[]>;
  readonly notices: string[];
  readonly result: Promise<Requester<AskedFile>['numbers']>;
}

function run(
  files: AsyncIterable<readonly AskedFile[]>,
  options: Partial<RequesterOptions<AskedFile>> = {},
  {
    signal = noSignal,
    events,
    tools = lustre,
  }: {
    signal?: AbortSignal;
    events?: AgentEmitter;
    tools?: Pick<Lustre, 'request' | 'hsmState' | 'currentAction'>;
  } = {},
): Ran {
  const outcomes = new Map<string, Outcome[]>();
  const notices: string[] = [];
  const requester = new Requester<AskedFile>(
    {
      mount: sim.mount,
      kind: 'restore',
      archiveId: 0,
      window: 1000,
      onSettled: ({ fid }, outcome) => {
        const key = formatFid(fid);
        outcomes.set(key, [...(outcomes.get(key) ?? []), outcome]);
      },
      onNotice: ({ code }) => notices.push(code),
      timings: FAST,
      ...options,
    },
    { lustre: tools, ...(events ? { events } : {}) },
  );
  return { requester, outcomes, notices, result: requester.run(files, signal) };
}

/** What the agent of a daemon tells of an end. */
function endOf(item: ActionItem, errno: number): FinishedEvent {
  const failed = errno === 0 ? {} : { code: 'BLOB_MISSING', reason: 'The blob is not there.' };
  return {
    kind: item.action === 20 ? 'archive' : 'restore',
    fid: formatFid(item.fid),
    archiveId: 1,
    result: errno === 0 ? 'succeeded' : errno === 125 ? 'canceled' : 'failed',
    errno,
    code: undefined,
    reason: undefined,
    bytes: 8,
    durationMs: 0,
    queuedMs: 0,
    firstByteMs: undefined,
    retries: 0,
    throttles: 0,
    blocking: false,
    ...failed,
  };
}

function telling(events: AgentEmitter): (item: ActionItem, errno: number) => void {
  return (item, errno) => {
    events.emit('finished', endOf(item, errno));
  };
}

async function isRestored(path: string): Promise<boolean> {
  return ((await lustre.hsmState(path)).states & HsmStateFlag.RELEASED) === 0;
}

t.test(
  'no more outstanding than the window, refilled as files finish, and the short last request',
  async (t) => {
    const paths = await names(151);
    const fids = await makeStubs(lustre, paths);
    const first = keyOf(fids, 0);
    let most = 0;
    let behindFirst = 0;
    let letFirst: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (letFirst = resolve));
    copytool.verdict = async (item) => {
      const { waiting = 0, started = 0 } = await sim.counters();
      most = Math.max(most, waiting + started);
      if (formatFid(item.fid) === first) await held;
      else if ((behindFirst += 1) === 150) letFirst();
      return 0;
    };
    const { result, outcomes } = run(inBatches(asked(fids)), {
      window: 40,
      data: Buffer.from('lhsm:0123abcd'),
    });
    const numbers = await result;
    t.match(numbers, { asked: 151, done: 151, outstanding: 0, failed: 0, maxOutstanding: 40 });
    t.ok(most <= 40, `${most} at the coordinator`);
    t.equal(outcomes.size, 151);
    for (const path of paths) t.ok(await isRestored(path), path);
    t.ok(
      copytool.received.every(({ data }) => data.toString() === 'lhsm:0123abcd'),
      'data go with each',
    );
  },
);

t.test('a window of one works', async (t) => {
  const fids = await makeStubs(lustre, await names(5));
  t.match(await run(inBatches(asked(fids)), { window: 1 }).result, { done: 5, maxOutstanding: 1 });
});

t.test('requests are as large as the MDT takes them', async (t) => {
  const fids = await makeStubs(lustre, await names(120));
  const sizes: number[] = [];
  const tools = {
    request: (mount: string, request: Parameters<Lustre['request']>[1]) => {
      sizes.push(request.fids.length);
      return lustre.request(mount, request);
    },
    hsmState: (path: string | Buffer) => lustre.hsmState(path),
    currentAction: (path: string | Buffer) => lustre.currentAction(path),
  };
  t.match(await run(inBatches(asked(fids)), {}, { tools }).result, { done: 120 });
  t.same(sizes, [52, 52, 16]);
  t.end();
});

t.test('a request of any data stays below the bound of the MDT', async (t) => {
  t.equal(fidsPerRequest(0), 52);
  t.equal(fidsPerRequest(16), 52);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1600 }), (bytes) => {
      const fids = fidsPerRequest(bytes);
      const size = (count: number): number => 24 + 32 * count + bytes;
      return fids >= 1 && size(fids) < 1706 && (fids === 52 || size(fids + 1) >= 1706);
    }),
  );
  const [fid] = await makeStubs(lustre, await names(1));
  if (!fid) throw new Error('no file');
  await lustre.request(sim.mount, {
    action: 11,
    archiveId: 0,
    fids: Array<Fid>(fidsPerRequest(16)).fill(fid),
    data: Buffer.alloc(16),
  });
});

t.test('bad files among good ones: gone, lost, not to be archived', async (t) => {
  const paths = await names(60);
  const fids = await makeStubs(lustre, paths);
  const [gone = '', , , , , , lost = ''] = paths.slice(20);
  await unlink(gone);
  await lustre.setHsmState(lost, { set: HsmStateFlag.LOST, clear: 0 });
  const { result, outcomes } = run(inBatches(asked(fids, paths)));
  t.match(await result, { asked: 60, done: 58, vanished: 1, failed: 1 });
  t.match(outcomes.get(keyOf(fids, 26)), [
    { kind: 'failed', error: { code: 'FILE_LOST', hint: /hsm_clear/ } },
  ]);
  t.match(outcomes.get(keyOf(fids, 20)), [{ kind: 'vanished' }]);

  const files = await names(10);
  const plain = await makeFiles(lustre, files);
  await lustre.setHsmState(files[3] ?? '', { set: HsmStateFlag.NOARCHIVE, clear: 0 });
  const archived = run(inBatches(asked(plain, files)), { kind: 'archive', archiveId: 1 });
  t.match(await archived.result, { done: 9, failed: 1 });
  t.match(archived.outcomes.get(keyOf(plain, 3)), [{ error: { code: 'FILE_NOARCHIVE' } }]);
});

t.test('a refusal that no state explains is narrowed down to its file', async (t) => {
  const fids = await makeStubs(lustre, await names(52));
  const bad = keyOf(fids, 33);
  let calls = 0;
  const tools = {
    request: (mount: string, request: Parameters<Lustre['request']>[1]) => {
      calls += 1;
      const isBad = request.fids.some((fid) => formatFid(fid) === bad);
      return isBad
        ? Promise.reject(new LhsmError('refused', { code: 'EPERM', op: 'llapi_hsm_request' }))
        : lustre.request(mount, request);
    },
    hsmState: (path: string | Buffer) => lustre.hsmState(path),
    currentAction: (path: string | Buffer) => lustre.currentAction(path),
  };
  const { result, outcomes } = run(inBatches(asked(fids)), {}, { tools });
  t.match(await result, { done: 51, failed: 1 });
  t.match(outcomes.get(bad), [{ kind: 'failed', error: { code: 'EPERM' } }]);
  t.ok(calls < 20, `${calls} calls`);
});

t.test('a refusal of us ends it', async (t) => {
  await sim.fault('request errno=EACCES');
  t.teardown(() => sim.clearFaults());
  const fids = await makeStubs(lustre, await names(60));
  await t.rejects(run(inBatches(asked(fids))).result, { code: 'EACCES' });
});

t.test('a source that fails: what is outstanding still comes to its end', async (t) => {
  const fids = await makeStubs(lustre, await names(10));
  async function* breaking(): AsyncGenerator<AskedFile[]> {
    yield await Promise.resolve(asked(fids));
    await sim.wait('delivered>=1');
    throw new LhsmError('the list broke', { code: 'EIO', op: 'read' });
  }
  const { result, outcomes } = run(breaking());
  await t.rejects(result, { message: 'the list broke' });
  t.ok([...outcomes.values()].flat().every(({ kind }) => kind === 'done'));
});

t.test('a coordinator that is stopped is waited for', async (t) => {
  const fids = await makeStubs(lustre, await names(70));
  await sim.setParam('hsm_control', 'shutdown');
  const { result, notices, requester } = run(inBatches(asked(fids)));
  while (!notices.includes('COORDINATOR_STOPPED')) await sim.counters();
  t.equal(requester.numbers.done, 0);
  await sim.setParam('hsm_control', 'enabled');
  // A shutdown leaves registered tools orphaned.
  await copytool.stop();
  await copytool.start();
  t.match(await result, { done: 70, failed: 0 });
  t.ok(notices.includes('COORDINATOR_BACK'));
});

t.test('a coordinator that is disabled takes requests and does nothing: told, and waited for', async (t) => {
  const fids = await makeStubs(lustre, await names(5));
  await sim.setParam('hsm_control', 'disabled');
  const { result, notices } = run(inBatches(asked(fids)));
  while (!notices.includes('REQUESTS_WAIT')) await sim.counters();
  await sim.setParam('hsm_control', 'enabled');
  t.match(await result, { done: 5 });
});

t.test('nobody serves the archive id: told; a cancel takes the requests back', async (t) => {
  const paths = await names(60);
  const fids = await makeFiles(lustre, paths);
  const stop = new AbortController();
  const { result, notices } = run(
    inBatches(asked(fids)),
    { kind: 'archive', archiveId: 7 },
    { signal: stop.signal },
  );
  while (!notices.includes('REQUESTS_WAIT')) await sim.counters();
  stop.abort(new Error('enough'));
  t.match(await result, { asked: 60, canceled: 60, outstanding: 0, failed: 0 });
  const cancels = (await sim.requests()).filter(
    ({ action, status }) => action === 'CANCEL' && status === 'WAITING',
  );
  t.equal(cancels.length, 60, 'the coordinator knows, and waits for an agent to tell');
  t.ok(notices.includes('CANCEL_INCOMPLETE'));
  await sim.setParam('hsm_control', 'purge');
});

t.test(
  'a cancel in the middle: what is done is done, the rest is cancelled at the coordinator',
  async (t) => {
    const fids = await makeStubs(lustre, await names(100));
    const stop = new AbortController();
    const events = new AgentEmitter();
    copytool.onEnd = telling(events);
    let ended = 0;
    copytool.verdict = async () => {
      ended += 1;
      if (ended === 40) stop.abort(new Error('enough'));
      return ended > 20 ? new Promise<number>(() => undefined) : Promise.resolve(0);
    };
    const { result } = run(inBatches(asked(fids)), { window: 60 }, { signal: stop.signal, events });
    const numbers = await result;
    t.equal(numbers.done, 20);
    t.equal(numbers.done + numbers.canceled, numbers.asked);
    t.ok(numbers.asked <= 80);
    await sim.drained();
  },
);

t.test('an abort may leave what is outstanding to the agents', async (t) => {
  const paths = await names(5);
  const fids = await makeStubs(lustre, paths);
  const stop = new AbortController();
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (release = resolve));
  copytool.verdict = async () => {
    stop.abort(new Error('shutdown'));
    await held;
    return 0;
  };
  const { result } = run(inBatches(asked(fids)), { onAbort: () => 'leave' }, { signal: stop.signal });
  t.match(await result, { outstanding: 5, canceled: 0 });
  release();
  await sim.drained();
  for (const path of paths) t.ok(await isRestored(path));
});

t.test('a file that is removed while it is outstanding has vanished', async (t) => {
  const paths = await names(3);
  const fids = await makeStubs(lustre, paths);
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (release = resolve));
  copytool.verdict = async (item) => {
    if (formatFid(item.fid) !== keyOf(fids, 1)) return 0;
    await unlink(paths[1] ?? '');
    await held;
    return 0;
  };
  const { result, outcomes } = run(inBatches(asked(fids)));
  t.match(await result, { done: 2, vanished: 1 });
  t.match(outcomes.get(keyOf(fids, 1)), [{ kind: 'vanished' }]);
  release();
  await sim.drained();
});

t.test('failures: in the words of an agent that is heard, found out of one that is not', async (t) => {
  for (const heard of [true, false]) {
    const fids = await makeStubs(lustre, await names(60));
    const events = new AgentEmitter();
    copytool.onEnd = heard ? telling(events) : () => undefined;
    const bad = new Set([3, 17, 40].map((at) => keyOf(fids, at)));
    copytool.verdict = (item) => (bad.has(formatFid(item.fid)) ? 2 : 0);
    const timings = heard ? { ...FAST, checkAfterMs: 60_000 } : FAST;
    const { result, outcomes } = run(inBatches(asked(fids)), { timings }, { events });
    t.match(await result, { done: 57, failed: 3 });
    for (const key of bad) {
      t.match(outcomes.get(key), [
        {
          kind: 'failed',
          error: { code: heard ? 'BLOB_MISSING' : 'REQUEST_FAILED', message: /restore of "f\d+"/ },
        },
      ]);
    }
  }
});

t.test('an agent that gives a request back says why, should nobody take it', async (t) => {
  const fids = await makeStubs(lustre, await names(3));
  const events = new AgentEmitter();
  const retry = { result: 'retry', code: 'UNREACHABLE', reason: 'no answer' } as const;
  copytool.onEnd = (item, errno) => {
    if (errno === 0) telling(events)(item, errno);
    else events.emit('finished', { ...endOf(item, errno), ...retry });
  };
  copytool.verdict = (item) => (formatFid(item.fid) === keyOf(fids, 1) ? 11 : 0);
  const { result, outcomes } = run(inBatches(asked(fids)), {}, { events });
  t.match(await result, { done: 2, failed: 1 });
  t.match(outcomes.get(keyOf(fids, 1)), [
    { error: { code: 'UNREACHABLE', errno: 11, message: /no answer/ } },
  ]);
});

t.test('ends that an agent tells need no question', async (t) => {
  const fids = await makeStubs(lustre, await names(100));
  const events = new AgentEmitter();
  copytool.onEnd = telling(events);
  let questions = 0;
  const tools = {
    request: lustre.request.bind(lustre),
    hsmState: (path: string | Buffer) => {
      questions += 1;
      return lustre.hsmState(path);
    },
    currentAction: (path: string | Buffer) => lustre.currentAction(path),
  };
  const timings = { ...FAST, pollMinMs: 30_000, checkAfterMs: 60_000 };
  t.match(await run(inBatches(asked(fids)), { timings }, { events, tools }).result, { done: 100 });
  t.equal(questions, 0);
});

t.test(
  'an archive of a file that is written meanwhile fails; one that is clean is done at once',
  async (t) => {
    const paths = await names(4);
    const fids = await makeFiles(lustre, paths);
    t.match(await run(inBatches(asked(fids)), { kind: 'archive', archiveId: 1 }).result, { done: 4 });
    await writeFile(paths[0] ?? '', 'changed');
    await writeFile(paths[1] ?? '', 'changed');
    copytool.received.length = 0;
    copytool.verdict = async (item) => {
      if (formatFid(item.fid) === keyOf(fids, 1)) await writeFile(paths[1] ?? '', 'changed again');
      return 0;
    };
    const { result, outcomes } = run(inBatches(asked(fids)), { kind: 'archive', archiveId: 1 });
    t.match(await result, { done: 3, failed: 1 });
    t.match(outcomes.get(keyOf(fids, 1)), [{ error: { code: 'REQUEST_FAILED', retryable: true } }]);
    t.equal(copytool.received.length, 2);
  },
);

t.test('a failed archive that somebody else had asked for before us is not ours', async (t) => {
  const [path = ''] = await names(1);
  const [fid] = await makeFiles(lustre, [path]);
  if (!fid) throw new Error('no file');
  const events = new AgentEmitter();
  copytool.verdict = () => {
    events.emit('finished', { ...lateFailure, fid: formatFid(fid), durationMs: 60_000 });
    return 0;
  };
  t.match(await run(inBatches(asked([fid])), { kind: 'archive', archiveId: 1 }, { events }).result, {
    done: 1,
  });
});

const lateFailure: FinishedEvent = {
  kind: 'archive',
  fid: '',
  archiveId: 1,
  result: 'failed',
  errno: 16,
  code: 'FILE_CHANGED',
  reason: 'written',
  bytes: 0,
  durationMs: 0,
  queuedMs: 0,
  firstByteMs: undefined,
  retries: 0,
  throttles: 0,
  blocking: false,
};

t.test('two names of one file are one request and two ends', async (t) => {
  const [path = ''] = await names(1);
  const [fid] = await makeStubs(lustre, [path]);
  if (!fid) throw new Error('no file');
  await link(path, `${path}-too`);
  const files = asked([fid, fid]);
  const { result, outcomes } = run(inBatches(files));
  t.match(await result, { asked: 2, done: 2, outstanding: 0, maxOutstanding: 1 });
  t.equal(outcomes.get(formatFid(fid))?.length, 2);
  t.equal(copytool.received.length, 1);
});

t.test('under NonBlockingRestore the answer ENODATA means that it is recorded', async (t) => {
  await sim.setParam('hsm.policy', '+NBR');
  t.teardown(() => sim.setParam('hsm.policy', '-NBR'));
  const fids = await makeStubs(lustre, await names(60));
  t.match(await run(inBatches(asked(fids))).result, { done: 60, failed: 0 });
});

t.test('purged requests are failures, each told once', async (t) => {
  const fids = await makeStubs(lustre, await names(20));
  await sim.setParam('hsm_control', 'disabled');
  const { result, notices } = run(inBatches(asked(fids)));
  while (!notices.includes('REQUESTS_WAIT')) await sim.counters();
  await sim.setParam('hsm_control', 'purge');
  const numbers = await result;
  await sim.setParam('hsm_control', 'enabled');
  t.match(numbers, { failed: 20, done: 0 });
});

t.test('windows that make no sense', (t: Test) => {
  for (const window of [0, -1, 1.5, NaN, Infinity, MAX_WINDOW + 1]) {
    t.throws(() => run(inBatches<AskedFile>([]), { window }), { code: 'WINDOW_INVALID' }, String(window));
  }
  t.throws(() => run(inBatches<AskedFile>([]), { data: Buffer.alloc(2000) }), RangeError);
  t.end();
});

t.test('nothing to ask for', async (t) => {
  t.match(await run(inBatches<AskedFile>([])).result, { asked: 0, done: 0 });
  const stop = new AbortController();
  stop.abort(new Error('before'));
  const fids = await makeStubs(lustre, await names(1));
  t.match(await run(inBatches(asked(fids)), {}, { signal: stop.signal }).result, { asked: 0 });
});

t.test('the copytool of these tests misused nothing', async (t) => {
  t.same(await sim.violations(), []);
  await utimes(sim.mount, 0, 0);
});

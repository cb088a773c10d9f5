// The registry with works that do what a test says.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { isOver, RECENT_FINDINGS, type OperationDocument } from '../../../daemon/jobs/operation.js';
import type { OperationRequest } from '../../../daemon/jobs/operation-request.js';
import type { OperationWork, WorkEnd, WorkHooks } from '../../../daemon/jobs/operation-work.js';
import { Operations } from '../../../daemon/jobs/operations.js';
import { LhsmError } from '../../../native-bindings/errors.js';

const END: WorkEnd = {
  state: 'complete',
  message: 'Well',
  progress: { counts: { done: 3 }, files: 3, bytes: 9 },
};
const signal = new AbortController().signal;

function setUp(t: Test, work: OperationWork, keep = 3) {
  const mount = mkdtempSync(join(tmpdir(), 'lhsm-operations-'));
  const folder = join(mount, 'state');
  t.teardown(() => {
    rmSync(mount, { recursive: true });
  });
  const log = pino({ level: 'silent' });
  const make = () => new Operations({ mount, folder, work, log, keep });
  return { mount, folder, make, operations: make() };
}

const verify: OperationRequest = { kind: 'verify', paths: ['.'], content: false, repair: false };

async function ended(operations: Operations, id: string): Promise<OperationDocument> {
  for (;;) {
    const document = operations.show(id);
    if (isOver(document.state)) return document;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function lines(operations: Operations, id: string): Promise<unknown[]> {
  let text = '';
  for await (const bytes of operations.log(id, signal)) text += Buffer.from(bytes).toString();
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as unknown);
}

const finding = { severity: 'error', code: 'BLOB_MISSING', message: 'gone' } as const;

t.test('an operation from its start to its end', async (t) => {
  let hooks: WorkHooks | undefined;
  let finish: ((end: WorkEnd) => void) | undefined;
  const { operations } = setUp(t, (_request, told) => {
    hooks = told;
    return new Promise((resolve) => (finish = resolve));
  });
  const begun = await operations.start(verify);
  t.match(begun, { id: 'verify-1', kind: 'verify', state: 'running', findingCount: 0 });
  hooks?.progress({ counts: { files: 7 }, files: 7, bytes: 0, etaSeconds: 12 });
  for (let n = 0; n < RECENT_FINDINGS + 20; n += 1) hooks?.finding({ ...finding, path: `f${n}` });
  hooks?.finding({ severity: 'item', code: 'WOULD_RELEASE', path: 'x', message: 'would be' });
  hooks?.notice({ code: 'REQUESTS_WAIT', message: '5 wait' });
  hooks?.notice({ code: 'REQUESTS_WAIT', message: '6 wait' });
  const now = operations.show('verify-1');
  t.match(now, {
    counts: { files: 7 },
    etaSeconds: 12,
    findingCount: RECENT_FINDINGS + 20,
    notices: [{ code: 'REQUESTS_WAIT', message: '6 wait', count: 2 }],
  });
  t.equal(now.findings.length, RECENT_FINDINGS);
  t.equal(now.findings.at(-1)?.path, `f${RECENT_FINDINGS + 19}`);
  t.match(operations.troubles, [{ id: 'verify-1', code: 'REQUESTS_WAIT' }]);
  t.equal((await lines(operations, 'verify-1')).length, RECENT_FINDINGS + 21, 'also while it runs');
  finish?.(END);
  t.match(await ended(operations, 'verify-1'), {
    state: 'complete',
    message: 'Well.',
    counts: { done: 3 },
    endedTime: String,
  });
  t.same(operations.troubles, []);
  t.match(operations.list, [{ id: 'verify-1' }]);
});

t.test('a work that fails, and one that is canceled', async (t) => {
  const { operations } = setUp(t, async ({ kind }, _hooks, stop) => {
    if (kind === 'release') throw new LhsmError('refused', { code: 'FORBIDDEN', op: 'x', hint: 'Mend it.' });
    await new Promise((_resolve, reject) => {
      stop.addEventListener('abort', () => {
        reject(stop.reason as Error);
      });
    });
    return END;
  });
  const { id } = await operations.start({ kind: 'release', paths: ['.'], dryRun: false });
  t.match(await ended(operations, id), {
    state: 'failed',
    errorCode: 'FORBIDDEN',
    errorMessage: 'refused',
    hint: 'Mend it.',
  });
  const running = await operations.start(verify);
  t.equal(running.id, 'verify-2');
  t.match(operations.cancel(running.id), { state: 'canceling' });
  t.match(await ended(operations, running.id), { state: 'canceled' });
  t.match(operations.cancel(running.id), { state: 'canceled' }, 'once more does nothing');
});

t.test('a stopping daemon cancels what runs, and says so', async (t) => {
  const { operations } = setUp(t, async (_request, _hooks, stop) => {
    await new Promise((resolve) => {
      stop.addEventListener('abort', resolve);
    });
    return { ...END, state: 'canceled', message: '3 files restored, 8 requests stay at the coordinator' };
  });
  const { id } = await operations.start({ kind: 'restore', paths: ['.'], newestFirst: false });
  await operations.close();
  t.match(operations.show(id), {
    state: 'canceled',
    message: 'The daemon stopped: 3 files restored, 8 requests stay at the coordinator.',
  });
  await t.rejects(operations.start(verify), { code: 'NOT_SERVING' });
});

t.test('only so many are kept, and so many logs; a former daemon is not written over', async (t) => {
  const { operations, folder, make } = setUp(t, () => Promise.resolve(END));
  for (let n = 0; n < 6; n += 1) await ended(operations, (await operations.start(verify)).id);
  t.same(
    operations.list.map(({ id }) => id),
    ['verify-6', 'verify-5', 'verify-4', 'verify-3'],
  );
  t.throws(() => operations.show('verify-1'), { code: 'OPERATION_UNKNOWN' });
  await t.rejects(lines(operations, 'verify-1'), { code: 'OPERATION_UNKNOWN' });
  const next = make();
  t.same(await lines(next, 'verify-6'), [], 'the log of the former daemon is there');
  t.equal((await next.start(verify)).id, 'verify-7');
  t.ok(readdirSync(folder).length <= 4);
});

t.test('paths of no use are refused before anything begins', async (t) => {
  const { operations, folder } = setUp(t, () => Promise.resolve(END));
  for (const [paths, code] of [
    [['/etc'], 'PATH_OUTSIDE_MOUNT'],
    [['none'], 'PATH_UNUSABLE'],
  ] as const) {
    await t.rejects(operations.start({ ...verify, paths: [...paths] }), { code });
  }
  const list = {
    kind: 'restore',
    paths: [],
    filesFrom: join(folder, 'list-none'),
    newestFirst: false,
  } as const;
  await t.rejects(operations.start({ ...list, paths: [] }), { code: 'PATH_UNUSABLE' });
  t.same(operations.list, []);
});

t.test('a list that the command line has handed over goes with the operation', async (t) => {
  const { operations, folder, mount } = setUp(t, () => Promise.resolve(END));
  await ended(operations, (await operations.start(verify)).id);
  const ours = join(folder, 'list-1');
  const theirs = join(mount, 'list-2');
  for (const filesFrom of [ours, theirs]) {
    writeFileSync(filesFrom, 'x\n');
    await ended(
      operations,
      (await operations.start({ kind: 'restore', paths: [], filesFrom, newestFirst: false })).id,
    );
  }
  await operations.close();
  t.throws(() => readFileSync(ours), { code: 'ENOENT' });
  t.equal(readFileSync(theirs, 'utf8'), 'x\n');
});

t.test('no more than so many run at once', async (t) => {
  const { operations } = setUp(t, (_request, _hooks, stop) => {
    return new Promise((_resolve, reject) => {
      stop.addEventListener('abort', () => {
        reject(stop.reason as Error);
      });
    });
  });
  for (let n = 0; n < 16; n += 1) await operations.start(verify);
  await t.rejects(operations.start(verify), { code: 'OPERATIONS_BUSY' });
  await operations.close();
});

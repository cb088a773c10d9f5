// The report: each entry once in both files, whatever answers are lost and wherever the process dies.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { LhsmError } from '../../../native-bindings/errors.js';
import { CsvParser } from '../../../daemon/jobs/csv.js';
import { JobStore, type StoreContainer } from '../../../daemon/jobs/job-store.js';
import type { LogEntry } from '../../../daemon/jobs/job.js';
import { readLog } from '../../../daemon/jobs/read-log.js';
import { JobReport, reportPosition, type ReportPosition } from '../../../daemon/jobs/report.js';
import { documentOf, never, startLogs } from './logs.js';
import { MemoryBlobs, type Death } from './memory-blobs.js';

const FS = 'lustre@1700000000';

function entryOf(path: string, message = `about ${path}`): LogEntry {
  return { kind: 'item', code: 'IMPORTED', path, message, action: 'imported' };
}

async function textOf(container: StoreContainer, format: 'jsonl' | 'csv', job = 'job'): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of readLog(new JobStore(container, FS), job, format, never)) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** What both files say, with their paths in order; fails when they are no JSON lines, no CSV. */
async function pathsOf(
  container: StoreContainer,
): Promise<{ jsonl: string[]; csv: string[]; header: string }> {
  const lines = (await textOf(container, 'jsonl')).split('\n').slice(0, -1);
  const [header = [], ...records] = new CsvParser().push(await textOf(container, 'csv'));
  return {
    jsonl: lines.map((line) => (JSON.parse(line) as LogEntry).path),
    csv: records.map((cells) => cells[3] ?? ''),
    header: header.join(),
  };
}

const HEADER = 'time,kind,code,path,message,action,errno';

t.test('a report on Azurite, answers and requests lost on the way, in several parts', async (t) => {
  const { open, proxy } = await startLogs(t);
  const store = new JobStore(open(), FS);
  const folder = await store.create(documentOf('job'), never);
  let appends = 0;
  proxy.lose = (request) => {
    if (!request.url?.includes('comp=appendblock')) return undefined;
    appends += 1;
    return appends % 3 === 0 ? 'answer' : appends % 4 === 0 ? 'request' : undefined;
  };
  const options = { flushBytes: 600, maxAppends: 5, now: () => new Date('2026-11-27T10:00:00Z') };
  const report = await JobReport.create(folder, options, never);
  const paths = Array.from({ length: 120 }, (_, at) => `=dir "${at}"/ü,\n😀`);
  for (const [at, path] of paths.entries()) {
    await report.add(entryOf(path), never);
    if (at % 10 === 0) await report.flush(never);
  }
  await report.add({ kind: 'error', code: 'NO_SPACE', path: 'x', message: '-1', errno: 'ENOSPC' }, never);
  const position = await report.flush(never);
  t.same(reportPosition(JSON.parse(JSON.stringify(position))), position);
  t.ok(position.jsonl.part > 1 && position.csv.part > 1);
  await report.finish({ state: 'Completed' }, never);
  proxy.lose = () => undefined;
  const expected = [...paths, 'x'];
  t.same(await pathsOf(store.container), { jsonl: expected, csv: expected, header: HEADER });
  const jsonl = await textOf(store.container, 'jsonl');
  t.same(JSON.parse(jsonl.split('\n').at(-2) ?? ''), {
    time: '2026-11-27T10:00:00.000Z',
    kind: 'error',
    code: 'NO_SPACE',
    path: 'x',
    message: '-1',
    errno: 'ENOSPC',
  });
  t.ok(
    (await textOf(store.container, 'csv')).endsWith(
      "2026-11-27T10:00:00.000Z,error,NO_SPACE,x,'-1,,ENOSPC\r\n",
    ),
  );
  t.match(await store.container.read(`${FS}/jobs/job/summary.json`, never), { body: /Completed/ });
  await t.rejects(textOf(store.container, 'csv', 'other'), { code: 'JOB_UNKNOWN' });
});

interface Checkpoint {
  readonly page: number;
  readonly position: ReportPosition;
}

/** A job's work as the runner does it: pages of entries, checkpoints between and within them. */
async function work(
  container: StoreContainer,
  pages: readonly (readonly number[])[],
  from: Checkpoint | undefined,
  flushes: number,
  save: (checkpoint: Checkpoint) => void,
): Promise<void> {
  const folder = await new JobStore(container, FS).create(documentOf('job'), never);
  const options = { flushBytes: 300, maxPendingBytes: 900, maxAppends: 3, flushMs: 3_600_000 };
  const report = await (from
    ? JobReport.resume(folder, from.position, options, never)
    : JobReport.create(folder, options, never));
  let step = 0;
  for (const [page, entries] of pages.entries()) {
    if (page < (from?.page ?? 0)) continue;
    const start = report.position;
    for (const entry of entries) {
      await report.add(entryOf(`page${page}/${entry}`, `try of ${performance.now()}`), never);
      step += 1;
      if (step % flushes !== 0) continue;
      await report.flush(never);
      save({ page, position: start });
    }
    if (page % 2 === 0) save({ page: page + 1, position: await report.flush(never) });
  }
  await report.finish({}, never);
}

t.test('a report that is killed anywhere, any number of times, says everything once', async (t) => {
  const page = fc.array(fc.nat(4), { maxLength: 12 });
  const death = fc.record({
    requests: fc.integer({ min: 1, max: 40 }),
    how: fc.constantFrom<Death>('lost', 'done', 'late'),
  });
  const property = fc.asyncProperty(
    fc.array(page, { minLength: 1, maxLength: 5 }),
    fc.array(death, { maxLength: 6 }),
    fc.integer({ min: 1, max: 9 }),
    async (pages, deaths, flushes) => {
      const blobs = new MemoryBlobs();
      let saved: Checkpoint | undefined;
      const save = (checkpoint: Checkpoint): void => {
        saved = checkpoint;
      };
      for (const { requests, how } of deaths) {
        await new Promise<void>((resolve, reject) => {
          const container = blobs.process(requests, how, resolve);
          work(container, pages, saved, flushes, save).then(resolve, reject);
        });
      }
      await work(blobs.process(), pages, saved, flushes, save);
      const expected = pages.flatMap((entries, at) => entries.map((entry) => `page${at}/${entry}`)).sort();
      const found = await pathsOf(blobs.process());
      const sorted = { ...found, jsonl: found.jsonl.sort(), csv: found.csv.sort() };
      assert.deepEqual(sorted, { jsonl: expected, csv: expected, header: HEADER });
    },
  );
  await fc.assert(property, { numRuns: 100 });
  t.pass();
});

t.test('a log that somebody has shortened goes on, and says so', async (t) => {
  const blobs = new MemoryBlobs();
  const container = blobs.process();
  const folder = await new JobStore(container, FS).create(documentOf('job'), never);
  const report = await JobReport.create(folder, {}, never);
  await report.add(entryOf('a'), never);
  const position = await report.flush(never);
  await report.close();
  blobs.blobs.delete(`${FS}/jobs/job/log.csv`);
  const again = await JobReport.resume(folder, position, {}, never);
  await again.add(entryOf('b'), never);
  blobs.blobs.delete(`${FS}/jobs/job/log.jsonl`);
  await again.flush(never);
  const cut = `${FS}/jobs/job/log.csv`;
  t.same(await pathsOf(container), { jsonl: [cut, 'b'], csv: [cut, 'b'], header: HEADER });
  t.match(blobs.text(`${FS}/jobs/job/log.jsonl`), /"kind":"warning","code":"JOB_LOG_CUT"/);
  await again.close();
});

t.test('who adds faster than the service takes waits, within bounds', async (t) => {
  const memory = new MemoryBlobs().process();
  let open: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => (open = resolve));
  const append: StoreContainer['append'] = async (...call) => {
    if (call[1].includes('big')) await gate;
    await memory.append(...call);
  };
  const folder = await new JobStore({ ...memory, append }, FS).create(documentOf('job'), never);
  const options = { flushBytes: 100, maxPendingBytes: 4000 };
  const report = await JobReport.create(folder, options, never);
  let added = 0;
  const stop = new AbortController();
  const all = (async () => {
    for (; added < 100; added += 1) await report.add(entryOf(`big${added}`), stop.signal);
  })();
  while (added < 5) await new Promise(setImmediate);
  for (let turn = 0; turn < 50; turn += 1) await new Promise(setImmediate);
  t.ok(added < 30, `${added} of 100`);
  const waiting = report.add(entryOf('one more'), stop.signal);
  stop.abort();
  await t.rejects(waiting, { code: 'ECANCELED' });
  await t.rejects(all, { code: 'ECANCELED' });
  open();
  await report.flush(never);
  t.equal((await pathsOf(memory)).jsonl.length, added + 2, 'what was added is written, waited for or not');
  await report.close();
});

t.test('a failure in the background reaches whoever adds or flushes', async (t) => {
  const memory = new MemoryBlobs().process();
  const folder = await new JobStore(memory, FS).create(documentOf('job'), never);
  const report = await JobReport.create(folder, { flushBytes: 1 }, never);
  const refused = new LhsmError('no', { code: 'FORBIDDEN', op: 'Append Block' });
  memory.append = () => Promise.reject(refused);
  await report.add(entryOf('a'), never);
  await t.rejects(report.flush(never), { code: 'FORBIDDEN' });
  await t.rejects(report.add(entryOf('b'), never), { code: 'FORBIDDEN' });
  await t.rejects(report.finish({}, never), { code: 'FORBIDDEN' });
});

t.test('what is no position of a report is told apart', (t) => {
  const file = { part: 1, bytes: 0 };
  t.same(reportPosition({ jsonl: file, csv: file }), { jsonl: file, csv: file });
  for (const value of [
    undefined,
    null,
    7,
    {},
    { jsonl: file },
    { jsonl: file, csv: { part: 0, bytes: 0 } },
  ]) {
    t.equal(reportPosition(value), undefined);
  }
  t.end();
});

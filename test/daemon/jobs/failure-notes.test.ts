import pino from 'pino';
import t from 'tap';
import { AgentEmitter, type FinishedEvent } from '../../../daemon/events.js';
import {
  FailureNotes,
  jobOfTag,
  newRestoreId,
  requestTag,
  type FailureNote,
} from '../../../daemon/jobs/failure-notes.js';
import { FailureReader, parseNote } from '../../../daemon/jobs/failure-reader.js';
import { JobStore, type StoreContainer } from '../../../daemon/jobs/job-store.js';
import { restoreReasons } from '../../../daemon/jobs/restore-reasons.js';
import { MemoryBlobs } from './memory-blobs.js';

const log = pino({ level: 'silent' });
const never = new AbortController().signal;

function finished(changes: Partial<FinishedEvent>): FinishedEvent {
  return {
    kind: 'archive',
    fid: '[0x200000401:0x1:0x0]',
    archiveId: 1,
    result: 'failed',
    errno: 5,
    code: 'SIZE_MISMATCH',
    reason: 'it does not fit',
    bytes: 0,
    durationMs: 1,
    queuedMs: 0,
    firstByteMs: undefined,
    retries: 0,
    throttles: 0,
    blocking: false,
    data: requestTag('0123abcd'),
    ...changes,
  };
}

/** With listings, which the report's tests need not. */
function containerOf(
  blobs: MemoryBlobs,
  lastModified: (name: string) => Date = () => new Date(),
): StoreContainer {
  return {
    ...blobs.process(),
    list: async function* (prefix) {
      await Promise.resolve();
      for (const name of [...blobs.blobs.keys()]) {
        if (name.startsWith(prefix)) yield { name, lastModified: lastModified(name) };
      }
    },
  };
}

t.test('a tag names its job, and nothing else does', (t) => {
  t.equal(jobOfTag(requestTag('0123abcd')), '0123abcd');
  const restore = newRestoreId();
  t.match(restore, /^r[0-9a-f]{8}$/);
  t.equal(jobOfTag(requestTag(restore)), restore);
  t.ok(requestTag(restore).length <= 17, 'it leaves room for 52 FIDs');
  for (const text of [
    '',
    'lhsm:',
    'lhsm:x0123abcd',
    'lhsm:r0123abc',
    'lhsm:rr0123abcd',
    'lhsm:0123abc',
    'lhsm:0123abcde',
    'lhsm:../../xx',
    'tag',
  ])
    t.equal(jobOfTag(Buffer.from(text)), undefined);
  t.equal(jobOfTag(undefined), undefined);
  t.end();
});

t.test('reasons reach the job: of its failures, each once, and only new ones', async (t) => {
  const blobs = new MemoryBlobs();
  const container = containerOf(blobs);
  const events = new AgentEmitter();
  const place = (): Promise<{ container: StoreContainer; fileSystem: string }> =>
    Promise.resolve({ container, fileSystem: 'lustre@1' });
  const notes = new FailureNotes({ events, place, log, flushMs: 1 });
  blobs.blobs.set('lustre@1/failures/ffffffff/a-1.jsonl', { body: Buffer.from('old'), appends: 1 });
  blobs.blobs.set('lustre@1/jobs/x/status.json', { body: Buffer.from('{}'), appends: 0 });
  blobs.blobs.set('lustre@1/failures/0123abcd/a-1.jsonl', {
    body: Buffer.from(
      `${JSON.stringify({ fid: '[0x1:0x1:0x0]', code: 'X', errno: 1, message: '', time: '' })}\n`,
    ),
    appends: 1,
  });
  const told: FailureNote[] = [];
  let tell: () => void = () => undefined;
  const reader = new FailureReader({
    container,
    fileSystem: 'lustre@1',
    jobId: '0123abcd',
    onNote: (note) => {
      told.push(note);
      if (told.length === 3) tell();
    },
    log,
    pollMs: 5,
  });
  await reader.tidy(never);
  await reader.skip(never);
  t.notOk(blobs.blobs.has('lustre@1/failures/ffffffff/a-1.jsonl'), 'of a job before it');
  t.ok(blobs.blobs.has('lustre@1/jobs/x/status.json'));
  const reading = new AbortController();
  const allTold = new Promise<void>((resolve) => (tell = resolve));
  const run = reader.run(reading.signal);
  events.emit('finished', finished({ fid: '[0x1:0x2:0x0]' }));
  events.emit('finished', finished({ result: 'succeeded', code: undefined }));
  events.emit('finished', finished({ result: 'canceled', code: 'CANCELED' }));
  events.emit('finished', finished({ data: Buffer.from('a tag of a user') }));
  events.emit('finished', finished({ fid: '[0x1:0x3:0x0]', result: 'retry' }));
  events.emit('finished', finished({ fid: '[0x1:0x4:0x0]', code: undefined, reason: 'ü'.repeat(3000) }));
  await allTold;
  reading.abort();
  await run;
  t.match(told, [
    { fid: '[0x1:0x2:0x0]', code: 'SIZE_MISMATCH', errno: 5, message: 'it does not fit' },
    { fid: '[0x1:0x3:0x0]', retry: true },
    { fid: '[0x1:0x4:0x0]', code: 'INTERNAL' },
  ]);
  await reader.clear(never);
  t.strictSame([...blobs.blobs.keys()], ['lustre@1/jobs/x/status.json']);
  // What was deleted under the writer begins anew, and what waits at the end is written.
  events.emit('finished', finished({ fid: '[0x1:0x5:0x0]' }));
  await notes.close();
  const [left] = [...blobs.blobs.entries()].filter(([name]) => name.includes('/failures/'));
  t.match(left?.[1].body.toString(), '0x1:0x5:0x0');
  events.emit('finished', finished({ fid: '[0x1:0x6:0x0]' }));
  t.notMatch(left?.[1].body.toString(), '0x1:0x6:0x0', 'closed is closed');
});

const notesOf = (blobs: MemoryBlobs): string[] =>
  [...blobs.blobs.keys()].filter((name) => name.includes('/failures/'));

t.test('a batch restore hears of other nodes, whatever else runs, and leaves nothing', async (t) => {
  const blobs = new MemoryBlobs();
  const weeks = (name: string): Date => new Date(Date.now() - (name.includes('/rold') ? 8 : 1) * 86_400_000);
  const container = containerOf(blobs, weeks);
  const store = new JobStore(container, 'lustre@1');
  const place = (): Promise<JobStore> => Promise.resolve(store);
  const others = ['ffffffff', 'r1111111', 'rold0000'].map((id) => `lustre@1/failures/${id}/a-1.jsonl`);
  for (const name of others) blobs.blobs.set(name, { body: Buffer.from(''), appends: 0 });
  const [ours, theirs] = [new AgentEmitter(), new AgentEmitter()];
  const own = new FailureNotes({ events: ours, place, log, flushMs: 1 });
  const other = new FailureNotes({ events: theirs, place, log, flushMs: 1 });
  let isDown = true;
  const told: FailureNote[] = [];
  const reasons = restoreReasons({
    store: () => {
      const down = isDown;
      isDown = false;
      return down ? Promise.reject(new Error('not yet')) : Promise.resolve(store);
    },
    notes: own,
    log,
    pollMs: 1,
    pauseMs: 1,
  });
  const over = new AbortController();
  const heard = new Promise<void>((resolve) => {
    over.signal.addEventListener('abort', () => {
      resolve();
    });
  });
  const run = reasons.run((note) => {
    told.push(note);
    over.abort();
  }, over.signal);
  const restore = { kind: 'restore', data: reasons.data } as const;
  ours.emit('finished', finished({ ...restore, fid: '[0x1:0x1:0x0]' }));
  await own.close();
  theirs.emit('finished', finished({ ...restore, fid: '[0x1:0x2:0x0]', code: 'BLOB_MISSING' }));
  await heard;
  await run;
  await other.close();
  t.match(told, [{ fid: '[0x1:0x2:0x0]', code: 'BLOB_MISSING' }]);
  t.equal(told.length, 1, 'of this node it hears by itself');
  t.strictSame(notesOf(blobs), others.slice(0, 2), 'notes of jobs and of others that may run stay');

  await new FailureReader({
    container,
    fileSystem: 'lustre@1',
    jobId: '0123abcd',
    onNote: () => undefined,
    log,
  }).tidy(never);
  t.strictSame(notesOf(blobs), others.slice(1, 2), 'a job takes away what jobs before it have left');
});

t.test('no more notes wait than there is room for, of however many tags', async (t) => {
  const blobs = new MemoryBlobs();
  const container = containerOf(blobs);
  const events = new AgentEmitter();
  const place = () => Promise.resolve({ container, fileSystem: 'lustre@1' });
  const notes = new FailureNotes({ events, place, log, flushMs: 3_600_000 });
  for (let at = 0; at < 12_000; at += 1) {
    events.emit('finished', finished({ data: requestTag(`r000000${String(at % 100).padStart(2, '0')}`) }));
  }
  await notes.close();
  t.equal(notesOf(blobs).length, 64);
  const lines = notesOf(blobs).flatMap((name) => blobs.text(name).split('\n').filter(Boolean));
  t.equal(lines.length, 64 * 120, 'none is lost of those tags that there is room for');
  const again = new FailureNotes({ events, place, log, flushMs: 3_600_000 });
  for (let at = 0; at < 12_000; at += 1) events.emit('finished', finished({ data: requestTag('rffffffff') }));
  await again.close();
  const [name = ''] = notesOf(blobs).filter((each) => each.includes('rffffffff'));
  t.equal(blobs.text(name).split('\n').filter(Boolean).length, 10_000);
});

t.test('a container that does not answer fails nothing', async (t) => {
  const events = new AgentEmitter((error) => t.fail(String(error)));
  const place = (): Promise<never> => Promise.reject(new Error('no container'));
  const notes = new FailureNotes({ events, place, log, flushMs: 1 });
  events.emit('finished', finished({}));
  await notes.close();
  t.pass();
});

t.test('what no agent has written is no note', (t) => {
  for (const line of ['', '{', 'null', '[]', '{"fid":"x","code":"C","errno":1,"message":""}'])
    t.equal(parseNote(line), undefined);
  t.end();
});

// Threads that die, are refused, or are closed with work in hand: the bytes are right, the counters exact, nothing is left.
import { once, setMaxListeners } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import type { Worker } from 'node:worker_threads';
import t, { type Test } from 'tap';
import type { TransferCounters } from '../../../daemon/transfer/transfer.js';
import { WorkerPool, type PoolOptions } from '../../../daemon/transfer/worker-pool.js';
import { wireAddon } from '../../../native-bindings/wire-addon.js';
import { rangeAnswer } from '../../helpers/raw-blob-answers.js';
import type { RawConnection, Script } from '../../helpers/raw-http-server.js';
import { KIB, MIB, pattern } from './bench.js';
import { openRawBench, type RawBench } from './raw-bench.js';

const content = pattern(300 * KIB + 11);
const never = new AbortController().signal;
setMaxListeners(0, never);

/** Threads in the order of their start. */
const threads: Worker[] = [];
process.on('worker', (thread: Worker) => threads.push(thread));

/** Resolves when the counters have seen so many bytes move. */
async function moved(counters: TransferCounters, bytes: number): Promise<void> {
  while (counters.bytes < bytes) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Sends a part of the body, then waits for the end of the connection. */
function partOf(at: RawBench, bytes: number): Script {
  return async (connection) => {
    const request = await connection.request();
    if (!request) return;
    const { head, body } = rangeAnswer(request, at.server.content);
    await connection.send(head);
    await connection.send(body.subarray(0, bytes));
    await connection.closed();
  };
}

t.test('a thread that dies in the middle of downloads', async (t) => {
  threads.length = 0;
  const deaths: string[] = [];
  const onWorkerDeath = (error: Error): void => void deaths.push(error.message);
  const at = await openRawBench(t, 'HTTP', { workers: 1, onWorkerDeath });
  at.server.content = content;
  // An answer in chunks is for the workers, who are asked again then.
  const chunks: Script = async (connection) => {
    const request = await connection.request();
    const inChunks = { 'content-length': undefined, 'transfer-encoding': 'chunked' };
    if (request) await connection.send(rangeAnswer(request, content, inChunks).head);
    await connection.closed();
  };
  at.server.follow(chunks, partOf(at, 200_000));
  const download = at.download({ sizeBytes: content.length });
  // Two slabs of 64 KiB are in the file, and counted.
  await moved(at.counters, 128 * KIB);
  await threads[0]?.terminate();
  await download;
  t.ok(at.target().equals(content), 'the right bytes');
  t.match(at.counters, { bytes: content.length, requests: 2, retries: 1 }, 'each counted once');
  t.equal(threads.length, 2, 'another thread did it');
  t.equal(deaths.length, 1);
  t.match(at.server.requests[0]?.headers, { 'x-ms-range': `bytes=0-${content.length - 1}` });
});

t.test('a thread that dies in the middle of uploads', async (t) => {
  threads.length = 0;
  const at = await openRawBench(t, 'HTTP', { workers: 1, blockSizeBytes: 64 * KIB, rangesPerFile: 3 });
  const kill: Script = async (connection) => {
    await connection.request();
    void threads[0]?.terminate();
    await connection.closed();
  };
  at.server.follow(kill);
  await at.upload({ content });
  t.ok(at.server.blobs.get('/account/container/blob')?.content.equals(content));
  t.equal(at.counters.bytes, content.length);
  t.ok(at.counters.retries >= 1);
  t.equal(threads.length, 2);
});

t.test('closing with work in hand ends it, and the threads', async (t) => {
  threads.length = 0;
  const at = await openRawBench(t, 'HTTP', { workers: 2, rangesPerFile: 3, blockSizeBytes: 64 * KIB });
  at.server.content = content;
  const hang: Script = async (connection) => {
    await connection.request();
    await connection.closed();
  };
  at.server.follow(hang, hang, hang, hang, hang);
  const running = [
    ...[1, 2].map(() => at.download({ sizeBytes: content.length })),
    // Three blocks of it, in the workers.
    at.upload({ content }),
  ];
  const settled = Promise.allSettled(running);
  await at.server.connected(5);
  const exits = threads.map((thread) => once(thread, 'exit'));
  await at.engine.close();
  for (const result of await settled) t.match(result, { status: 'rejected', reason: { code: 'ECANCELED' } });
  t.ok(exits.length > 0);
  for (const code of await Promise.all(exits)) t.same(code, [0], 'the thread ended by itself');
  await Promise.all(at.server.connections.map((connection) => connection.closed()));
});

const POOL: PoolOptions = {
  workers: 0,
  downloadBytes: MIB,
  uploadBytes: MIB,
  stallTimeoutMs: 20_000,
  ca: undefined,
  fileCalls: 2,
};

interface PoolBench {
  readonly pool: WorkerPool;
  readonly counters: TransferCounters;
  readonly request: Parameters<WorkerPool['get']>[0];
}

async function openPool(t: Test, workers: number, script: (at: RawBench) => Script): Promise<PoolBench> {
  const at = await openRawBench(t, 'HTTP');
  at.server.content = content;
  at.server.follow(script(at));
  const pool = new WorkerPool({ ...POOL, workers });
  const fd = openSync('/dev/null', 'w');
  t.teardown(async () => {
    await pool.close();
    closeSync(fd);
  });
  const headers = `host: x\r\nx-ms-range: bytes=0-${content.length - 1}\r\n`;
  const target = { origin: at.server.origin, path: '/account/container/blob', headers };
  return {
    pool,
    counters: at.counters,
    request: { target, fd, start: 0, end: content.length, fileBytes: content.length, expected: undefined },
  };
}

const served =
  (at: RawBench): Script =>
  (connection: RawConnection) =>
    at.server.serve(connection);

t.test('who refuses an answer gets back what it threw, and not a byte was written', async (t) => {
  for (const workers of [0, 1]) {
    const { pool, request, counters } = await openPool(t, workers, served);
    const refuse = (): never => {
      throw new RangeError('not this one');
    };
    await t.rejects(pool.get(request, refuse, counters, never), new RangeError('not this one'));
    t.equal(counters.bytes, 0);
    const done = await pool.get(request, () => ({}), counters, never);
    t.match(done, { bytes: content.length, answer: { status: 206 } });
    t.equal(done.failure, undefined);
    t.equal(counters.bytes, content.length, 'and the next one is fine');
  }
});

t.test('aborted before it is sent, or while it hangs', async (t) => {
  for (const workers of [0, 1]) {
    const { pool, request, counters } = await openPool(t, workers, (at) => partOf(at, 1000));
    const before = await pool.get(request, () => ({}), counters, AbortSignal.abort());
    t.match(before, { failure: { kind: 'aborted' }, bytes: 0 });
    const control = new AbortController();
    const abort = (): object => {
      setImmediate(() => {
        control.abort();
      });
      return {};
    };
    t.match(await pool.get(request, abort, counters, control.signal), { failure: { kind: 'aborted' } });
    t.equal(counters.bytes, 0);
  }
});

t.test('threads are started as they are needed, and no more than that', async (t) => {
  const { pool, counters, request } = await openPool(t, 3, served);
  threads.length = 0;
  const get = (): Promise<unknown> => pool.get(request, () => ({}), counters, never);
  // Node tells of a thread in the turn after its start.
  const told = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const gets = [get()];
  await told();
  t.equal(threads.length, 1);
  for (let count = 1; count < 16; count += 1) gets.push(get());
  await told();
  t.equal(threads.length, wireAddon() ? 1 : 3, 'a GET costs a worker little where others take its body');
  for (let count = 16; count < 100; count += 1) gets.push(get());
  await told();
  t.equal(threads.length, 3);
  await Promise.all(gets);
  t.equal(threads.length, 3);
});

t.test('more jobs than have a place to be seen in are counted all the same', async (t) => {
  const { pool, request, counters } = await openPool(t, 0, served);
  const small = {
    ...request,
    end: 10,
    target: { ...request.target, headers: 'host: x\r\nx-ms-range: bytes=0-9\r\n' },
  };
  const jobs = Array.from({ length: 1100 }, () => pool.get(small, () => ({}), counters, never));
  for (const done of await Promise.all(jobs)) if (done.failure) t.match(done, {});
  t.equal(counters.bytes, 11_000);
});

t.test('a closed pool takes nothing', async (t) => {
  const { pool, request, counters } = await openPool(t, 1, served);
  await pool.get(request, () => ({}), counters, never);
  await pool.close();
  await t.rejects(
    pool.get(request, () => ({}), counters, never),
    /closed/,
  );
  await pool.close();
});

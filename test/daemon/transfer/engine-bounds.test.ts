// What the engine owes its caller besides the bytes: aborts that leave nothing running, the file system's errors as
// they are, memory within its bound.
import { write } from 'node:fs';
import { promisify } from 'node:util';
import t from 'tap';
import { createTransferEngine } from '../../../daemon/transfer/engine.js';
import type { RawIo } from '../../../daemon/transfer/file-io.js';
import { newCounters } from '../../../daemon/transfer/transfer.js';
import { startFaultyBlobServer, type SeenRequest } from '../../helpers/faulty-blob-server.js';
import { KIB, SMALL_SIZES, openBench, pattern } from './bench.js';

const content = pattern(64 * KIB * 5 + 123);
const writeOnce = promisify(write);

async function plainWrite(fd: number, from: Buffer, position: number): Promise<number> {
  return (await writeOnce(fd, from, 0, from.length, position)).bytesWritten;
}

/** A signal, and a call that aborts it in the event loop's next turn. */
function aborting(): { signal: AbortSignal; abortSoon: () => void } {
  const control = new AbortController();
  const abort = (): void => {
    control.abort();
  };
  const abortSoon = (): void => {
    setImmediate(abort);
  };
  return { signal: control.signal, abortSoon };
}

const noRead: RawIo['read'] = () => Promise.reject(new Error('nothing is read here'));

t.test('short writes are completed', async (t) => {
  const io: RawIo = {
    read: noRead,
    write: (fd, from, position) => plainWrite(fd, from.subarray(0, Math.min(from.length, 777)), position),
  };
  const at = await openBench(t, { io });
  at.server.put('blob', content);
  await at.download({ sizeBytes: content.length });
  t.ok(at.target().equals(content));
});

t.test('a full disk, a quota and a broken OST are reported as such, at once', async (t) => {
  for (const [code, errno] of [
    ['ENOSPC', 28],
    ['EDQUOT', 122],
    ['EIO', 5],
  ] as const) {
    const failing = (): Promise<number> => Promise.reject(Object.assign(new Error(code), { code }));
    const at = await openBench(t, { io: { read: noRead, write: failing }, rangesPerFile: 1 });
    at.server.put('blob', content);
    await t.rejects(at.download({ sizeBytes: content.length }), { code, errno, op: 'write' });
    t.equal(at.server.requests.length, 1, 'nothing asked again');
    t.match(at.counters, { bytes: 0, retries: 0 });
  }
});

t.test('a read that fails ends the upload with its errno', async (t) => {
  const io: RawIo = {
    read: () => Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' })),
    write: plainWrite,
  };
  const at = await openBench(t, { io });
  await t.rejects(at.upload({ content }), { code: 'EIO', errno: 5, op: 'read' });
  t.equal(at.server.blobs.size, 0);
});

t.test('an abort waits for the write under way, and nothing comes after it', async (t) => {
  const control = new AbortController();
  let begun = 0;
  let over = 0;
  let finishWrite = (): void => undefined;
  const held = new Promise<void>((resolve) => {
    finishWrite = resolve;
  });
  const io: RawIo = {
    read: noRead,
    async write(fd, from, position) {
      begun += 1;
      control.abort();
      await held;
      over += 1;
      return plainWrite(fd, from, position);
    },
  };
  const at = await openBench(t, { io });
  at.server.put('blob', content);
  let settled = false;
  const download = at.download({ sizeBytes: content.length, signal: control.signal }).finally(() => {
    settled = true;
  });
  const rejected = t.rejects(download, { code: 'ECANCELED', errno: 125 });
  await new Promise((resolve) => {
    control.signal.addEventListener('abort', resolve);
  });
  // A turn through the event loop's phases: long enough for a rejection that does not wait.
  await new Promise((resolve) => setImmediate(resolve));
  t.notOk(settled, 'still waiting for the write');
  finishWrite();
  await rejected;
  t.equal(over, begun, 'every write that began was over');
});

t.test('an abort ends requests that hang', async (t) => {
  for (const operation of ['Get Blob', 'Put Block', 'Put Block List'] as const) {
    const at = await openBench(t);
    at.server.put('blob', content);
    const { signal, abortSoon } = aborting();
    at.server.inject(operation, { stallAfter: 0, before: abortSoon }, Infinity);
    const running =
      operation === 'Get Blob'
        ? at.download({ sizeBytes: content.length, signal })
        : at.upload({ content, signal });
    await t.rejects(running, { code: 'ECANCELED', errno: 125 });
  }
});

t.test('aborted before it begins, nothing is asked', async (t) => {
  const at = await openBench(t);
  const signal = AbortSignal.abort();
  await t.rejects(at.download({ sizeBytes: 1, signal }), { code: 'ECANCELED' });
  await t.rejects(at.upload({ content, signal }), { code: 'ECANCELED' });
  t.equal(at.server.requests.length, 0);
});

t.test('an abort ends the wait between two tries', async (t) => {
  const at = await openBench(t, { retryDelayMs: 60_000 });
  const { signal, abortSoon } = aborting();
  at.server.put('blob', content);
  at.server.inject('Get Blob', { status: 503, code: 'ServerBusy' });
  // Counted just before the wait begins.
  Object.defineProperty(at.counters, 'retries', { get: () => 0, set: abortSoon });
  await t.rejects(at.download({ sizeBytes: content.length, signal }), { code: 'ECANCELED' });
});

t.test('closing the engine ends what is under way', async (t) => {
  const at = await openBench(t);
  at.server.put('blob', content);
  let closing: Promise<void> | undefined;
  at.server.inject('Get Blob', { stallAfter: 1, before: () => void (closing = at.engine.close()) });
  await t.rejects(at.download({ sizeBytes: content.length }), { code: 'ECANCELED' });
  await closing;
});

t.test('many transfers at once stay within the buffers, and all finish', async (t) => {
  let reading = 0;
  let peak = 0;
  const at = await openBench(t, {
    maxBufferBytes: 256 * KIB,
    io: {
      async read(_fd, into, position) {
        reading += into.length;
        peak = Math.max(peak, reading);
        await new Promise((resolve) => setImmediate(resolve));
        reading -= into.length;
        return content.copy(into, 0, position, position + into.length);
      },
      write: plainWrite,
    },
  });
  const names = Array.from({ length: 20 }, (_, index) => `blob ${index}`);
  await Promise.all(names.map((name) => at.upload({ name, content })));
  t.ok(names.every((name) => at.server.blobs.get(name)?.content.equals(content)));
  t.ok(peak <= 256 * KIB, `at most ${peak} bytes were being read into`);
});

t.test('a throttled account holds up no other', async (t) => {
  const at = await openBench(t);
  const elsewhere = await startFaultyBlobServer();
  t.teardown(() => elsewhere.stop());
  elsewhere.inject('Get Blob', { status: 503, code: 'ServerBusy', headers: { 'retry-after': '100' } });
  const { signal, abortSoon } = aborting();
  const counters = newCounters();
  const throttled = new Promise<void>((resolve) => {
    Object.defineProperty(counters, 'throttles', { get: () => 0, set: resolve });
  });
  const request = {
    blob: elsewhere.location('blob'),
    fd: -1,
    sizeBytes: 1,
    accept: () => undefined,
    counters,
  };
  const waiting = t.rejects(at.engine.download(request, signal), { code: 'ECANCELED' });
  await throttled;
  at.server.put('blob', content);
  await at.download({ sizeBytes: content.length });
  t.ok(at.target().equals(content));
  abortSoon();
  await waiting;
});

t.test('who pauses between two tries keeps no buffers from others', async (t) => {
  const at = await openBench(t, { maxBufferBytes: 128 * KIB, rangesPerFile: 1, retryDelayMs: 60_000 });
  const { signal, abortSoon } = aborting();
  at.server.put('blob', content);
  const isOf = (name: string) => (request: SeenRequest) => request.name.startsWith(name);
  at.server.inject('Put Block', { status: 502 }, Infinity, isOf('pausing'));
  at.server.inject('Get Blob', { status: 502 }, Infinity, isOf('pausing'));
  const counted = new Promise<void>((resolve) => {
    let retries = 0;
    Object.defineProperty(at.counters, 'retries', {
      get: () => retries,
      set: (value: number) => {
        retries = value;
        if (retries === 8) resolve();
      },
    });
  });
  const pausing = [1, 2, 3, 4].flatMap((nr) => [
    at.upload({ name: `pausing ${nr}`, content, signal }),
    at.download({ name: `pausing ${nr}`, sizeBytes: content.length, signal }),
  ]);
  const ended = Promise.allSettled(pausing);
  await counted;
  await at.upload({ name: 'other', content });
  await at.download({ sizeBytes: content.length });
  t.ok(at.server.blobs.get('other')?.content.equals(content));
  t.ok(at.target().equals(content));
  abortSoon();
  for (const result of await ended) t.match(result, { status: 'rejected', reason: { code: 'ECANCELED' } });
});

t.test('a service that is not there is UNREACHABLE', async (t) => {
  const at = await openBench(t);
  const gone = await startFaultyBlobServer();
  const blob = gone.location('blob');
  await gone.stop();
  const request = { blob, fd: -1, sizeBytes: 1, accept: () => undefined, counters: newCounters() };
  await t.rejects(at.engine.download(request, new AbortController().signal), {
    code: 'UNREACHABLE',
    errno: 11,
    retryable: true,
    hint: /URL/,
  });
});

t.test('a CA file of no use is told when the engine is made', (t) => {
  t.throws(() => createTransferEngine({ ...SMALL_SIZES, caFile: '/nowhere/ca.pem' }), {
    code: 'ENOENT',
    message: /\/nowhere\/ca\.pem/,
    hint: /ca_file/,
  });
  t.match(newCounters(), { bytes: 0, requests: 0 });
  t.end();
});

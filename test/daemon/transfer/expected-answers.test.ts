// Answers that are as expected are written without a word of the main thread; any other is judged before a byte is written.
import { closeSync, fstatSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { crcText } from '../../../daemon/transfer/crc-metadata.js';
import { WorkerCore } from '../../../daemon/transfer/worker/worker-core.js';
import type {
  DoneEvent,
  Expected,
  HeadEvent,
  WorkerEvent,
} from '../../../daemon/transfer/worker/messages.js';
import { crc64 } from '../../../native-bindings/crc64.js';
import { ETAG, rangeAnswer } from '../../helpers/raw-blob-answers.js';
import type { Script } from '../../helpers/raw-http-server.js';
import { KIB, MIB, pattern } from './bench.js';
import { openRawBench, type RawBench } from './raw-bench.js';

const small = pattern(5000);
const large = pattern(200 * KIB + 11);
const SPARSE = 'x-ms-meta-sparse';
const bare = ETAG.replaceAll('"', '');

type Headers = Readonly<Record<string, string | undefined>>;

/** Answers every request with these headers beside the right ones. */
function answering(content: Buffer, headers: Headers): Script {
  return async (connection) => {
    for (let next = await connection.request(); next; next = await connection.request()) {
      const answer = rangeAnswer(next, content, headers);
      await connection.send(Buffer.concat([Buffer.from(answer.head, 'latin1'), answer.body]));
    }
  };
}

interface Worker {
  readonly events: WorkerEvent[];
  /** Asks for all of it; resolves with the first event. */
  get(expected: Partial<Expected> | undefined): Promise<WorkerEvent>;
  /** What is in the file. */
  written(): Buffer;
  go(): Promise<WorkerEvent>;
}

let files = 0;

/** A worker without a main thread. */
async function openWorker(t: Test, content: Buffer, headers: Headers = {}): Promise<Worker> {
  const at = await openRawBench(t, 'HTTP');
  at.server.follow(answering(content, headers), answering(content, headers));
  const path = join(tmpdir(), `lhsm-expected-${process.pid}-${(files += 1)}`);
  const fd = openSync(path, 'w+');
  const events: WorkerEvent[] = [];
  let tell: (event: WorkerEvent) => void = () => undefined;
  const next = (): Promise<WorkerEvent> =>
    new Promise((resolve) => {
      tell = resolve;
    });
  const core = new WorkerCore(
    {
      downloadBytes: MIB,
      uploadBytes: MIB,
      stallTimeoutMs: 20_000,
      ca: undefined,
      fileCalls: 2,
      progress: new SharedArrayBuffer(8),
    },
    (event) => {
      events.push(event);
      tell(event);
    },
  );
  t.teardown(async () => {
    await core.close();
    closeSync(fd);
    rmSync(path);
  });
  const target = {
    origin: at.server.origin,
    path: '/account/container/blob',
    headers: `host: x\r\nx-ms-range: bytes=0-${content.length - 1}\r\n`,
  };
  return {
    events,
    get(expected) {
      const range = { start: 0, end: content.length, fileBytes: content.length };
      const event = next();
      const all = { etag: undefined, how: undefined, holesMetadata: undefined, ...expected };
      const asked = { expected: expected && all };
      core.handle({ type: 'get', id: 1, target, fd, slot: 0, ...range, ...asked });
      return event;
    },
    go() {
      const event = next();
      core.handle({ type: 'go', id: 1 });
      return event;
    },
    written: () => readFileSync(path),
  };
}

const isHead = (event: WorkerEvent): event is HeadEvent => event.type === 'head';

t.test('what is as expected is told once, when it is written', async (t) => {
  const crcHeader = { 'x-ms-meta-lhsm_crc64': crcText(5n) };
  const cases: readonly [Buffer, Partial<Expected>, Headers, bigint][] = [
    [small, {}, {}, 0n],
    [small, { etag: bare }, {}, 0n],
    [small, { etag: bare }, { etag: bare }, 0n],
    [small, { holesMetadata: 'sparse' }, crcHeader, crc64(small)],
    [small, { how: { crc: true } }, {}, crc64(small)],
    [large, { etag: bare, how: { crc: true } }, {}, crc64(large)],
    [large, { etag: bare, how: {} }, crcHeader, 0n],
  ];
  for (const [content, expected, headers, crc] of cases) {
    const worker = await openWorker(t, content, headers);
    const done = await worker.get(expected);
    t.match(done, { type: 'done', bytes: content.length, crc, answer: { status: 206 } });
    t.equal((done as DoneEvent).failure, undefined);
    t.equal(worker.events.length, 1, 'no head before');
    t.ok(worker.written().equals(content));
  }
});

t.test('what is not is told first, and not a byte is written until it is agreed to', async (t) => {
  const total = small.length;
  const cases: readonly [string, Partial<Expected> | undefined, Headers][] = [
    ['nothing was expected', undefined, {}],
    ['another version', { etag: bare }, { etag: '"0x8D2"' }],
    ['no version', {}, { etag: undefined }],
    ['an empty version', {}, { etag: '' }],
    ['another size', {}, { 'content-range': `bytes 0-${total - 1}/${total + 1}` }],
    ['another range', {}, { 'content-range': `bytes 1-${total}/${total}` }],
    ['a shorter range', {}, { 'content-range': `bytes 0-${total - 2}/${total}` }],
    ['no range', {}, { 'content-range': undefined }],
  ];
  for (const [what, expected, headers] of cases) {
    const worker = await openWorker(t, small, headers);
    const event = await worker.get(expected);
    t.ok(isHead(event), what);
    t.equal(worker.written().length, 0);
    t.match(await worker.go(), { type: 'done', bytes: total });
    t.ok(worker.written().equals(small));
  }
});

t.test('holes are kept where the answer says so', async (t) => {
  const zeros = Buffer.alloc(20_000);
  for (const [value, sparse] of [
    ['1', true],
    ['0', false],
    [undefined, false],
  ] as const) {
    const at = await openRawBench(t, 'HTTP');
    at.server.follow(answering(zeros, { [SPARSE]: value }));
    const path = join(tmpdir(), `lhsm-expected-holes-${process.pid}`);
    const fd = openSync(path, 'w+');
    await at.engine.download(
      {
        blob: at.server.location('blob'),
        fd,
        sizeBytes: zeros.length,
        holesMetadata: 'sparse',
        accept: () => undefined,
        counters: at.counters,
      },
      new AbortController().signal,
    );
    const { size, blocks } = fstatSync(fd);
    t.equal(size, zeros.length);
    t.equal(blocks * 512 < zeros.length, sparse);
    closeSync(fd);
    rmSync(path);
  }
});

/** A small blob, with threads and without; `headers` are its answers'. */
async function overAll(
  t: Test,
  headers: Headers,
  run: (at: RawBench, asked: () => number) => Promise<void>,
): Promise<void> {
  for (const workers of [0, 1]) {
    const at = await openRawBench(t, 'HTTP', { workers });
    let asked = 0;
    const script: Script = async (connection) => {
      for (let next = await connection.request(); next; next = await connection.request()) {
        asked += 1;
        const { head, body } = rangeAnswer(next, small, headers);
        await connection.send(Buffer.concat([Buffer.from(head, 'latin1'), body]));
      }
    };
    at.server.follow(script, script, script);
    await run(at, () => asked);
  }
}

t.test('who refuses what has been written gets back what it threw', async (t) => {
  // Append blobs are what the bench's `accept` refuses.
  await overAll(t, { 'x-ms-blob-type': 'AppendBlob' }, async (at, asked) => {
    await t.rejects(at.download({ sizeBytes: small.length }), { code: 'NOT_BLOCK_BLOB' });
    t.equal(asked(), 1, 'and it is not asked for again');
    t.equal(at.counters.bytes, 0, 'nothing of it counts');
    t.ok(at.target().equals(small), 'although it is there');
  });
});

t.test('of another version or size not a byte is written', async (t) => {
  await overAll(t, { etag: '"0x8D2"' }, async (at) => {
    await t.rejects(at.download({ sizeBytes: small.length, ifMatch: ETAG }), { code: 'BLOB_CHANGED' });
    t.equal(at.target().length, 0);
  });
  const longer = `bytes 0-${small.length - 1}/${small.length + 1}`;
  await overAll(t, { 'content-range': longer }, async (at) => {
    await t.rejects(at.download({ sizeBytes: small.length }), { code: 'SIZE_MISMATCH' });
    t.equal(at.target().length, 0);
  });
});

t.test('a checksum that does not fit is found', async (t) => {
  const wrong = crcText(crc64(small) ^ 1n);
  await overAll(t, { 'x-ms-meta-lhsm_crc64': wrong }, async (at) => {
    await t.rejects(at.download({ sizeBytes: small.length, ifMatch: ETAG }), { code: 'CHECKSUM_MISMATCH' });
  });
});

t.test('ranges behind the first break off and go on, each byte once, and summed', async (t) => {
  for (const workers of [0, 2]) {
    const at = await openRawBench(t, 'HTTP', { workers, blockSizeBytes: 64 * KIB, rangesPerFile: 2 });
    const ranges: string[] = [];
    const broken = new Set<string>();
    const script: Script = async (connection) => {
      for (let next = await connection.request(); next; next = await connection.request()) {
        const range = next.headers['x-ms-range'] ?? '';
        ranges.push(range);
        const { head, body } = rangeAnswer(next, large, { 'x-ms-meta-lhsm_crc64': crcText(crc64(large)) });
        await connection.send(head);
        if (range === 'bytes=65536-131071' && !broken.has(range)) {
          broken.add(range);
          await connection.send(body.subarray(0, 40_000));
          connection.end();
          return;
        }
        await connection.send(body);
      }
    };
    at.server.follow(...Array.from({ length: 8 }, () => script));
    await at.download({ sizeBytes: large.length });
    t.ok(at.target().equals(large));
    t.ok(ranges.includes('bytes=105536-131071'), 'only what was missing');
    t.match(at.counters, { bytes: large.length, retries: 1 });
  }
});

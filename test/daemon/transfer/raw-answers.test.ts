// Answers to GETs that no library would send: what is written is right in the end, what has arrived is not asked for again,
// and each byte is counted once.
import t from 'tap';
import { wireAddon } from '../../../native-bindings/wire-addon.js';
import { chunked, errorAnswer, head, rangeAnswer, rangeOf } from '../../helpers/raw-blob-answers.js';
import type { RawConnection, RawRequest, Script } from '../../helpers/raw-http-server.js';
import { KIB, pattern } from './bench.js';
import { openRawBench, overBoth } from './raw-bench.js';

/** One goes through slabs, the other stays behind its head. */
const large = pattern(200 * KIB + 123);
const small = pattern(5000);

const CHUNKS = { 'content-length': undefined, 'transfer-encoding': 'chunked' };

interface Fault {
  /** Answers the first request; connections end by themselves when it returns. */
  readonly send: (
    connection: RawConnection,
    answer: { head: string; body: Buffer },
    request: RawRequest,
  ) => Promise<void>;
  /** Where the next request of a large file begins; undefined: the first answer was good. */
  readonly resumesAt?: number;
  /** Or before: what was still on its way is lost with the connection. */
  readonly orBefore?: true;
  /** Whether a small file is asked for again; left out: as the large one. */
  readonly smallAgain?: boolean;
  /**
   * Where threads of C get small files: they leave this to the workers, without a word; `or not`: unless it is seen to be wrong
   * already, which depends on how much comes at once.
   */
  readonly elsewhere?: true | 'or not';
}

const faults: Readonly<Record<string, Fault>> = {
  'a reset within the body': {
    async send(connection, { head, body }) {
      await connection.send(head);
      await connection.send(body.subarray(0, 100_000 % body.length));
      connection.reset();
    },
    resumesAt: 100_000,
    orBefore: true,
  },
  'an end within the body': {
    async send(connection, { head, body }) {
      await connection.send(head);
      await connection.send(body.subarray(0, 100_000 % body.length));
      connection.end();
    },
    resumesAt: 100_000,
  },
  'an end within the head': {
    async send(connection, { head }) {
      await connection.send(head.slice(0, -1));
      connection.end();
    },
    resumesAt: 0,
  },
  'an end without a byte': {
    send(connection) {
      connection.end();
      return Promise.resolve();
    },
    resumesAt: 0,
  },
  'a body that stalls': {
    async send(connection, { head, body }) {
      await connection.send(head);
      await connection.send(body.subarray(0, 100_000 % body.length));
      await connection.closed();
    },
    resumesAt: 100_000,
  },
  'a head that stalls': {
    async send(connection, { head }) {
      await connection.send(head.slice(0, -1));
      await connection.closed();
    },
    resumesAt: 0,
  },
  'a body that is said to be shorter': {
    async send(connection, { body }, request) {
      const { head } = rangeAnswer(request, body, { 'content-length': String(body.length - 1) });
      await connection.send(head);
      await connection.send(body.subarray(1));
      await connection.closed();
    },
    resumesAt: 0,
  },
  'a body that is said to be longer': {
    async send(connection, { body }, request) {
      const { head } = rangeAnswer(request, body, { 'content-length': String(body.length + 1) });
      await connection.send(head);
      await connection.send(Buffer.concat([body, Buffer.from('x')]));
      await connection.closed();
    },
    resumesAt: 0,
  },
  'the whole of a longer blob for a range': {
    async send(connection, { body }) {
      const bytes = body.length + 10;
      await connection.send(head('200 OK', { 'content-length': String(bytes), etag: '"0x8D1"' }));
      await connection.send(pattern(bytes, 1));
      await connection.closed();
    },
    resumesAt: 0,
  },
  'another range than the one asked for': {
    async send(connection, { body }, request) {
      const range = `bytes 1-${body.length}/${body.length}`;
      await connection.send(rangeAnswer(request, body, { 'content-range': range }).head);
      await connection.send(pattern(body.length, 1));
      await connection.closed();
    },
    resumesAt: 0,
  },
  'a body in chunks': {
    async send(connection, { body }, request) {
      const { head } = rangeAnswer(request, body, CHUNKS);
      await connection.send(head);
      await connection.send(chunked(body, 7001));
    },
    elsewhere: true,
  },
  'a body in chunks that ends before its last chunk': {
    async send(connection, { body }, request) {
      const { head } = rangeAnswer(request, body, CHUNKS);
      await connection.send(head);
      await connection.send(chunked(body, 50_000).subarray(0, 100_000 % body.length));
      connection.end();
    },
    // Less the framing of two chunks.
    resumesAt: 99_986,
    elsewhere: true,
  },
  'a body in chunks, whole but for the last chunk': {
    async send(connection, { body }, request) {
      const { head } = rangeAnswer(request, body, CHUNKS);
      await connection.send(head);
      await connection.send(chunked(body, 50_000).subarray(0, -5));
      connection.end();
    },
    smallAgain: true,
    elsewhere: true,
  },
  'a body in chunks that is longer than its range': {
    async send(connection, { body }, request) {
      const { head } = rangeAnswer(request, body, CHUNKS);
      await connection.send(head);
      await connection.send(chunked(Buffer.concat([body, Buffer.from('more')]), body.length));
      await connection.closed();
    },
    smallAgain: true,
    elsewhere: true,
  },
  'an unknown coding': {
    async send(connection, { body }, request) {
      const { head } = rangeAnswer(request, body, { 'content-length': undefined, 'transfer-encoding': 'br' });
      await connection.send(head);
      await connection.send(body);
      await connection.closed();
    },
    resumesAt: 0,
  },
  'a head in single bytes': {
    async send(connection, { head, body }) {
      await connection.trickle(head);
      await connection.send(body);
    },
  },
  'a body that trickles': {
    async send(connection, { head, body }) {
      await connection.send(head);
      await connection.trickle(body, body === small ? 1 : 501);
    },
  },
  'interim answers before the real one': {
    async send(connection, { head, body }) {
      await connection.trickle(`HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n`);
      await connection.send(head);
      await connection.send(body);
    },
    elsewhere: true,
  },
  'a head of many bytes': {
    async send(connection) {
      await connection.send(`HTTP/1.1 206 Partial Content\r\nx: ${'y'.repeat(40_000)}`);
      await connection.closed();
    },
    resumesAt: 0,
  },
  'a head of many headers': {
    async send(connection) {
      await connection.send(`HTTP/1.1 206 Partial Content\r\n${'a: b\r\n'.repeat(2000)}\r\n`);
      await connection.closed();
    },
    resumesAt: 0,
  },
  'interim answers without end': {
    async send(connection) {
      for (let round = 0; round < 500; round += 1) await connection.send('HTTP/1.1 100 Continue\r\n\r\n');
      await connection.closed();
    },
    resumesAt: 0,
    elsewhere: 'or not',
  },
  'another protocol': {
    async send(connection) {
      await connection.send('SSH-2.0-OpenSSH_9.2\r\n');
      await connection.closed();
    },
    resumesAt: 0,
  },
  'a busy service': {
    send: (connection) => connection.send(errorAnswer('503 Busy', 'ServerBusy', { 'retry-after': '0' })),
    resumesAt: 0,
  },
  'a refusal longer than anybody reads': {
    async send(connection) {
      await connection.send(head('500 Error', { 'transfer-encoding': 'chunked' }));
      await connection.send(chunked(Buffer.alloc(200_000), 1000));
      await connection.closed();
    },
    resumesAt: 0,
    elsewhere: true,
  },
  'a refusal in chunks': {
    async send(connection) {
      const body = errorAnswer('x', 'OperationTimedOut').split('\r\n\r\n')[1] ?? '';
      await connection.send(head('500 Error', { 'transfer-encoding': 'chunked' }));
      await connection.trickle(chunked(Buffer.from(body, 'latin1'), 3), 5);
    },
    resumesAt: 0,
    elsewhere: true,
  },
};

overBoth('faults', async (t, scheme) => {
  for (const [what, { send, resumesAt, orBefore, smallAgain, elsewhere: asked }] of Object.entries(faults)) {
    for (const content of [large, small]) {
      await t.test(`${what}, ${content.length} bytes`, async (t) => {
        const at = await openRawBench(t, scheme, { stallTimeoutMs: what.includes('stalls') ? 500 : 20_000 });
        const { server } = at;
        server.content = content;
        server.follow(async (connection) => {
          const request = await connection.request();
          if (!request) return;
          await send(connection, rangeAnswer(request, content), request);
          await server.serve(connection);
        });
        await at.download({ sizeBytes: content.length });
        t.ok(at.target().equals(content), 'the right bytes');
        t.equal(at.counters.bytes, content.length, 'each counted once');
        const elsewhere = wireAddon() ? asked : undefined;
        const again =
          resumesAt !== undefined || (content === small && smallAgain === true) || elsewhere !== undefined;
        const retries = elsewhere === 'or not' ? [0, 1] : [again && !elsewhere ? 1 : 0];
        t.ok(retries.includes(at.counters.retries), `${at.counters.retries} retries`);
        const [next] = server.requests;
        const from = next && rangeOf(next, content.length).start;
        const expected = again ? (content === large && !elsewhere ? resumesAt : 0) : undefined;
        if (orBefore) t.ok(from !== undefined && from <= (expected ?? -1), 'the rest is asked for');
        else t.equal(from, expected, 'the rest is asked for');
        await at.download({ sizeBytes: content.length });
        t.ok(at.target().equals(content), 'and the next one is fine');
      });
    }
  }
});

t.test('206 for a blob that was asked for whole, because it is empty', async (t) => {
  const at = await openRawBench(t, 'HTTP');
  at.server.follow(async (connection) => {
    await connection.request();
    await connection.send(
      head('206 Partial', { 'content-length': '0', 'content-range': 'bytes 0-0/0', etag: '"1"' }),
    );
    await at.server.serve(connection);
  });
  await at.download({ sizeBytes: 0 });
  t.equal(at.counters.retries, 1);
});

t.test('200 with the whole is as good as 206 with the whole', async (t) => {
  const at = await openRawBench(t, 'HTTP');
  at.server.follow(async (connection) => {
    await connection.request();
    await connection.send(rangeAnswer({ headers: {} }, large).head);
    await connection.send(large);
  });
  await at.download({ sizeBytes: large.length });
  t.ok(at.target().equals(large));
  t.equal(at.counters.requests, 1);
});

t.test('what no second try mends is told by the code in a body in chunks', async (t) => {
  const cases = [
    ['404 Not Found', 'BlobNotFound', { code: 'BLOB_MISSING', errno: 2 }],
    ['404 Not Found', 'ContainerNotFound', { code: 'CONTAINER_MISSING', errno: 2 }],
    ['409 Conflict', 'BlobArchived', { code: 'BLOB_ARCHIVED', errno: 5 }],
    ['412 Precondition Failed', 'ConditionNotMet', { code: 'BLOB_CHANGED', errno: 116 }],
    ['416 Range Not Satisfiable', 'InvalidRange', { code: 'SIZE_MISMATCH', errno: 5 }],
  ] as const;
  for (const [status, code, error] of cases) {
    const at = await openRawBench(t, 'HTTP');
    const refuse: Script = async (connection) => {
      await connection.request();
      const body = errorAnswer('x', code).split('\r\n\r\n')[1] ?? '';
      await connection.send(head(status, { 'transfer-encoding': 'chunked' }));
      await connection.send(chunked(Buffer.from(body, 'latin1'), 10));
      await connection.closed();
    };
    // By who reads chunks, once more.
    at.server.follow(refuse, refuse);
    await t.rejects(at.download({ sizeBytes: large.length }), error);
    t.equal(at.counters.requests, 1, 'asked once');
    t.equal(at.target().length, 0);
  }
});

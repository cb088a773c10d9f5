// Answers to PUTs that come at the wrong time, or say the wrong thing.
import t from 'tap';
import type { RawIo } from '../../../daemon/transfer/file-io.js';
import { errorAnswer, ETAG, head } from '../../helpers/raw-blob-answers.js';
import type { Script } from '../../helpers/raw-http-server.js';
import { KIB, MIB, pattern } from './bench.js';
import { openRawBench, overBoth } from './raw-bench.js';

/** More than the kernel's buffers take in for a peer that does not read. */
const large = pattern(24 * MIB);
const small = pattern(50_000);
const HELD = { blockSizeBytes: 32 * MIB, putBlobMaxBytes: 32 * MIB, maxBufferBytes: 128 * MIB };
const STREAMED = { blockSizeBytes: 32 * MIB, putBlobMaxBytes: MIB, maxBufferBytes: 4 * MIB };
const PATH = '/account/container/blob';

/** Answers when the head has come, and reads no more. */
const early =
  (answer: string): Script =>
  async (connection) => {
    await connection.head();
    connection.stopReading();
    await connection.send(answer);
    await connection.closed();
  };

for (const [what, options] of [
  ['a block held whole', HELD],
  ['a block sent as it is read', STREAMED],
] as const) {
  overBoth(`refused early: ${what}`, async (t, scheme) => {
    const busy = await openRawBench(t, scheme, options);
    busy.server.follow(early(errorAnswer('503 Busy', 'ServerBusy', { 'retry-after': '0' })));
    await busy.upload({ content: large });
    t.ok(busy.server.blobs.get(PATH)?.content.equals(large), 'sent again');
    t.match(busy.counters, { bytes: large.length, retries: 1, throttles: 1 });
    const forbidden = await openRawBench(t, scheme, options);
    const answer = errorAnswer('403 Forbidden', 'AuthenticationFailed');
    forbidden.server.follow(early(answer), early(answer), early(answer));
    await t.rejects(forbidden.upload({ content: large }), { code: 'FORBIDDEN', errno: 13 });
    t.match(forbidden.counters, { bytes: 0, requests: 2, retries: 1 }, 'once more with a new credential');
  });

  overBoth(`thanked for early: ${what}`, async (t, scheme) => {
    const at = await openRawBench(t, scheme, options);
    at.server.follow(early(head('201 Created', { 'content-length': '0', etag: ETAG })));
    await at.upload({ content: large });
    t.ok(at.server.blobs.get(PATH)?.content.equals(large), 'not believed, sent again');
    t.match(at.counters, { bytes: large.length, retries: 1 });
  });
}

overBoth('100 Continue before the answer', async (t, scheme) => {
  const at = await openRawBench(t, scheme);
  at.server.follow(async (connection) => {
    await connection.send('HTTP/1.1 100 Continue\r\n\r\n');
    const request = await connection.request();
    if (!request) return;
    await connection.trickle('HTTP/1.1 102 Processing\r\n\r\n');
    await connection.trickle(at.server.perform(request));
  });
  await at.upload({ content: small });
  t.ok(at.server.blobs.get(PATH)?.content.equals(small));
  t.equal(at.counters.retries, 0);
});

overBoth('only 201 says that something was made', async (t, scheme) => {
  for (const [what, options] of [
    ['Put Blob', {}],
    ['Put Block', { putBlobMaxBytes: KIB }],
  ] as const) {
    for (const status of ['200 OK', '202 Accepted', '204 No Content', '206 Partial Content']) {
      const at = await openRawBench(t, scheme, options);
      const answers = { 'content-length': '0', etag: ETAG };
      at.server.follow(async (connection) => {
        await connection.request();
        await connection.send(head(status, answers));
        await at.server.serve(connection);
      });
      await at.upload({ content: small });
      t.ok(at.server.blobs.get(PATH)?.content.equals(small), `${what}: ${status}`);
      t.equal(at.counters.retries, 1);
    }
  }
});

t.test('a Put Blob whose answer has no ETag is tried again', async (t) => {
  const at = await openRawBench(t, 'HTTP');
  at.server.follow(async (connection) => {
    await connection.request();
    await connection.send(head('201 Created', { 'content-length': '0' }));
    await at.server.serve(connection);
  });
  await at.upload({ content: small });
  t.ok(at.server.blobs.get(PATH)?.content.equals(small));
  t.equal(at.counters.retries, 1);
});

t.test('an upload that is aborted while nobody reads it ends', async (t) => {
  const at = await openRawBench(t, 'HTTP', HELD);
  const control = new AbortController();
  at.server.follow(async (connection) => {
    await connection.head();
    connection.stopReading();
    control.abort();
    await connection.closed();
  });
  await t.rejects(at.upload({ content: large, signal: control.signal }), { code: 'ECANCELED' });
  t.equal(at.server.blobs.size, 0);
});

t.test('a file that is slow to read is not a stall of the peer', async (t) => {
  const stallTimeoutMs = 500;
  const content = pattern(5 * MIB);
  const io: RawIo = {
    async read(_fd, into, position) {
      if (position === 2 * MIB) await new Promise((resolve) => setTimeout(resolve, 3 * stallTimeoutMs));
      return content.copy(into, 0, position, position + into.length);
    },
    write: () => Promise.reject(new Error('nothing is written here')),
  };
  const at = await openRawBench(t, 'HTTP', { ...STREAMED, stallTimeoutMs, io });
  await at.upload({ content });
  t.ok(at.server.blobs.get(PATH)?.content.equals(content));
  t.equal(at.counters.retries, 0);
});

t.test('a peer that stops reading in the middle is a stall', async (t) => {
  const at = await openRawBench(t, 'HTTP', { ...HELD, stallTimeoutMs: 500 });
  at.server.follow(async (connection) => {
    await connection.head();
    connection.stopReading();
    await connection.closed();
  });
  await at.upload({ content: large });
  t.ok(at.server.blobs.get(PATH)?.content.equals(large));
  t.equal(at.counters.retries, 1);
});

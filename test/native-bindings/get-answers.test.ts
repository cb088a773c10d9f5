// What the threads that get small blobs take for content, response-parser.ts and range-answer.ts would have taken as well, with
// the same bytes; whatever else comes leaves the file alone.
import fc from 'fast-check';
import t from 'tap';
import { howIfExpected } from '../../daemon/transfer/worker/expected.js';
import type { GetCommand } from '../../daemon/transfer/worker/messages.js';
import { parseHead } from '../../daemon/transfer/worker/response-parser.js';
import { crc64 } from '../../native-bindings/crc64.js';
import { serve, start, target } from './get-links.js';

const BYTES = 20;
const holesHeader = 'x-ms-meta-holes';

const header = fc.constantFrom(
  ...['ETag: "0x1"', 'etag: 0x1', 'ETag: "0x2"', 'ETag:', 'ETag: ""', 'Etag : "0x1"'],
  ...['Content-Range: bytes 0-19/20', 'Content-Range: bytes 0-19/21', 'content-range:bytes 1-20/21'],
  ...[
    'Content-Length: 20',
    'content-length:\t20 ',
    'Content-Length: 19',
    'Content-Length: +20',
    'Content-Length: 20,20',
  ],
  ...['Transfer-Encoding: chunked', 'Transfer-Encoding: identity', 'Connection: close', 'X-Other: \xe9'],
  ...[
    'X-Ms-Meta-Holes: 1',
    'x-ms-meta-holes: 11',
    'x-ms-meta-a: 1',
    'X-MS-Meta-A: 2',
    'Last-Modified: x',
    ' folded',
    'no colon',
    'bad\nline: 1',
    'nul: \0',
    ': none',
  ],
);
const status = fc.constantFrom(
  '206 Partial Content',
  '200 OK',
  '206',
  '404 No',
  '100 Continue',
  '2066',
  '999 X',
  '204 N',
);
const good = ['ETag: "0x1"', 'Content-Range: bytes 0-19/20', 'Content-Length: 20'];
const change = fc.record({
  at: fc.nat(200),
  byte: fc.constantFrom(0, 10, 13, 32, 34, 48, 58, 127, 128, 255),
});
const answer = fc.record({
  version: fc.constantFrom('HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0', 'http/1.1'),
  status: fc.oneof({ weight: 3, arbitrary: fc.constant('206 Partial Content') }, status),
  headers: fc.oneof(
    fc
      .shuffledSubarray(good, { minLength: 2 })
      .chain((some) => fc.array(header, { maxLength: 2 }).map((more) => [...some, ...more])),
    fc.array(header, { maxLength: 5 }),
  ),
  body: fc.oneof(
    fc.constant(Buffer.alloc(BYTES)),
    fc.uint8Array({ minLength: BYTES, maxLength: BYTES }),
    fc.uint8Array({ maxLength: 25 }),
  ),
  changes: fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, fc.array(change, { maxLength: 2 })),
  pieces: fc.integer({ min: 1, max: 300 }),
  etag: fc.constantFrom('0x1', undefined),
});

/** The content, if it is any, as JavaScript reads it. */
function asJavaScript(
  bytes: Buffer,
  etag: string | undefined,
): { body: Buffer; keepHoles: boolean } | undefined {
  try {
    const parsed = parseHead(bytes);
    if (!parsed || (parsed.head.status !== 200 && parsed.head.status !== 206)) return undefined;
    const command = {
      start: 0,
      end: BYTES,
      fileBytes: BYTES,
      expected: { etag, how: undefined, holesMetadata: 'holes' },
    };
    const how = howIfExpected(parsed.head, command as unknown as GetCommand);
    const body = bytes.subarray(parsed.bytes);
    if (!how || parsed.head.framing.kind !== 'length' || body.length !== parsed.head.framing.bytes)
      return undefined;
    return { body, keepHoles: how.keepHoles === true };
  } catch {
    return undefined;
  }
}

t.test('any answer', async (t) => {
  let bytes = Buffer.alloc(0);
  let piece = 1;
  let contents = 0;
  const { route } = await serve(t, 'plain', ({ socket }) => {
    for (let at = 0; at < bytes.length; at += piece) socket.write(bytes.subarray(at, at + piece));
    socket.end();
  });
  await fc.assert(
    fc.asyncProperty(answer, async ({ version, status, headers, body, changes, pieces, etag }) => {
      const head = [`${version} ${status}`, ...headers, '', ''].join('\r\n');
      bytes = Buffer.concat([Buffer.from(head, 'latin1'), body]);
      for (const { at, byte } of changes) if (at < bytes.length) bytes[at] = byte;
      piece = pieces;
      const file = target(t, BYTES);
      const end = await start(route, { file: file.fd, bytes: BYTES, etag, holesHeader }).ended;
      if (end.outcome !== 'whole' || !end.isContent) {
        return file.content().equals(Buffer.alloc(BYTES, 0xff));
      }
      contents += 1;
      const expected = asJavaScript(bytes, etag);
      if (!expected || end.crc !== crc64(expected.body)) return false;
      const written = Buffer.from(expected.body);
      if (expected.keepHoles && written.every((byte) => byte === 0)) written.fill(0xff, 0, BYTES - 1);
      return file.content().equals(written);
    }),
    { numRuns: 5000, interruptAfterTimeLimit: 3000 },
  );
  t.ok(contents > 10, `${contents} were content`);
});

// Arbitrary bytes never hang the parser, and it throws nothing but BadAnswer; arbitrary valid heads are read as meant.
import fc from 'fast-check';
import t from 'tap';
import { BadAnswer, ChunkDecoder, parseHead } from '../../../../daemon/transfer/worker/response-parser.js';

const timeBox = { interruptAfterTimeLimit: 3000, numRuns: 3000 };

/** Pieces that a parser may stumble over, and bytes between them. */
const piece = fc.oneof(
  fc
    .constantFrom(
      'HTTP/1.1 200 OK\r\n',
      'HTTP/1.1 100 Continue\r\n\r\n',
      'HTTP/1.0 503 \r\n',
      'HTTP/1.1 ',
      'content-length: 5\r\n',
      'Content-Length:',
      'transfer-encoding: chunked\r\n',
      'connection: close\r\n',
      'etag: "1"\r\n',
      'x-ms-meta-a:',
      '\r\n',
      '\r\n\r\n',
      '\n',
      '\r',
      ' ',
      '\0',
      ':',
      '0\r\n\r\n',
      '5\r\nhello\r\n',
      ';',
    )
    .map((text) => Buffer.from(text)),
  fc.uint8Array({ maxLength: 10 }).map((bytes) => Buffer.from(bytes)),
);
const bytes = fc.array(piece, { maxLength: 20 }).map((pieces) => Buffer.concat(pieces));

/** What comes of it, and that it is one of what may come. */
function outcome(run: () => unknown): unknown {
  try {
    return run();
  } catch (error) {
    if (error instanceof BadAnswer) return error.message;
    throw error;
  }
}

t.test('heads of anything', (t) => {
  fc.assert(
    fc.property(bytes, (input) => {
      const parsed = outcome(() => parseHead(input));
      if (parsed === undefined || typeof parsed === 'string') return true;
      const { bytes, head } = parsed as NonNullable<ReturnType<typeof parseHead>>;
      const end = input.indexOf('\r\n\r\n', 0, 'latin1');
      return (
        bytes <= input.length && bytes >= end + 4 && head.status >= 200 && JSON.stringify(head).length > 0
      );
    }),
    timeBox,
  );
  t.end();
});

t.test('what a shorter piece is refused for, a longer one is, too', (t) => {
  fc.assert(
    fc.property(bytes, fc.nat(200), (input, length) => {
      const early = outcome(() => parseHead(input.subarray(0, length)));
      const late = outcome(() => parseHead(input));
      if (early === undefined) return true;
      if (typeof early === 'string') return typeof late === 'string';
      return JSON.stringify(late) === JSON.stringify(early);
    }),
    timeBox,
  );
  t.end();
});

t.test('chunks of anything, in any pieces, give the same', (t) => {
  const feed = (pieces: readonly Buffer[]): unknown => {
    const decoder = new ChunkDecoder();
    const isDone = (): boolean => decoder.done;
    let content = '';
    let used = 0;
    const failure = outcome(() => {
      for (const each of pieces) {
        if (isDone()) break;
        const taken = decoder.feed(each, (part) => (content += part.toString('latin1')));
        used += taken;
        if (taken !== each.length && !isDone()) throw new Error('stopped before it was done');
      }
      return undefined;
    });
    // Where it fails, how far it came depends on the pieces.
    return failure === undefined ? JSON.stringify([content, used, isDone()]) : 'refused';
  };
  fc.assert(
    fc.property(bytes, (input) => {
      const single = Array.from(input, (byte) => Buffer.of(byte));
      return feed([input]) === feed(single);
    }),
    timeBox,
  );
  t.end();
});

const token = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}$/);
const value = fc.stringMatching(
  /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]{0,30}[\x21-\x7e\x80-\xff])?)?$/,
);
const blanks = fc.stringMatching(/^[ \t]{0,3}$/);

t.test('valid heads are read as they were meant', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 200, max: 599 }),
      fc.uniqueArray(fc.tuple(token, value, blanks, blanks), {
        selector: ([name]) => name.toLowerCase(),
        maxLength: 20,
      }),
      fc.option(fc.nat(), { nil: undefined }),
      fc.uint8Array({ maxLength: 10 }),
      (status, metadata, length, body) => {
        const lines = metadata.map(
          ([name, text, before, behind]) => `X-ms-Meta-${name}:${before}${text}${behind}`,
        );
        lines.push(length === undefined ? 'transfer-encoding: chunked' : `content-length: ${length}`);
        const text = `HTTP/1.1 ${status} Reason\r\n${lines.join('\r\n')}\r\n\r\n`;
        const parsed = parseHead(Buffer.concat([Buffer.from(text, 'latin1'), body]));
        const wanted = Object.fromEntries(
          metadata.map(([name, text]) => [`x-ms-meta-${name.toLowerCase()}`, text]),
        );
        const same = (a: object, b: object): boolean =>
          JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort());
        return (
          parsed?.bytes === text.length &&
          parsed.head.status === status &&
          parsed.head.keepAlive &&
          same(parsed.head.headers, wanted) &&
          (length === undefined
            ? parsed.head.framing.kind === 'chunked'
            : status === 204 || status === 304 || parsed.head.lengthBytes === length)
        );
      },
    ),
    timeBox,
  );
  t.end();
});

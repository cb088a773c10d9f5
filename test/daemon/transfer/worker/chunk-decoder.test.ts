// Chunked bodies: any split of any chunking gives the content, and nothing behind the body is touched.
import fc from 'fast-check';
import t from 'tap';
import { BadAnswer, ChunkDecoder } from '../../../../daemon/transfer/worker/response-parser.js';

const timeBox = { interruptAfterTimeLimit: 2000, numRuns: 300 };

function decode(pieces: readonly Uint8Array[]): { content: Buffer; used: number; done: boolean } {
  const decoder = new ChunkDecoder();
  const content: Buffer[] = [];
  let used = 0;
  for (const piece of pieces) {
    if (decoder.done) break;
    used += decoder.feed(Buffer.from(piece), (bytes) => content.push(Buffer.from(bytes)));
  }
  return { content: Buffer.concat(content), used, done: decoder.done };
}

const decodeText = (text: string): ReturnType<typeof decode> => decode([Buffer.from(text, 'latin1')]);

/** `bytes` cut at each of these places. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end));
}

const sizeLine = fc.tuple(
  fc.boolean(),
  fc.nat({ max: 3 }),
  fc.constantFrom('', ' ', '\t', ';a=b', ' ;x="y;z"'),
);
const chunk = fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 300 }), sizeLine);
const trailers = fc.array(fc.constantFrom('a: b', 'x-ms-meta-a: 1', ':'), { maxLength: 3 });

t.test('any chunking, split anywhere', (t) => {
  fc.assert(
    fc.property(
      fc.array(chunk, { maxLength: 8 }),
      trailers,
      fc.array(fc.nat(5000), { maxLength: 20 }),
      fc.uint8Array({ maxLength: 30 }),
      (chunks, lines, places, behind) => {
        const parts = chunks.flatMap(([bytes, [upper, zeros, more]]) => {
          const hex = '0'.repeat(zeros) + bytes.length.toString(16);
          const line = (upper ? hex.toUpperCase() : hex) + more;
          return [Buffer.from(`${line}\r\n`), bytes, Buffer.from('\r\n')];
        });
        const tail = Buffer.from(`0\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`);
        const body = Buffer.concat([...parts, tail]);
        const { content, used, done } = decode(cut(Buffer.concat([body, behind]), places));
        const expected = Buffer.concat(chunks.map(([bytes]) => bytes));
        return done && used === body.length && content.equals(expected);
      },
    ),
    timeBox,
  );
  t.end();
});

t.test('byte by byte', (t) => {
  const body = Buffer.from('5\r\nhello\r\n1;x\r\n!\r\n0\r\ntrailer: 1\r\n\r\n');
  const { content, done } = decode([...body].map((byte) => Buffer.of(byte)));
  t.ok(done);
  t.equal(content.toString(), 'hello!');
  t.end();
});

t.test('it is not done before its last line is whole', (t) => {
  for (const text of ['', '0', '0\r\n', '0\r\na: b\r\n', '0\r\n\r', '5\r\nhello', '5\r\nhello\r\n'])
    t.notOk(decodeText(text).done, JSON.stringify(text));
  t.end();
});

t.test('odd chunks are refused', (t) => {
  const odd: Readonly<Record<string, string>> = {
    'no size': '\r\nhello',
    'a size that is none': 'xyz\r\n',
    'a negative size': '-1\r\n',
    'a size with 0x': '0x5\r\nhello\r\n',
    'a blank before the size': ' 5\r\nhello\r\n',
    'a size beyond all files': 'fffffffffffff\r\n',
    'something behind the size': '5 hello\r\nhello\r\n',
    'a size ended by LF alone': '5\nhello\r\n',
    'CR within a size': '5\r;a\r\nhello\r\n',
    'a chunk longer than its size': '4\r\nhello\r\n',
    'a chunk ended by LF alone': '5\r\nhello\n0\r\n\r\n',
    'a chunk with no end': '5\r\nhello0\r\n\r\n',
    'a trailer ended by LF alone': '0\r\na: b\n\r\n',
    'a size line that does not end': `5;${'x'.repeat(5000)}`,
    'a chunk end that does not end': `5\r\nhello${'x'.repeat(5000)}`,
    'a trailer that does not end': `0\r\n${'x'.repeat(5000)}`,
    'trailers without end': `0\r\n${'a: b\r\n'.repeat(20_000)}`,
  };
  for (const [what, text] of Object.entries(odd)) t.throws(() => decodeText(text), BadAnswer, what);
  t.end();
});

t.test('an endless line in small pieces is refused as well', (t) => {
  const decoder = new ChunkDecoder();
  const piece = Buffer.from(';'.repeat(100));
  decoder.feed(Buffer.from('5'), () => undefined);
  let fed = 0;
  t.throws(() => {
    for (; fed < 1_000_000; fed += piece.length) decoder.feed(piece, () => undefined);
  }, BadAnswer);
  t.ok(fed < 5000);
  t.end();
});

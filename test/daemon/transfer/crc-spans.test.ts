// The CRC of a file from the CRCs of its pieces, and how metadata have it.
import fc from 'fast-check';
import t from 'tap';
import { crcOf, crcText } from '../../../daemon/transfer/crc-metadata.js';
import { CrcSpans } from '../../../daemon/transfer/crc-spans.js';
import { crc64 } from '../../../native-bindings/crc64.js';

const timeBox = { interruptAfterTimeLimit: 2000, numRuns: 300 };

/** Content, the places where it is cut, and an order for the pieces. */
const partition = fc
  .tuple(fc.uint8Array({ maxLength: 400 }), fc.array(fc.nat(400), { maxLength: 12 }))
  .chain(([content, places]) => {
    const cuts = [0, ...places.filter((at) => at <= content.length).sort((a, b) => a - b), content.length];
    const pieces = cuts.slice(1).map((end, index) => ({ start: cuts[index] ?? 0, end }));
    return fc.record({
      content: fc.constant(content),
      pieces: fc.shuffledSubarray(pieces, { minLength: pieces.length }),
    });
  });

t.test('any order of any partition gives the CRC of the whole', (t) => {
  fc.assert(
    fc.property(partition, ({ content, pieces }) => {
      const spans = new CrcSpans();
      for (const { start, end } of pieces) spans.add(start, end, crc64(content.subarray(start, end)));
      return spans.total(content.length) === crc64(content);
    }),
    timeBox,
  );
  t.end();
});

t.test('as long as anything is missing, there is none', (t) => {
  fc.assert(
    fc.property(partition, ({ content, pieces }) => {
      const spans = new CrcSpans();
      const real = pieces.filter(({ start, end }) => end > start);
      for (const { start, end } of real) {
        if (spans.total(content.length) !== undefined) return false;
        spans.add(start, end, crc64(content.subarray(start, end)));
      }
      return spans.total(content.length) !== undefined && spans.total(content.length + 1) === undefined;
    }),
    timeBox,
  );
  const spans = new CrcSpans();
  t.equal(spans.total(0), 0n, 'of nothing it is zero');
  t.equal(spans.total(1), undefined);
  spans.add(1, 2, 5n);
  t.equal(spans.total(2), undefined, 'the first byte is missing');
  t.end();
});

t.test('in metadata: base64, the lowest byte first, and only what is one is taken for one', (t) => {
  t.equal(crcText(0n), 'AAAAAAAAAAA=');
  t.equal(crcText(1n), 'AQAAAAAAAAA=');
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (crc) => crcOf(crcText(crc)) === crc),
    timeBox,
  );
  const none = [
    '',
    'AAAAAAAAAAA',
    'AAAAAAAAAAAA',
    'AAAAAAAAAA==',
    '0123456789abcdef',
    'AAAAAAAAAA!=',
    ' AAAAAAAAAAA=',
  ];
  for (const text of none) t.equal(crcOf(text), undefined, JSON.stringify(text));
  t.equal(crcOf(undefined), undefined);
  t.end();
});

// Header lines: whatever stands in a value, no other header can begin in it.
import fc from 'fast-check';
import t from 'tap';
import { conditionLines, headerValue, metadataLines } from '../../../daemon/transfer/header-lines.js';

t.test('lines as they go out', (t) => {
  t.equal(metadataLines({}), '');
  t.equal(metadataLines({ Owner: '1', path: 'a b' }), 'x-ms-meta-Owner: 1\r\nx-ms-meta-path: a b\r\n');
  t.equal(conditionLines(undefined), '');
  t.equal(conditionLines('absent'), 'if-none-match: *\r\n');
  t.equal(conditionLines({ etag: '"0x8D"' }), 'if-match: "0x8D"\r\n');
  t.end();
});

t.test('what cannot stand in a header is refused, shown so that it can be read', (t) => {
  const refused = { code: 'REFUSED', errno: 22 };
  for (const bad of ['a\r\nb: c', 'a\nb', 'a\rb', 'a\0', 'é', '\u2028', '\x7f']) {
    t.throws(() => headerValue(bad), refused, encodeURIComponent(bad));
    t.throws(() => metadataLines({ key: bad }), refused);
    t.throws(() => metadataLines({ [bad]: 'value' }), refused);
    t.throws(() => conditionLines({ etag: bad }), refused);
  }
  t.throws(() => headerValue('a\r\nb'), { message: '"a\\r\\nb" cannot be sent in a header.' });
  t.end();
});

t.test('any text makes one line, or none', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      let line: string;
      try {
        line = metadataLines({ key: text });
      } catch {
        return /[^\x20-\x7e]/.test(text);
      }
      return line === `x-ms-meta-key: ${text}\r\n` && line.split(/[\r\n]/).length === 3;
    }),
    { interruptAfterTimeLimit: 2000, numRuns: 500 },
  );
  t.end();
});

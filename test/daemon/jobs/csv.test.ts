// CSV: what is written is read again as it was, in pieces of any size, and is no formula to a spreadsheet.
import fc from 'fast-check';
import t from 'tap';
import { CsvParser, csvRecord } from '../../../daemon/jobs/csv.js';

t.test('records are as RFC 4180 has them, and no cell is a formula', (t) => {
  t.equal(csvRecord(['a', 'b c', '']), 'a,b c,\r\n');
  t.equal(csvRecord(['a,b', 'say "x"', 'two\nlines']), '"a,b","say ""x""","two\nlines"\r\n');
  t.equal(csvRecord(['=1+1', '+1', '-1', '@x', '\tx', "'=x", "'x"]), "'=1+1,'+1,'-1,'@x,'\tx,''=x,'x\r\n");
  t.same(new CsvParser().push('"a"\r\n\r\nhalf'), [['a'], ['']]);
  t.end();
});

t.test('any cells come back, whatever the pieces', (t) => {
  const awkward = fc.constantFrom('"', ',', '\r', '\n', '=', "'", '-', '@', 'ü', '😀', 'a', ' ');
  const cells = fc.array(fc.string({ unit: awkward, maxLength: 8 }), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(fc.array(cells, { maxLength: 5 }), fc.integer({ min: 1, max: 7 }), (records, size) => {
      const text = Array.from(records.map(csvRecord).join(''));
      const parser = new CsvParser();
      const read: string[][] = [];
      for (let at = 0; at < text.length; at += size) {
        read.push(...parser.push(text.slice(at, at + size).join('')));
      }
      t.same(read, records);
    }),
    { numRuns: 200 },
  );
  fc.assert(
    fc.property(cells, (each) => {
      const [record = []] = new CsvParser().push(csvRecord(each.map((cell) => `=${cell}`)));
      t.same(
        record,
        each.map((cell) => `=${cell}`),
      );
      for (const cell of each) t.notMatch(csvRecord([cell, 'x']), /^"?[=+\-@\t\r]/);
    }),
    { numRuns: 100 },
  );
  t.end();
});

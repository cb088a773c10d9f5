import t from 'tap';
import { coresFor, median, ratio, rotated, significant, spread } from './statistics.js';

t.test('the median is the middle value, or between the two in the middle', (t) => {
  t.equal(median([3, 1, 2]), 2);
  t.equal(median([4, 1, 3, 2]), 2.5);
  t.equal(median([7]), 7);
  t.equal(median([10, 9, 100]), 10, 'numbers, not text, are sorted');
  t.throws(() => median([]), RangeError);
  t.end();
});

t.test('a spread does not change its values', (t) => {
  const values = [5, 1, 3];
  t.strictSame(spread(values), { min: 1, median: 3, max: 5 });
  t.strictSame(values, [5, 1, 3]);
  t.end();
});

t.test('a ratio of what is not there is none', (t) => {
  t.equal(ratio(3, 2), 1.5);
  t.equal(ratio(undefined, 2), undefined);
  t.equal(ratio(1, undefined), undefined);
  t.equal(ratio(1, 0), undefined);
  t.end();
});

t.test('each round begins with another one, and leaves nobody out', (t) => {
  const rounds = [0, 1, 2, 3].map((round) => rotated(['a', 'b', 'c'], round).join(''));
  t.strictSame(rounds, ['abc', 'bca', 'cab', 'abc']);
  t.strictSame(rotated([], 3), []);
  t.end();
});

t.test('digits and cores', (t) => {
  t.equal(significant(0.123456), 0.1235);
  t.equal(significant(12345.6), 12350);
  t.equal(coresFor(7.5, 0.6), 4.5);
  t.end();
});

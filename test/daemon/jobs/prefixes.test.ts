// Prefixes as they are given, and what is listed for them.
import fc from 'fast-check';
import t from 'tap';
import { listedPrefixes } from '../../../daemon/jobs/prefixes.js';

const flat = { archivePrefix: '', hierarchical: false };
const paths = { archivePrefix: '', hierarchical: true };

t.test('what is listed', (t) => {
  t.same(listedPrefixes([], flat), ['']);
  t.same(listedPrefixes(['/'], { ...flat, archivePrefix: 'site/' }), ['site/']);
  t.same(listedPrefixes([''], { ...paths, archivePrefix: 'site/' }), ['site/']);
  t.same(listedPrefixes(['/data', 'more/', '//x'], flat), ['data', 'more/', 'x']);
  t.same(listedPrefixes(['data', '/b//c/'], { ...paths, archivePrefix: 'site/' }), ['site/data', 'site/b/c']);
  t.same(listedPrefixes(['/data/', '/data2/'], paths), ['data', 'data2'], 'directories with their slash');
  t.end();
});

t.test('overlaps name both', (t) => {
  for (const options of [flat, paths]) {
    for (const [a, b] of [
      ['/data', '/data2'],
      ['/data2', '/data'],
      ['x', '/x'],
      ['/', 'x'],
      ['', '/'],
      ['a', 'a/b'],
      ['a', 'a/'],
    ] as const) {
      t.throws(() => listedPrefixes(['other', a, b], options), { code: 'PREFIXES_OVERLAP' });
      t.throws(() => listedPrefixes([a, b], options), { message: JSON.stringify(a) });
      t.throws(() => listedPrefixes([a, b], options), { message: JSON.stringify(b) });
    }
  }
  t.throws(() => listedPrefixes(['a//b', 'a/b'], paths), { code: 'PREFIXES_OVERLAP' });
  t.end();
});

t.test('what no blob begins with', (t) => {
  for (const text of ['.', '..', 'a/../b', '/./a', 'a/..', 'nul\0', '\ud800', 'x'.repeat(1025)])
    t.throws(() => listedPrefixes([text], flat), { code: 'PREFIX_INVALID', errno: 22 }, text.slice(0, 20));
  t.throws(() => listedPrefixes(['x'.repeat(1020)], { ...flat, archivePrefix: 'site/' }), {
    code: 'PREFIX_INVALID',
  });
  t.same(listedPrefixes(['.hidden', '..x', 'a...'], flat), ['.hidden', '..x', 'a...']);
  t.end();
});

t.test('it overlaps just when one begins with another', (t) => {
  const texts = fc.array(
    fc.array(fc.constantFrom('a', 'b', '/'), { maxLength: 4 }).map((p) => p.join('')),
    {
      minLength: 1,
      maxLength: 5,
    },
  );
  fc.assert(
    fc.property(texts, (given) => {
      const plain = given.map((text) => text.replace(/^\/+/, ''));
      const overlaps = plain.some((a, i) => plain.some((b, j) => i !== j && b.startsWith(a)));
      try {
        listedPrefixes(given, flat);
        return !overlaps;
      } catch (error) {
        return overlaps && (error as { code?: string }).code === 'PREFIXES_OVERLAP';
      }
    }),
  );
  t.end();
});

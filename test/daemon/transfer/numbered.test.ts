// What is under way is found by its number, and by no other.
import fc from 'fast-check';
import t from 'tap';
import { Numbered } from '../../../daemon/transfer/numbered.js';

t.test('as a Map would do it, and no number is given twice', (t) => {
  const steps = fc.array(fc.record({ isAdd: fc.boolean(), which: fc.nat() }), { maxLength: 200 });
  fc.assert(
    fc.property(steps, (all) => {
      const [table, follower] = [new Numbered<{ nr: number }>(), new Numbered<{ nr: number }>()];
      const model = new Map<number, { nr: number }>();
      const given: number[] = [];
      for (const { isAdd, which } of all) {
        if (isAdd) {
          const item = { nr: given.length };
          const number = table.add(item);
          t.notOk(given.includes(number));
          given.push(number);
          model.set(number, item);
          follower.put(number, item);
        } else if (given.length > 0) {
          // One that is there, or was.
          const number = given[which % given.length] ?? 0;
          const was = model.delete(number);
          t.equal(table.delete(number), was);
          t.equal(follower.delete(number), was);
        }
        for (const each of [table, follower]) {
          t.equal(each.size, model.size);
          t.ok(given.every((number) => each.get(number) === model.get(number)));
          t.same(new Set(each.values()), new Set(model.values()));
        }
      }
    }),
    { numRuns: 50 },
  );
  t.end();
});

t.test('what is removed while it is gone through', (t) => {
  const table = new Numbered<string>();
  const numbers = ['a', 'b', 'c'].map((each) => table.add(each));
  const seen: string[] = [];
  for (const each of table.values()) {
    seen.push(each);
    for (const number of numbers.slice(0, 2)) table.delete(number);
  }
  t.same(seen, ['a', 'c']);
  t.same([table.size, table.get(0), table.get(-1), table.delete(0)], [1, undefined, undefined, false]);
  t.end();
});

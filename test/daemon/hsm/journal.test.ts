// The journal: what a dead process leaves is found again, whole or not.
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { AgentEmitter } from '../../../daemon/events.js';
import { itemKey, Journal } from '../../../daemon/hsm/journal.js';

function scratch(test: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'lhsm-journal-'));
  test.teardown(() => {
    rmSync(dir, { recursive: true });
  });
  return join(dir, 'state', 'journal');
}

function entry(cookie: number) {
  const fid = { seq: 0x200000401n, oid: cookie, ver: 0 };
  return {
    key: itemKey({ cookie: BigInt(cookie), fid }),
    archiveId: 2,
    flags: 4n,
    raw: Buffer.from(`item ${cookie}`),
  };
}

function reopen(path: string) {
  const opened = Journal.open(path, new AgentEmitter());
  return { ...opened, keys: opened.left.map((each) => each.key) };
}

t.test('what was received and not ended is left for the next process, with all it needs', async (t) => {
  const path = scratch(t);
  const { journal } = reopen(path);
  journal.received([entry(1), entry(2), entry(3)]);
  journal.progressed(entry(2).key);
  journal.ended(entry(1).key);
  t.notMatch(readFileSync(path, 'utf8'), /"t":"e"/, 'an end is written with the others of its turn');
  await setImmediate();
  // No close: the process dies here.
  const next = reopen(path);
  t.same(next.keys, [entry(2).key, entry(3).key]);
  t.match(next.left[0], { archiveId: 2, flags: 4n, raw: Buffer.from('item 2'), progressed: true });
  t.match(next.left[1], { progressed: false });
  t.equal(next.damaged, 0);
  next.journal.close();
  journal.close();
});

t.test('ends are written with what comes next, or when the journal is closed, and only once', (t) => {
  const path = scratch(t);
  const { journal } = reopen(path);
  journal.received([entry(1), entry(2), entry(3)]);
  journal.ended(entry(1).key);
  t.notMatch(readFileSync(path, 'utf8'), /"t":"e"/);
  journal.received([entry(4)]);
  t.equal(readFileSync(path, 'utf8').split('"t":"e"').length, 2);
  journal.ended(entry(2).key);
  journal.ended(entry(2).key);
  journal.close();
  const next = reopen(path);
  t.same(next.keys, [entry(3).key, entry(4).key]);
  next.journal.close();
  t.end();
});

t.test('a last line cut short by the death of the process is forgotten without complaint', (t) => {
  const path = scratch(t);
  const { journal } = reopen(path);
  journal.received([entry(1)]);
  journal.close();
  appendFileSync(path, '{"t":"r","c":"0x2[0x2000');
  const next = reopen(path);
  t.same(next.keys, [entry(1).key]);
  t.equal(next.damaged, 0);
  next.journal.close();
  t.end();
});

t.test('damaged lines are counted and kept aside, the others still read', (t) => {
  const path = scratch(t);
  const { journal } = reopen(path);
  journal.received([entry(1)]);
  journal.close();
  const good = readFileSync(path, 'utf8');
  writeFileSync(path, `nonsense\n${good}{"t":"r","c":"0x2"}\n`);
  const next = reopen(path);
  t.same(next.keys, [entry(1).key]);
  t.equal(next.damaged, 2);
  t.equal(readFileSync(`${path}.damaged`, 'utf8'), 'nonsense\n{"t":"r","c":"0x2"}\n');
  next.journal.close();
  t.end();
});

t.test('the file stays small however many items pass through', (t) => {
  const path = scratch(t);
  const { journal } = reopen(path);
  for (let cookie = 1; cookie <= 20_000; cookie += 1) {
    journal.received([entry(cookie)]);
    if (cookie > 10) journal.ended(entry(cookie - 10).key);
  }
  t.ok(statSync(path).size < 2 << 20, `${statSync(path).size} bytes`);
  t.equal(journal.items, 10);
  journal.close();
  const next = reopen(path);
  t.equal(next.left.length, 10);
  next.journal.close();
  t.end();
});

t.test('any order of receipts, progress and ends reads back as a model says', (t) => {
  const path = scratch(t);
  const step = fc.tuple(fc.constantFrom('r', 'p', 'e', 'reopen'), fc.integer({ min: 1, max: 8 }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      rmSync(path, { force: true });
      let { journal } = reopen(path);
      const model = new Map<string, boolean>();
      for (const [what, cookie] of steps) {
        const each = entry(cookie);
        if (what === 'r') {
          journal.received([each]);
          model.set(each.key, false);
        } else if (what === 'p') {
          journal.progressed(each.key);
          if (model.has(each.key)) model.set(each.key, true);
        } else if (what === 'e') {
          journal.ended(each.key);
          model.delete(each.key);
        } else {
          journal.close();
          ({ journal } = reopen(path));
        }
      }
      journal.close();
      const next = reopen(path);
      next.journal.close();
      t.same(new Map(next.left.map((left) => [left.key, left.progressed])), model);
    }),
    { numRuns: 60 },
  );
  t.end();
});

t.test('a folder that cannot be made is a clear error with a mend', (t) => {
  const path = scratch(t);
  writeFileSync(join(path, '..', '..', 'file'), '');
  t.throws(() => reopen(join(path, '..', '..', 'file', 'journal')), {
    code: 'JOURNAL',
    message: /cannot open the journal .*file\/journal/,
    hint: /state_dir/,
  });
  t.end();
});

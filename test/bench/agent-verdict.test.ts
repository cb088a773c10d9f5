// The bench of the agent fails for everything that it must show, not for losses alone.
import t from 'tap';
import { amiss, type AgentReport } from './agent-verdict.js';

const good: AgentReport = {
  files: 20_000,
  lost: 0,
  rssMiB: { at5000: 200, atEnd: 239 },
  handles: { at5000: 400, archived: 120, atEnd: 121 },
  bigFile: { gib: 10, peakRssMiB: 286 },
};

t.test('a good run', (t) => {
  t.same(amiss(good, 0), []);
  t.end();
});

for (const [what, report, violations, words] of [
  ['a lost file', { ...good, lost: 1 }, 0, /1 files/],
  ['misuse of liblustreapi', good, 2, /misused 2/],
  ['memory that grows', { ...good, rssMiB: { at5000: 200, atEnd: 241 } }, 0, /20.5 %/],
  ['a large file that fills the memory', { ...good, bigFile: { gib: 10, peakRssMiB: 287 } }, 0, /301 MB/],
  [
    'descriptors that grow from idle to idle',
    { ...good, handles: { ...good.handles, atEnd: 130 } },
    0,
    /130/,
  ],
  [
    'descriptors that grow beyond those of work in flight',
    { ...good, handles: { at5000: 100, archived: 120, atEnd: 121 } },
    0,
    /121/,
  ],
] as const) {
  t.test(`${what} fails it`, (t) => {
    const found = amiss(report, violations);
    t.equal(found.length, 1);
    t.match(found[0], words);
    t.end();
  });
}

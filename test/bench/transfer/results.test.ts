import t from 'tap';
import type { Comparison, Measures } from './compare.js';
import { toText } from './report.js';
import { projections, ratios, toJson, type Results } from './results.js';

const large = (cost: number): Measures => ({
  cpuSecondsPerGiB: { min: cost / 2, median: cost, max: cost * 2 },
  gibPerSecond: { min: 1, median: 1 / cost, max: 3 },
});
const restore: Comparison = {
  work: 'restore',
  scheme: 'tls',
  rows: new Map([
    ['floor', large(1)],
    ['ours', large(1.2)],
    ['azcopy', large(4)],
    ['floorUnwritten', large(0.5)],
  ]),
};
const small: Comparison = {
  work: 'smallRestore',
  scheme: 'http',
  rows: new Map([['ours', { cpuMsPerFile: { min: 0.1, median: 0.15, max: 0.2 } }]]),
};
const results: Results = {
  machine: {
    date: '2026-01-01',
    cpu: 'CPU',
    cores: 2,
    memoryGiB: 8,
    kernel: '6.1',
    node: 'v20.19.0',
    loadBefore: 0,
  },
  rounds: 3,
  programs: new Map([['ours', { about: 'ours', start: { cpuSeconds: 0.2, wallSeconds: 0.3 } }]]),
  comparisons: [restore, small],
  curve: [],
  memory: {
    scheme: 'tls',
    inFlight: 64,
    restorePeakMiB: 150.123456,
    archivePeakMiB: 180,
    small: { files: 10, atQuarterMiB: 100, atEndMiB: 101, peakMiB: 102 },
  },
};

t.test('the JSON form has medians where they are looked for, the ends beside them', (t) => {
  t.match(toJson(results), {
    restore: {
      tls: {
        ours: {
          cpuSecondsPerGiB: 1.2,
          gibPerSecond: 0.8333,
          min: { cpuSecondsPerGiB: 0.6 },
          max: { cpuSecondsPerGiB: 2.4 },
        },
        floor: { cpuSecondsPerGiB: 1 },
      },
    },
    smallRestore: { http: { ours: { cpuMsPerFile: 0.15 } } },
    peakRssMiB: 180,
    ratios: { restore: { tls: { floor: 1.2, azcopy: 0.3 } } },
  });
  t.end();
});

t.test('sections that were left out are left out', (t) => {
  const some = { ...results, comparisons: [small], memory: undefined };
  const json = JSON.parse(JSON.stringify(toJson(some))) as object;
  t.match(json, { smallRestore: { http: {} } });
  t.notOk('restore' in json || 'peakRssMiB' in json);
  t.end();
});

t.test('ours is compared with programs that do the whole work', (t) => {
  t.strictSame([...ratios(restore, 'cpuSecondsPerGiB').keys()], ['floor', 'azcopy']);
  t.strictSame([...ratios(small, 'cpuMsPerFile')], []);
  t.end();
});

t.test('cores for 7.5 GiB/s are 7.5 times the median cost', (t) => {
  t.strictSame(projections(results), [{ work: 'restore', scheme: 'tls', cores: 9 }]);
  t.end();
});

t.test('the text says what was met', (t) => {
  const text = toText(results);
  t.match(text, /\| \*\*ours\*\* +\| +0\.60 \/ 1\.20 \/ 2\.40 \|/);
  t.match(text, /restore tls, ours ÷ floor: 1\.20, wanted ≤ 1\.25: met/);
  t.match(text, /restore, tls: 9\.0 cores/);
  t.match(text, /10 small restores, RSS: 100 MiB at a quarter, 101 MiB at the end \(\+1\.0 %\)/);
  t.end();
});

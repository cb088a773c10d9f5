// The restore bench fails when it should.
import t from 'tap';
import { amissInRestore, type RestoreReport } from './restore-verdict.js';

const rate = { filesPerSecond: 1860, daemonCpuMsPerFile: 0.6, simulatorCpuMsPerFile: 1 };
const good: RestoreReport = {
  files: 78_100,
  ours: rate,
  script: { ...rate, filesPerSecond: 372, files: 7810 },
  ratio: 5,
  window: 3000,
  maxQueue: 3000,
  onAccessLatencyMs: { idle: 1000, during: 2000 },
  loopPeriodS: 1,
  wrong: 0,
  load: { before: 1, after: 3 },
};

t.strictSame(amissInRestore(good), []);
t.match(amissInRestore({ ...good, wrong: 1 }), [/1 files are not restored/]);
t.match(amissInRestore({ ...good, ratio: 4.99 }), [/5 are wanted/]);
t.match(amissInRestore({ ...good, ratio: NaN }), [/5 are wanted/]);
t.match(amissInRestore({ ...good, ours: { ...rate, filesPerSecond: 1859 } }), [/1860 are wanted/]);
t.match(amissInRestore({ ...good, ours: { ...rate, daemonCpuMsPerFile: 0.61 } }), [/0.6 are wanted/]);
t.match(amissInRestore({ ...good, maxQueue: 3002 }), [/3002 requests were/]);
t.same(amissInRestore({ ...good, maxQueue: 3001 }), [], 'the reader has one, too');
t.match(amissInRestore({ ...good, onAccessLatencyMs: { idle: 1000, during: 2001 } }), [/waits 2001 ms/]);
t.match(amissInRestore({ ...good, onAccessLatencyMs: { idle: 1000, during: NaN } }), [/waits NaN ms/]);

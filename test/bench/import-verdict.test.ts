// The import bench fails when it should.
import t from 'tap';
import { amissInImport, type ImportReport } from './import-verdict.js';

const good: ImportReport = {
  blobs: 100_000,
  stubsPerSecond: 1500,
  stubsPerSecondWithoutSimulator: 3000,
  cpuMsPerStub: 0.3,
  simulatorMsPerStub: 0.3,
  wrong: 0,
  peakRssMiB: { '100000': 200, '1000000': 240 },
};

t.strictSame(amissInImport(good), []);
t.match(amissInImport({ ...good, wrong: 1 }), [/1 blobs are not/]);
t.match(amissInImport({ ...good, stubsPerSecondWithoutSimulator: 2999 }), [/3000 are wanted/]);
t.match(amissInImport({ ...good, peakRssMiB: { '1000000': 241, '100000': 200 } }), [/from 200 to 241/]);
t.strictSame(amissInImport({ ...good, peakRssMiB: { '100000': 200 } }), []);

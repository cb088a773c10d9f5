// `npm run bench -- import [--json FILE] [--blobs N] [--more N]`: a container's names as released files on the simulator, by the
// daemon, with the bench's blob server as the container. Prints stubs a second, the simulator's own part in that, CPU, and
// memory for N and for many more blobs; random files are read through the mount.
import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import type { JobDocument } from '../../daemon/jobs/job.js';
import type { Daemon } from '../helpers/daemon.js';
import type { LustreSim } from '../lustre-sim/lustre-sim.js';
import { tellVerdict } from './verdict.js';
import { startAzuriteProcess, type AzuriteProcess } from './azurite-process.js';
import { countWrong, PER_DIRECTORY, SAMPLES } from './compare-files.js';
import { cli, inImportSite, progress } from './import-site.js';
import { amissInImport, type ImportReport } from './import-verdict.js';
import { buildNative } from './native/native.js';

const exec = promisify(execFile);
/** As many as the job has calls under way by default. */
const FLOOR_THREADS = 32;

interface Run {
  readonly blobs: number;
  readonly seconds: number;
  readonly cpuMs: number;
  readonly peakRssMiB: number;
  readonly simulatorMsPerStub: number;
  readonly wrong: number;
}

/** The highest resident memory until told to stop. */
function watchRss(daemon: Daemon): () => number {
  let peak = 0;
  const sample = (): void => {
    peak = Math.max(peak, daemon.rssMiB());
  };
  const timer = setInterval(sample, 100);
  return () => {
    clearInterval(timer);
    sample();
    return Math.round(peak * 10) / 10;
  };
}

/** Milliseconds a stub when nothing but the simulator works: the same calls from C. */
async function simulatorMs(sim: LustreSim, stubs: number): Promise<number> {
  const { stubFloor } = await buildNative();
  const dir = join(sim.mount, 'floor');
  mkdirSync(dir);
  const args = [sim.library, dir, String(stubs), String(PER_DIRECTORY), String(FLOOR_THREADS)];
  const { stdout } = await exec(stubFloor, args);
  return ((JSON.parse(stdout) as { wallSeconds: number }).wallSeconds / stubs) * 1000;
}

async function importOf(blobs: number, azurite: AzuriteProcess, isSampled: boolean): Promise<Run> {
  return inImportSite({ azurite, blobs: { data: blobs } }, async (site) => {
    const { daemon, server, sim } = site;
    const cpuMs = daemon.cpuMs();
    const rss = watchRss(daemon);
    const job = (await cli(site, 'import', 'start', '--archive-id', '1')) as JobDocument;
    const seconds = (Date.parse(job.lastCompletionTime ?? '') - Date.parse(job.lastStartedTime)) / 1000;
    const run = { blobs, seconds, cpuMs: daemon.cpuMs() - cpuMs, peakRssMiB: rss() };
    const imported = 'importedFiles' in job.counts ? job.counts.importedFiles : 0;
    progress(`${imported} of ${blobs} imported in ${seconds} s, peak RSS ${run.peakRssMiB} MiB`);
    const floorMs = await simulatorMs(sim, Math.min(blobs, 100_000));
    const unread = isSampled ? await countWrong(sim.mount, server.url, 'data', blobs) : 0;
    return { ...run, simulatorMsPerStub: floorMs, wrong: unread + (blobs - imported) };
  });
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

export async function run(argv: string[]): Promise<boolean> {
  const { values } = parseArgs({
    args: argv,
    options: {
      json: { type: 'string' },
      blobs: { type: 'string', default: '100000' },
      more: { type: 'string', default: '1000000' },
    },
  });
  const azurite = await startAzuriteProcess();
  try {
    const first = await importOf(Number(values.blobs), azurite, true);
    const many = Number(values.more) > 0 ? await importOf(Number(values.more), azurite, false) : first;
    const msPerStub = (first.seconds / first.blobs) * 1000;
    const report: ImportReport = {
      blobs: first.blobs,
      stubsPerSecond: rounded(1000 / msPerStub, 1),
      stubsPerSecondWithoutSimulator: rounded(
        1000 / Math.max(0.001, msPerStub - first.simulatorMsPerStub),
        1,
      ),
      cpuMsPerStub: rounded(first.cpuMs / first.blobs, 4),
      simulatorMsPerStub: rounded(first.simulatorMsPerStub, 4),
      wrong: first.wrong + (many === first ? 0 : many.wrong),
      peakRssMiB: { [first.blobs]: first.peakRssMiB, [many.blobs]: many.peakRssMiB },
    };
    const failings = amissInImport(report);
    const lines = [
      `blobs                         ${report.blobs} in ${Math.ceil(report.blobs / PER_DIRECTORY)} directories`,
      `stubs a second                ${report.stubsPerSecond}, all included`,
      `without the simulator's part  ${report.stubsPerSecondWithoutSimulator} (wanted 3000; the simulator alone takes ${report.simulatorMsPerStub} ms a stub)`,
      `CPU of the daemon             ${report.cpuMsPerStub} ms a stub`,
      `peak RSS                      ${Object.entries(report.peakRssMiB)
        .map(([blobs, mib]) => `${mib} MiB for ${blobs} blobs`)
        .join(', ')} (wanted within 20 %)`,
      `read through the mount        ${SAMPLES} random files; not imported, wrong content or attributes: ${report.wrong}`,
    ];
    return tellVerdict(lines, failings, report, values.json);
  } finally {
    await azurite.stop();
  }
}

// `npm run bench -- restore [--json FILE] [--files N] [--script-files N]`: the managed service's reference workload, a tree of
// small files restored as a whole. Our batch restore beside the published script, on the same simulator and daemon, with the
// bench's blob server as the container; a reader elsewhere in the file system tells what both do to everybody else.
import { execFile, fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import type { OperationDocument } from '../../daemon/jobs/operation.js';
import { cpuMsOf } from '../helpers/daemon.js';
import { repositoryRoot } from '../lustre-sim/build.js';
import { tellVerdict } from './verdict.js';
import { startAzuriteProcess, type AzuriteProcess } from './azurite-process.js';
import { countWrong, PER_DIRECTORY, SAMPLES, SIZE_BYTES } from './compare-files.js';
import { cli, inImportSite, OUTPUT_BYTES, progress, type ImportSite } from './import-site.js';
import {
  amissInRestore,
  WANTED_FILES_PER_SECOND,
  WANTED_CPU_MS,
  type RestoreRate,
  type RestoreReport,
} from './restore-verdict.js';

const exec = promisify(execFile);
const SCRIPT = join(repositoryRoot(), 'test/bench/restore-script.sh');
const READER = fileURLToPath(new URL('./reader-child.js', import.meta.url));
/** What its page recommends at most, and its example has. */
const SCRIPT_BATCH = 5000;
/** For the reader; a file is read once. */
const ASIDE_FILES = 5000;
const IDLE_READS = 15;
/** `[jobs] window`, the default. */
const WINDOW = 3000;

interface Measured {
  readonly seconds: number;
  readonly daemonCpuMs: number;
  readonly simulatorCpuMs: number;
}

function rounded(value: number, digits = 1): number {
  return Number(value.toFixed(digits));
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

function load(): number {
  return rounded(loadavg()[0] ?? NaN);
}

/** Reads files of `aside`, in a process of its own. */
class Reader {
  readonly #mount: string;
  #next = 0;

  constructor(mount: string) {
    this.#mount = mount;
  }

  /** Milliseconds of each read, until `until` resolves or so many have been read. */
  async read(until: Promise<unknown>, most = Infinity): Promise<number[]> {
    const child = fork(READER, [this.#mount, String(this.#next)]);
    const exited = once(child, 'exit');
    const took: number[] = [];
    await Promise.race([until, exited, this.#collect(child, took, most)]);
    if (child.connected) child.disconnect();
    const [code] = (await exited) as [number | null];
    if (code !== 0) throw new Error(`the reader has ended with ${code}`);
    // The last one is not told any more.
    this.#next += took.length + 1;
    return took;
  }

  #collect(child: ChildProcess, took: number[], most: number): Promise<void> {
    return new Promise((resolve) => {
      child.on('message', (tookMs) => {
        took.push(Number(tookMs));
        if (took.length >= most) resolve();
      });
    });
  }
}

async function measured({ daemon, sim }: ImportSite, work: () => Promise<unknown>): Promise<Measured> {
  const [begunMs, daemonCpuMs, simulatorCpuMs] = [performance.now(), daemon.cpuMs(), cpuMsOf(sim.pid)];
  await work();
  return {
    seconds: (performance.now() - begunMs) / 1000,
    daemonCpuMs: daemon.cpuMs() - daemonCpuMs,
    simulatorCpuMs: cpuMsOf(sim.pid) - simulatorCpuMs,
  };
}

function rateOf(files: number, runs: readonly Measured[]): RestoreRate {
  const sum = (of: (run: Measured) => number): number => runs.reduce((total, run) => total + of(run), 0);
  return {
    filesPerSecond: rounded(files / sum(({ seconds }) => seconds)),
    daemonCpuMsPerFile: rounded(sum(({ daemonCpuMs }) => daemonCpuMs) / files, 4),
    simulatorCpuMsPerFile: rounded(sum(({ simulatorCpuMs }) => simulatorCpuMs) / files, 4),
  };
}

async function runScript(site: ImportSite, series: string): Promise<void> {
  const { sim } = site;
  await exec('sh', [SCRIPT, sim.build.lfs, join(sim.mount, series), String(SCRIPT_BATCH)], {
    maxBuffer: OUTPUT_BYTES,
  });
}

/** Files of which nothing but the name is there. */
async function countReleased(mount: string, series: string): Promise<number> {
  const { stdout } = await exec('find', [join(mount, series), '-type', 'f', '-printf', '%b\n'], {
    maxBuffer: OUTPUT_BYTES,
  });
  return stdout.split('\n').filter((blocks) => blocks !== '' && Number(blocks) <= 1).length;
}

interface Amounts {
  readonly files: number;
  readonly scriptFiles: number;
  readonly loopPeriodS: number;
}

/** The script's part is restored half before ours and half after it, so that both see the same weather. */
async function compare(
  site: ImportSite,
  { files, scriptFiles, loopPeriodS }: Amounts,
): Promise<RestoreReport> {
  const { sim, server } = site;
  const reader = new Reader(sim.mount);
  const never = new Promise<void>(() => undefined);
  const idle = await reader.read(never, IDLE_READS);
  progress(`a reader in the quiet: ${rounded(median(idle))} ms`);
  const before = await measured(site, () => runScript(site, 'script1'));
  progress(`the script, first half: ${rounded(before.seconds)} s`);

  await sim.drained();
  await sim.setParam('sim.queue_peak', 'clear');
  const loadBefore = load();
  let document: OperationDocument | undefined;
  let during: number[] = [];
  const ours = await measured(site, async () => {
    const batch = cli(site, 'restore', join(sim.mount, 'tree'));
    const reading = reader.read(batch);
    document = (await batch) as OperationDocument;
    during = await reading;
  });
  const loadAfter = load();
  // The command's own end, not that of the reader's last file.
  const seconds = document
    ? (Date.parse(document.endedTime ?? '') - Date.parse(document.startedTime)) / 1000
    : NaN;
  const maxQueue = (await sim.counters())['queue_peak'] ?? NaN;
  const { done = 0 } = document?.counts ?? {};
  progress(`batch restore: ${done} of ${files} in ${rounded(seconds)} s: ${document?.message}`);
  progress(`its own numbers: ${JSON.stringify(document?.counts)}`);

  await sim.drained();
  const after = await measured(site, () => runScript(site, 'script2'));
  progress(`the script, second half: ${rounded(after.seconds)} s`);
  idle.push(...(await reader.read(never, IDLE_READS)));
  await sim.drained();
  let wrong = files - done;
  for (const series of ['tree', 'script1', 'script2']) wrong += await countReleased(sim.mount, series);
  wrong += await countWrong(sim.mount, server.url, 'tree', files);
  const script = rateOf(scriptFiles, [before, after]);
  const rate = rateOf(files, [{ ...ours, seconds }]);
  return {
    files,
    ours: rate,
    script: { ...script, files: scriptFiles },
    ratio: rounded(rate.filesPerSecond / script.filesPerSecond, 2),
    window: WINDOW,
    maxQueue,
    onAccessLatencyMs: { idle: rounded(median(idle)), during: rounded(median(during)) },
    loopPeriodS,
    wrong,
    load: { before: loadBefore, after: loadAfter },
  };
}

async function restoreOf(amounts: Amounts, azurite: AzuriteProcess): Promise<RestoreReport> {
  const { files, scriptFiles, loopPeriodS } = amounts;
  const half = Math.floor(scriptFiles / 2);
  const settings = {
    azurite,
    blobs: { aside: ASIDE_FILES, script1: half, script2: scriptFiles - half, tree: files },
    sim: { loopPeriodS, tunables: { 'hsm.max_requests': String(WINDOW) } },
    jobs: `window = ${WINDOW}`,
  };
  return inImportSite(settings, async (site) => {
    await cli(site, 'import', 'start', '--archive-id', '1');
    progress(`${files + scriptFiles + ASIDE_FILES} files are imported`);
    return compare(site, amounts);
  });
}

export async function run(argv: string[]): Promise<boolean> {
  const { values } = parseArgs({
    args: argv,
    options: {
      json: { type: 'string' },
      files: { type: 'string', default: '78100' },
      'script-files': { type: 'string' },
      // Seconds. What docs/operations.md recommends for the MDS; the tests of the simulator have less.
      'loop-period': { type: 'string', default: '1' },
    },
  });
  const files = Number(values.files);
  const scriptFiles = Number(values['script-files'] ?? Math.ceil(files / 10));
  const loopPeriodS = Number(values['loop-period']);
  const azurite = await startAzuriteProcess();
  try {
    const report = await restoreOf({ files, scriptFiles, loopPeriodS }, azurite);
    const { ours, script, onAccessLatencyMs } = report;
    const failings = amissInRestore(report);
    const rate = ({ filesPerSecond, daemonCpuMsPerFile, simulatorCpuMsPerFile }: RestoreRate): string =>
      `${filesPerSecond} files/s; CPU a file: daemon ${daemonCpuMsPerFile} ms, simulator ${simulatorCpuMsPerFile} ms`;
    const lines = [
      `files               ${files} of ${SIZE_BYTES} bytes in ${Math.ceil(files / PER_DIRECTORY)} directories; loop_period ${loopPeriodS} s, max_requests ${WINDOW}`,
      `batch restore       ${rate(ours)} (wanted ${WANTED_FILES_PER_SECOND} files/s, ${WANTED_CPU_MS} ms)`,
      `the script          ${rate(script)}; ${scriptFiles} files, batches of ${SCRIPT_BATCH}`,
      `ratio               ${report.ratio} (wanted 5)`,
      `at the coordinator  ${report.maxQueue} requests at most (the window is ${report.window}, and the reader has one)`,
      `a reader waits      ${onAccessLatencyMs.idle} ms in the quiet, ${onAccessLatencyMs.during} ms during the batch (medians; wanted within twice)`,
      `read and compared   ${SAMPLES} random files; not restored, wrong content or attributes: ${report.wrong}`,
      `load average        ${report.load.before} before, ${report.load.after} at the end of the batch`,
    ];
    return tellVerdict(lines, failings, report, values.json);
  } finally {
    await azurite.stop();
  }
}

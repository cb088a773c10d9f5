// `npm run bench -- import [--json FILE] [--blobs N] [--more N]`: a container's names as released files on the simulator, by the
// daemon, with the bench's blob server as the container. Prints stubs a second, the simulator's own part in that, CPU, and
// memory for N and for many more blobs; random files are read through the mount.
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { lstat, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import type { JobDocument } from '../../daemon/jobs/job.js';
import { Daemon } from '../helpers/daemon.js';
import { LustreSim } from '../lustre-sim/lustre-sim.js';
import { repositoryRoot } from '../lustre-sim/build.js';
import { startAzuriteProcess, type AzuriteProcess } from './azurite-process.js';
import { amissInImport, type ImportReport } from './import-verdict.js';
import { BlobServer } from './native/blob-server.js';
import { buildNative } from './native/native.js';

const exec = promisify(execFile);
const CLI = join(repositoryRoot(), 'dist/daemon/cli/main.js');
const PER_DIRECTORY = 100;
const SIZE_BYTES = 4096;
const SAMPLES = 1000;
const READERS = 4;
/** As many as the job has calls under way by default. */
const FLOOR_THREADS = 32;
const ATTRIBUTES = { owner: '1001', group: '1002', permissions: '0640', modtime_ns: '1700000000123456789' };
/** Any will do: the server looks at none. */
const SAS = 'sv=2025-01-05&sr=c&sp=rl&sig=bench';

interface Run {
  readonly blobs: number;
  readonly seconds: number;
  readonly cpuMs: number;
  readonly peakRssMiB: number;
  readonly simulatorMsPerStub: number;
  readonly wrong: number;
}

function progress(text: string): void {
  process.stderr.write(`${text}\n`);
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

/** How many of some random blobs do not read, or look, as they should. */
async function countWrong(sim: LustreSim, server: BlobServer, blobs: number): Promise<number> {
  let wrong = 0;
  let left = SAMPLES;
  const reader = async (): Promise<void> => {
    while (left-- > 0) {
      const n = Math.floor(Math.random() * blobs);
      const digits = (value: number, width: number): string => String(value).padStart(width, '0');
      const name = `data/${digits(Math.floor(n / PER_DIRECTORY), 5)}/${digits(n, 7)}`;
      const path = join(sim.mount, name);
      const { uid, gid, mode, mtimeNs, size } = await lstat(path, { bigint: true });
      const answer = await fetch(`${server.url}/${name}?${SAS}`);
      const content = Buffer.from(await answer.arrayBuffer());
      const isRight =
        uid === 1001n &&
        gid === 1002n &&
        (mode & 0o7777n) === 0o640n &&
        mtimeNs === BigInt(ATTRIBUTES.modtime_ns) &&
        size === BigInt(SIZE_BYTES) &&
        content.length === SIZE_BYTES &&
        content.equals(await readFile(path));
      if (!isRight) wrong += 1;
    }
  };
  await Promise.all(Array.from({ length: READERS }, reader));
  return wrong;
}

async function importOf(blobs: number, azurite: AzuriteProcess, isSampled: boolean): Promise<Run> {
  const scratch = mkdtempSync(join(tmpdir(), 'lhsm-bench-import-'));
  const sasFile = join(scratch, 'sas');
  writeFileSync(sasFile, SAS, { mode: 0o600 });
  const server = await BlobServer.start({
    series: [{ name: 'data', count: blobs, sizeBytes: SIZE_BYTES, perDirectory: PER_DIRECTORY }],
    metadata: ATTRIBUTES,
  });
  const sim = await LustreSim.start();
  const daemon = await Daemon.start({
    mount: sim.mount,
    library: sim.library,
    archives: [
      { id: 1, container: server.url, credential: `{ type = "sas", file = ${JSON.stringify(sasFile)} }` },
      {
        id: 2,
        container: `${azurite.url}/archive`,
        credential: `{ type = "connection-string", file = ${JSON.stringify(azurite.connectionStringFile)} }`,
      },
    ],
    more: `[http]\nlisten = "off"\n[jobs]\nlogging_container = ${JSON.stringify(`${azurite.url}/logs`)}\n`,
  });
  try {
    const cpuMs = daemon.cpuMs();
    const rss = watchRss(daemon);
    const cli = [CLI, '--run-dir', join(daemon.dir, 'run'), 'import', 'start', '--archive-id', '1'];
    const { stdout } = await exec(process.execPath, [...cli, '--wait', '--json'], { maxBuffer: 1 << 26 });
    const job = JSON.parse(stdout) as JobDocument;
    const seconds = (Date.parse(job.lastCompletionTime ?? '') - Date.parse(job.lastStartedTime)) / 1000;
    const run = { blobs, seconds, cpuMs: daemon.cpuMs() - cpuMs, peakRssMiB: rss() };
    const imported = 'importedFiles' in job.counts ? job.counts.importedFiles : 0;
    progress(`${imported} of ${blobs} imported in ${seconds} s, peak RSS ${run.peakRssMiB} MiB`);
    const floorMs = await simulatorMs(sim, Math.min(blobs, 100_000));
    const unread = isSampled ? await countWrong(sim, server, blobs) : 0;
    return { ...run, simulatorMsPerStub: floorMs, wrong: unread + (blobs - imported) };
  } catch (error) {
    progress(daemon.output().slice(-20_000));
    throw error;
  } finally {
    await daemon.stop();
    await sim.stop();
    await server.stop();
    rmSync(scratch, { recursive: true });
  }
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
    process.stdout.write(
      [
        `blobs                         ${report.blobs} in ${Math.ceil(report.blobs / PER_DIRECTORY)} directories`,
        `stubs a second                ${report.stubsPerSecond}, all included`,
        `without the simulator's part  ${report.stubsPerSecondWithoutSimulator} (wanted 3000; the simulator alone takes ${report.simulatorMsPerStub} ms a stub)`,
        `CPU of the daemon             ${report.cpuMsPerStub} ms a stub`,
        `peak RSS                      ${Object.entries(report.peakRssMiB)
          .map(([blobs, mib]) => `${mib} MiB for ${blobs} blobs`)
          .join(', ')} (wanted within 20 %)`,
        `read through the mount        ${SAMPLES} random files; not imported, wrong content or attributes: ${report.wrong}`,
        ...failings.map((words) => `FAILED: ${words}`),
        '',
      ].join('\n'),
    );
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
    return failings.length === 0;
  } finally {
    await azurite.stop();
  }
}

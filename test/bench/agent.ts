// `npm run bench -- agent [--json FILE] [--files N] [--gib N]`: the whole agent over simulator and Azurite. Many small
// files and one very large one are archived, released and restored by readers; prints what was lost (nothing), CPU and
// memory of the daemon's process.
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs, promisify } from 'node:util';
import { BlobServiceClient } from '@azure/storage-blob';
import { Daemon } from '../helpers/daemon.js';
import { LustreSim } from '../lustre-sim/lustre-sim.js';
import { tellVerdict } from './verdict.js';
import { amiss, type AgentReport } from './agent-verdict.js';
import { startAzuriteProcess } from './azurite-process.js';

const exec = promisify(execFile);
const GIB = 1024 ** 3;
const SMALL_BYTES = 4096;
const READERS = 16;
const FILES_PER_READER = 64;
const EARLY = 5000;
const WAIT_MS = 1_800_000;

interface Rate {
  readonly filesPerSecond: number;
  readonly cpuMsPerFile: number;
}

interface Bench {
  readonly sim: LustreSim;
  readonly daemon: Daemon;
  readonly mount: string;
}

function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Rate and CPU of the daemon while `work` goes on. */
async function measured(daemon: Daemon, files: number, work: () => Promise<void>): Promise<Rate> {
  const [begunMs, cpuMs] = [performance.now(), daemon.cpuMs()];
  await work();
  const seconds = (performance.now() - begunMs) / 1000;
  return {
    filesPerSecond: Math.round((files / seconds) * 10) / 10,
    cpuMsPerFile: Math.round(((daemon.cpuMs() - cpuMs) / files) * 1000) / 1000,
  };
}

async function lfsOnList(bench: Bench, action: string, names: readonly string[]): Promise<void> {
  const list = join(bench.daemon.dir, 'list');
  writeFileSync(list, names.map((name) => `${join(bench.mount, name)}\n`).join(''));
  await bench.sim.lfsOk(action, '--filelist', list);
}

/** SHA-256 of every file, by readers that block until each is restored. */
async function sums(bench: Bench, names: readonly string[]): Promise<Map<string, string>> {
  const list = join(bench.daemon.dir, 'read-list');
  const out = join(bench.daemon.dir, 'sums');
  writeFileSync(list, names.join('\0'));
  const command = `xargs -0 -a '${list}' -P ${READERS} -n ${FILES_PER_READER} sha256sum -- > '${out}' || true`;
  await exec('sh', ['-c', command], { cwd: bench.mount, maxBuffer: 1 << 26 });
  const lines = readFileSync(out, 'utf8').split('\n');
  return new Map(lines.map((line) => [line.slice(66), line.slice(0, 64)]));
}

interface SmallResult {
  readonly lost: number;
  readonly archive: Rate;
  readonly restore: Rate;
  readonly rssMiB: AgentReport['rssMiB'];
  readonly handles: AgentReport['handles'];
}

async function smallFiles(bench: Bench, files: number): Promise<SmallResult> {
  const { sim, daemon, mount } = bench;
  const expected = new Map<string, string>();
  for (let n = 0; n < files; n += 1) {
    if (n % 1000 === 0) mkdirSync(join(mount, `d${n / 1000}`));
    const name = `d${Math.floor(n / 1000)}/f${n}`;
    const bytes = randomBytes(SMALL_BYTES);
    writeFileSync(join(mount, name), bytes);
    expected.set(name, createHash('sha256').update(bytes).digest('hex'));
  }
  const names = [...expected.keys()];
  let [at5000, handlesAt5000] = [0, 0];
  const archive = await measured(daemon, files, async () => {
    await lfsOnList(bench, 'hsm_archive', names);
    await sim.wait(`succeeded>=${Math.min(EARLY, files)}`, WAIT_MS);
    at5000 = daemon.rssMiB();
    handlesAt5000 = handles(daemon);
    await sim.drained(WAIT_MS);
  });
  progress(`archived: ${archive.filesPerSecond} files/s, ${archive.cpuMsPerFile} ms CPU a file`);
  const archived = await idleHandles(daemon);
  await lfsOnList(bench, 'hsm_release', names);
  let got = new Map<string, string>();
  const restore = await measured(daemon, files, async () => {
    got = await sums(bench, names);
  });
  await sim.drained(WAIT_MS);
  progress(`restored: ${restore.filesPerSecond} files/s, ${restore.cpuMsPerFile} ms CPU a file`);
  const lost = names.filter((name) => got.get(name) !== expected.get(name)).length;
  return {
    lost,
    archive,
    restore,
    rssMiB: { at5000: round(at5000), atEnd: round(daemon.rssMiB()) },
    handles: { at5000: handlesAt5000, archived, atEnd: await idleHandles(daemon) },
  };
}

/** Samples the daemon's resident memory until told to stop; answers the highest. */
function watchRss(daemon: Daemon): () => number {
  let peak = 0;
  const sample = (): void => {
    peak = Math.max(peak, daemon.rssMiB());
  };
  const timer = setInterval(sample, 50);
  return () => {
    clearInterval(timer);
    sample();
    return peak;
  };
}

async function bigFile(
  bench: Bench,
  gib: number,
): Promise<{ gib: number; peakRssMiB: number; intact: boolean }> {
  const { sim, daemon, mount } = bench;
  const file = join(mount, 'big');
  const fd = openSync(file, 'w');
  const block = randomBytes(16 * 1024 * 1024);
  const hash = createHash('sha256');
  for (let at = 0; at < gib * GIB; at += block.length) {
    // Each block differs from every other, so that one in the wrong place shows.
    block.writeBigUInt64LE(BigInt(at), 0);
    const bytes = block.subarray(0, Math.min(block.length, gib * GIB - at));
    writeSync(fd, bytes);
    hash.update(bytes);
  }
  closeSync(fd);
  const expected = hash.digest('hex');
  const peak = watchRss(daemon);
  await sim.lfsOk('hsm_archive', file);
  await sim.drained(WAIT_MS);
  progress('the large file is archived');
  await sim.lfsOk('hsm_release', file);
  const { stdout } = await exec('sha256sum', [file]);
  await sim.drained(WAIT_MS);
  const peakRssMiB = round(peak());
  return { gib, peakRssMiB, intact: stdout.startsWith(expected) && statSync(file).size === gib * GIB };
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** Descriptors (but sockets) and threads of the daemon: they must not grow with the number of files. */
function handles(daemon: Daemon): number {
  const isKept = (fd: string): boolean => {
    try {
      return !readlinkSync(`/proc/${daemon.pid}/fd/${fd}`).startsWith('socket:');
    } catch {
      return false;
    }
  };
  const descriptors = readdirSync(`/proc/${daemon.pid}/fd`).filter(isKept);
  return descriptors.length + readdirSync(`/proc/${daemon.pid}/task`).length;
}

/** The same with nothing to do: what an action still closes behind its end has a second to go away. */
async function idleHandles(daemon: Daemon): Promise<number> {
  let least = handles(daemon);
  for (let looks = 0; looks < 10; looks += 1) {
    await sleep(100);
    least = Math.min(least, handles(daemon));
  }
  return least;
}

/** What the daemon complained of, the first of it. */
function complaints(daemon: Daemon): string {
  const lines = daemon.lines.filter(
    ({ level }) => level === 'warn' || level === 'error' || level === 'fatal',
  );
  return [...lines.slice(0, 20).map((line) => JSON.stringify(line)), daemon.stderr].join('\n');
}

export async function run(argv: string[]): Promise<boolean> {
  const { values } = parseArgs({
    args: argv,
    options: {
      json: { type: 'string' },
      files: { type: 'string', default: '20000' },
      gib: { type: 'string', default: '10' },
    },
  });
  const azurite = await startAzuriteProcess();
  const sim = await LustreSim.start({ tunables: { 'hsm.max_requests': '1000' } });
  const mount = sim.mount;
  const daemon = await Daemon.start({
    mount,
    library: sim.library,
    archives: [
      {
        container: 'archive',
        credential: `{ type = "connection-string", file = ${JSON.stringify(azurite.connectionStringFile)} }`,
      },
    ],
    more: '[http]\nlisten = "off"\n',
  });
  const bench = { sim, daemon, mount };
  try {
    const files = Number(values.files);
    const small = await smallFiles(bench, files);
    const blobs = BlobServiceClient.fromConnectionString(azurite.connectionString).getContainerClient(
      'archive',
    );
    let archived = 0;
    for await (const blob of blobs.listBlobsFlat()) if (/^d\d+\/f\d+$/.test(blob.name)) archived += 1;
    const big = await bigFile(bench, Number(values.gib));
    const lost = small.lost + (files - archived) + (big.intact ? 0 : 1);
    const violations = await sim.violations();
    const report = {
      files,
      lost,
      archive: small.archive,
      restore: small.restore,
      rssMiB: small.rssMiB,
      handles: small.handles,
      bigFile: { gib: big.gib, peakRssMiB: big.peakRssMiB },
    };
    const failings = amiss(report, violations.length);
    const growth = small.rssMiB.atEnd / small.rssMiB.at5000 - 1;
    const lines = [
      `files                     ${files} of ${SMALL_BYTES} bytes, lost ${lost}`,
      `archive                   ${report.archive.filesPerSecond} files/s, ${report.archive.cpuMsPerFile} ms CPU a file`,
      `restore by ${READERS} readers     ${report.restore.filesPerSecond} files/s, ${report.restore.cpuMsPerFile} ms CPU a file`,
      `RSS at the 5,000th, end   ${small.rssMiB.at5000} MiB, ${small.rssMiB.atEnd} MiB (${(growth * 100).toFixed(1)} %; wanted within 20 %)`,
      `descriptors and threads   ${small.handles.at5000} at the 5,000th, ${small.handles.archived} when all are archived, ${small.handles.atEnd} at the end`,
      `large file                ${big.gib} GiB, peak RSS ${big.peakRssMiB} MiB (wanted under 300 MB)`,
      `misuse of liblustreapi    ${violations.length}`,
    ];
    const isGood = tellVerdict(lines, failings, report, values.json);
    if (!isGood) progress(complaints(daemon));
    return isGood;
  } catch (error) {
    progress(complaints(daemon));
    throw error;
  } finally {
    await daemon.stop();
    await sim.stop();
    await azurite.stop();
  }
}

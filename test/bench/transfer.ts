// `npm run bench -- transfer [options]`: our transfer engine beside a native floor, AzCopy and rclone, against a blob
// server of our own over loopback. docs/benchmarks.md says what is measured, and how.
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { repositoryRoot } from '../lustre-sim/build.js';
import type { Series } from './native/blob-server.js';
import { compare, largeBytes, type Comparison } from './transfer/compare.js';
import { measureCurve } from './transfer/curve.js';
import { measureMemory, measureStarts } from './transfer/extras.js';
import { GIB, IN_FLIGHT, MIB, openLab, progress, SMALL_BYTES, type Lab } from './transfer/lab.js';
import { thisMachine } from './transfer/machine.js';
import { parseOptions, type Options } from './transfer/options.js';
import { azcopy, rclone } from './transfer/peers.js';
import { floor, ours, type Program } from './transfer/programs.js';
import { toText } from './transfer/report.js';
import { toJson, type Results } from './transfer/results.js';
import { openScratch } from './transfer/scratch.js';

const WORKS = ['restore', 'archive', 'smallRestore'] as const;

function seriesOf(options: Options): Series[] {
  return [
    { name: 'big', count: options.largeFiles, sizeBytes: largeBytes(options) },
    { name: 'small', count: options.smallFiles, sizeBytes: SMALL_BYTES },
    { name: 'flight', count: IN_FLIGHT, sizeBytes: options.flightMib * MIB },
    { name: 'many', count: options.memoryFiles, sizeBytes: SMALL_BYTES },
  ];
}

/** What is in the scratch directory at once, at most: one job's files. */
function roomFor({ gib, flightMib, smallFiles, only }: Options): number {
  const flight = only.includes('memory') ? IN_FLIGHT * flightMib * MIB : 0;
  return Math.max(gib * GIB, flight, smallFiles * SMALL_BYTES) + 256 * MIB;
}

async function programsOf(lab: Lab): Promise<Program[]> {
  const all = { floor, ours, azcopy, rclone };
  const found: Program[] = [];
  for (const name of lab.options.programs) {
    const program = await all[name](lab);
    if (program) found.push(program);
  }
  return found;
}

async function measureAll(lab: Lab): Promise<Results> {
  const { options } = lab;
  const machine = thisMachine();
  const programs = await programsOf(lab);
  const starts = await measureStarts(lab, programs);
  const startCpu = new Map([...starts].map(([name, { cpuSeconds }]) => [name, cpuSeconds]));
  const comparisons: Comparison[] = [];
  for (const work of WORKS.filter((name) => options.only.includes(name))) {
    for (const scheme of options.schemes)
      comparisons.push(await compare(lab, work, scheme, programs, startCpu));
  }
  const curve = options.only.includes('curve') ? await measureCurve(lab) : [];
  const memory = options.only.includes('memory') ? await measureMemory(lab) : undefined;
  const about = programs.map(({ name, about }) => {
    const start = starts.get(name) ?? { cpuSeconds: 0, wallSeconds: 0 };
    return [name, { about, start }] as const;
  });
  return { machine, rounds: options.rounds, programs: new Map(about), comparisons, curve, memory };
}

/** Runs the work with a signal that SIGINT, SIGTERM and SIGHUP abort, and the end of the parent (npm's shell). */
async function untilSignal(work: (signal: AbortSignal) => Promise<void>): Promise<boolean> {
  const control = new AbortController();
  const end = (name: NodeJS.Signals): void => {
    control.abort(new Error(`ended by ${name}`));
    process.exitCode = 128 + constants.signals[name];
  };
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const name of names) process.on(name, end);
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid !== parent) end('SIGHUP');
  }, 1000);
  try {
    await work(control.signal);
    return true;
  } catch (error) {
    progress(error instanceof Error ? error.message : String(error));
    return false;
  } finally {
    clearInterval(watch);
    for (const name of names) process.off(name, end);
  }
}

export async function run(argv: string[]): Promise<boolean> {
  let options: Options;
  try {
    options = parseOptions(argv);
  } catch (error) {
    progress(error instanceof Error ? error.message : String(error));
    return false;
  }
  await promisify(execFile)('sh', [join(repositoryRoot(), 'test', 'bench', 'setup-debian.sh')]).then(
    ({ stderr }) => process.stderr.write(stderr),
  );
  return untilSignal(async (signal) => {
    const scratch = openScratch(roomFor(options));
    try {
      const lab = await openLab(options, scratch, seriesOf(options), signal);
      try {
        const results = await measureAll(lab);
        process.stdout.write(toText(results));
        if (options.json !== undefined)
          writeFileSync(options.json, `${JSON.stringify(toJson(results), null, 2)}\n`);
      } finally {
        await lab.close();
      }
    } finally {
      scratch.close();
    }
  });
}

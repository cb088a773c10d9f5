// What is measured of our engine alone: memory with many large transfers in flight and over very many small ones, and
// what more workers bring. And what each program takes to start.
import { readFileSync } from 'node:fs';
import { checkFiles, checkUploads, measured, newJob, progress } from './lab.js';
import { GIB, IN_FLIGHT, MIB, SMALL_BYTES, type Lab } from './lab.js';
import { largeBytes } from './compare.js';
import type { Scheme } from './options.js';
import { oursCommand, type Program } from './programs.js';
import { median, spread, type Spread } from './statistics.js';

const START_RUNS = 3;
const CURVE_ROUNDS = 3;

export interface Start {
  readonly cpuSeconds: number;
  readonly wallSeconds: number;
}

/** By program: the medians of doing nothing. */
export async function measureStarts(lab: Lab, programs: readonly Program[]): Promise<Map<string, Start>> {
  const starts = new Map<string, Start>();
  for (const { name, nothing } of programs) {
    const usages = [];
    for (let run = 0; run < START_RUNS; run += 1) usages.push(await measured(lab, nothing));
    starts.set(name, {
      cpuSeconds: median(usages.map(({ cpuSeconds }) => cpuSeconds)),
      wallSeconds: median(usages.map(({ wallSeconds }) => wallSeconds)),
    });
  }
  return starts;
}

/** The scheme that takes more memory. */
function heaviest({ options }: Lab): Scheme {
  return options.schemes.at(-1) ?? 'http';
}

export interface MemoryReport {
  readonly scheme: Scheme;
  /** Peak RSS with that many large transfers in flight. */
  readonly inFlight: number;
  readonly restorePeakMiB: number;
  readonly archivePeakMiB: number;
  readonly small: {
    readonly files: number;
    readonly atQuarterMiB: number;
    readonly atEndMiB: number;
    readonly peakMiB: number;
  };
}

export async function measureMemory(lab: Lab): Promise<MemoryReport> {
  const scheme = heaviest(lab);
  const dir = lab.scratch.fresh('target');
  const large = { scheme, dir, count: IN_FLIGHT, bytes: lab.options.flightMib * MIB };
  const restore = newJob(lab, { ...large, work: 'restore', prefix: 'flight' });
  const { peakRssMiB: restorePeakMiB } = await measured(lab, oursCommand(lab, restore, {}));
  await checkFiles(lab, restore.files);
  progress(`${IN_FLIGHT} large restores in flight: peak RSS ${restorePeakMiB.toFixed(0)} MiB`);
  const archive = newJob(lab, { ...large, work: 'archive', prefix: 'up' });
  await archive.server.reset();
  const { peakRssMiB: archivePeakMiB } = await measured(lab, oursCommand(lab, archive, {}));
  await checkUploads(archive, false);
  progress(`${IN_FLIGHT} large archives in flight: peak RSS ${archivePeakMiB.toFixed(0)} MiB`);
  lab.scratch.remove('target');
  const files = lab.options.memoryFiles;
  const common = { work: 'smallRestore', scheme, prefix: 'many', dir } as const;
  const many = newJob(lab, { ...common, count: files, bytes: SMALL_BYTES });
  const reportFile = lab.scratch.path('memory.json');
  const { peakRssMiB } = await measured(lab, oursCommand(lab, many, { reuseFiles: true, reportFile }));
  const report = JSON.parse(readFileSync(reportFile, 'utf8')) as {
    done: number;
    rssAtQuarterMiB: number;
    rssAtEndMiB: number;
  };
  if (report.done !== files) throw new Error(`${report.done} of ${files} small files were restored`);
  const small = {
    files,
    atQuarterMiB: report.rssAtQuarterMiB,
    atEndMiB: report.rssAtEndMiB,
    peakMiB: peakRssMiB,
  };
  progress(
    `${files} small restores: RSS ${small.atQuarterMiB.toFixed(0)} MiB at a quarter, ${small.atEndMiB.toFixed(0)} MiB at the end`,
  );
  return { scheme, inFlight: IN_FLIGHT, restorePeakMiB, archivePeakMiB, small };
}

export interface CurvePoint {
  readonly workers: number;
  readonly scheme: Scheme;
  readonly gibPerSecond: Spread;
  readonly cpuSecondsPerGiB: Spread;
}

/** Large restores with so many workers each; the numbers of workers take turns. */
export async function measureCurve(lab: Lab): Promise<CurvePoint[]> {
  const { largeFiles, curve, rounds, connections } = lab.options;
  const points: CurvePoint[] = [];
  for (const scheme of lab.options.schemes) {
    const dir = lab.scratch.path('target');
    const bytes = largeBytes(lab.options);
    const job = newJob(lab, { work: 'restore', scheme, prefix: 'big', dir, count: largeFiles, bytes });
    const gib = job.totalBytes / GIB;
    const rangesPerFile = Math.max(1, Math.round(connections / largeFiles));
    const usages = new Map(curve.map((workers) => [workers, [] as { rate: number; cost: number }[]]));
    for (let round = 0; round < Math.min(rounds, CURVE_ROUNDS); round += 1) {
      for (const [workers, list] of usages) {
        lab.scratch.fresh('target');
        const usage = await measured(lab, oursCommand(lab, job, { workers, rangesPerFile }));
        list.push({ rate: gib / usage.wallSeconds, cost: usage.cpuSeconds / gib });
        progress(`workers ${workers} ${scheme}: ${(gib / usage.wallSeconds).toFixed(2)} GiB/s`);
      }
    }
    for (const [workers, list] of usages)
      points.push({
        workers,
        scheme,
        gibPerSecond: spread(list.map(({ rate }) => rate)),
        cpuSecondsPerGiB: spread(list.map(({ cost }) => cost)),
      });
    lab.scratch.remove('target');
  }
  return points;
}

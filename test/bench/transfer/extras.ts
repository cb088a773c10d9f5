// What is measured of our engine's memory, with many large transfers in flight and over very many small ones. And what each program
// takes to start.
import { readFileSync } from 'node:fs';
import { checkFiles, checkUploads, measured, newJob, progress } from './lab.js';
import { IN_FLIGHT, MIB, SMALL_BYTES, type Lab } from './lab.js';
import type { Scheme } from './options.js';
import { oursCommand, type Program } from './programs.js';
import { median } from './statistics.js';

const START_RUNS = 3;

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

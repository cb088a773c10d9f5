// Side by side: each round every program does the same job once, in an order that turns. One job is one kind of work
// over one scheme.
import { checkFiles, checkUploads, makeFiles, measured, newJob, progress } from './lab.js';
import { GIB, MIB, SMALL_BYTES, type Job, type JobOptions, type Lab, type Usage, type Work } from './lab.js';
import type { Options, Scheme } from './options.js';
import { floorCommand, type Program } from './programs.js';
import { rotated, spread, type Spread } from './statistics.js';

/** The names of the numbers, as they stand in the JSON file. */
export type Measures = Readonly<Record<string, Spread>>;

export interface Comparison {
  readonly work: Work;
  readonly scheme: Scheme;
  /** By program. */
  readonly rows: ReadonlyMap<string, Measures>;
}

interface Sample extends Usage {
  readonly serverCpuSeconds: number;
}

const CHECK_FILES = 2;
const CHECK_BYTES = 48 * MIB;

export function largeBytes(options: Options): number {
  return Math.max(MIB, Math.round((options.gib * GIB) / options.largeFiles / MIB) * MIB);
}

function jobOptions(lab: Lab, work: Work, scheme: Scheme): JobOptions {
  const { largeFiles, smallFiles } = lab.options;
  const target = lab.scratch.path('target');
  const large = { scheme, count: largeFiles, bytes: largeBytes(lab.options) };
  switch (work) {
    case 'restore':
      return { ...large, work, prefix: 'big', dir: target };
    case 'archive':
      return { ...large, work, prefix: 'up', dir: lab.scratch.path('source') };
    case 'smallRestore':
      return { work, scheme, prefix: 'small', dir: target, count: smallFiles, bytes: SMALL_BYTES };
  }
}

async function runOnce(lab: Lab, job: Job, program: Program, isChecked: boolean): Promise<Sample> {
  if (job.work !== 'archive') lab.scratch.fresh('target');
  await job.server.reset();
  const before = await job.server.stats();
  const usage = await measured(lab, program.command(job));
  const after = await job.server.stats();
  if (job.work === 'archive') await checkUploads(job, false);
  else if (isChecked) await checkFiles(lab, job.files);
  lab.scratch.remove('target');
  return { ...usage, serverCpuSeconds: after.cpuSeconds - before.cpuSeconds };
}

/** A short upload of each program of which the server compares every byte; in the measured ones it looks at each block's place. */
async function checkArchives(lab: Lab, scheme: Scheme, programs: readonly Program[]): Promise<void> {
  const dir = lab.scratch.fresh('check');
  const common = { work: 'archive', scheme, prefix: 'check', dir } as const;
  const job = newJob(lab, { ...common, count: CHECK_FILES, bytes: CHECK_BYTES });
  await makeFiles(lab, job.files);
  await job.server.verify(true);
  for (const program of programs) {
    await job.server.reset();
    await measured(lab, program.command(job));
    await checkUploads(job, true);
  }
  await job.server.verify(false);
  lab.scratch.remove('check');
}

function measuresOf(job: Job, samples: readonly Sample[], startCpuSeconds: number): Measures {
  const gib = job.totalBytes / GIB;
  const of = (value: (sample: Sample) => number): Spread => spread(samples.map(value));
  const count = job.files.length;
  const peakRssMiB = of((sample) => sample.peakRssMiB);
  if (job.work === 'smallRestore')
    return {
      cpuMsPerFile: of(({ cpuSeconds }) => (cpuSeconds * 1000) / count),
      filesPerSecond: of(({ wallSeconds }) => count / wallSeconds),
      peakRssMiB,
      cpuMsPerFileWithoutStart: of(({ cpuSeconds }) => ((cpuSeconds - startCpuSeconds) * 1000) / count),
    };
  return {
    cpuSecondsPerGiB: of(({ cpuSeconds }) => cpuSeconds / gib),
    gibPerSecond: of(({ wallSeconds }) => gib / wallSeconds),
    peakRssMiB,
    cpuSecondsPerGiBWithoutStart: of(({ cpuSeconds }) => (cpuSeconds - startCpuSeconds) / gib),
    serverCpuSecondsPerGiB: of(({ serverCpuSeconds }) => serverCpuSeconds / gib),
  };
}

/** The floor without the writes: as fast as this server can be asked. */
function unwritten(lab: Lab): Omit<Program, 'name'> & { readonly name: 'floorUnwritten' } {
  const command = (job: Job): ReturnType<Program['command']> => floorCommand(lab, job, false);
  return { name: 'floorUnwritten', about: '', command, nothing: { file: 'true', args: [] } };
}

/** Runs the comparison. `startCpuSeconds`: what each program takes to do nothing. Throws when content was wrong. */
export async function compare(
  lab: Lab,
  work: Work,
  scheme: Scheme,
  programs: readonly Program[],
  startCpuSeconds: ReadonlyMap<string, number>,
): Promise<Comparison> {
  const job = newJob(lab, jobOptions(lab, work, scheme));
  if (work === 'archive') {
    await checkArchives(lab, scheme, programs);
    lab.scratch.fresh('source');
    await makeFiles(lab, job.files);
    newJob(lab, jobOptions(lab, work, scheme)); // the list is this job's again
  }
  const isFloorThere = work === 'restore' && programs.some(({ name }) => name === 'floor');
  const runners = [...programs, ...(isFloorThere ? [unwritten(lab)] : [])];
  const samples = new Map<string, Sample[]>(runners.map(({ name }) => [name, []]));
  for (let round = 0; round < lab.options.rounds; round += 1) {
    for (const runner of rotated(runners, round)) {
      const isWritten = runner.name !== 'floorUnwritten';
      const isChecked = isWritten && (round === 0 || runner.name === 'ours');
      const sample = await runOnce(lab, job, runner as Program, isChecked);
      samples.get(runner.name)?.push(sample);
      const { cpuSeconds, wallSeconds } = sample;
      progress(
        `${work} ${scheme} ${round + 1}/${lab.options.rounds} ${runner.name}: ` +
          `${cpuSeconds.toFixed(2)} s CPU, ${wallSeconds.toFixed(2)} s`,
      );
    }
  }
  lab.scratch.remove('source');
  const rows = [...samples].map(
    ([name, list]) => [name, measuresOf(job, list, startCpuSeconds.get(name) ?? 0)] as const,
  );
  return { work, scheme, rows: new Map(rows) };
}

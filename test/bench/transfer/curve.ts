// What more threads bring: restores with more ranges at once, each of which has a thread of C, and archives with more workers.
import { largeBytes } from './compare.js';
import { GIB, makeFiles, measured, newJob, progress, type Job, type Lab } from './lab.js';
import type { Scheme } from './options.js';
import { oursCommand, type OursOptions } from './programs.js';
import { spread, type Spread } from './statistics.js';

const MOST_ROUNDS = 3;
/** Ranges at once, of one file after the other. */
const RANGES = [1, 2, 4, 8, 16];

export interface CurvePoint {
  readonly work: 'restore' | 'archive';
  readonly scheme: Scheme;
  /** Of `restore`, ranges at once; of `archive`, workers. */
  readonly threads: number;
  readonly gibPerSecond: Spread;
  readonly cpuSecondsPerGiB: Spread;
}

/** The numbers of threads take turns. */
async function measureOne(
  lab: Lab,
  scheme: Scheme,
  job: Job,
  counts: readonly number[],
  optionsOf: (threads: number) => OursOptions,
): Promise<CurvePoint[]> {
  const gib = job.totalBytes / GIB;
  const work = job.work === 'archive' ? 'archive' : 'restore';
  const usages = new Map(counts.map((threads) => [threads, [] as { rate: number; cost: number }[]]));
  for (let round = 0; round < Math.min(lab.options.rounds, MOST_ROUNDS); round += 1) {
    for (const [threads, list] of usages) {
      if (work === 'restore') lab.scratch.fresh('target');
      await job.server.reset();
      const usage = await measured(lab, oursCommand(lab, job, optionsOf(threads)));
      list.push({ rate: gib / usage.wallSeconds, cost: usage.cpuSeconds / gib });
      progress(`${work} ${scheme}, ${threads} at once: ${(gib / usage.wallSeconds).toFixed(2)} GiB/s`);
    }
  }
  return [...usages].map(([threads, list]) => ({
    work,
    scheme,
    threads,
    gibPerSecond: spread(list.map(({ rate }) => rate)),
    cpuSecondsPerGiB: spread(list.map(({ cost }) => cost)),
  }));
}

export async function measureCurve(lab: Lab): Promise<CurvePoint[]> {
  const { largeFiles, curve, schemes } = lab.options;
  const points: CurvePoint[] = [];
  const common = { count: largeFiles, bytes: largeBytes(lab.options) };
  for (const scheme of schemes) {
    const target = {
      ...common,
      work: 'restore',
      scheme,
      prefix: 'big',
      dir: lab.scratch.path('target'),
    } as const;
    const restores = newJob(lab, target);
    points.push(
      ...(await measureOne(lab, scheme, restores, RANGES, (ranges) => ({
        inFlight: 1,
        rangesPerFile: ranges,
      }))),
    );
    lab.scratch.remove('target');
    const source = {
      ...common,
      work: 'archive',
      scheme,
      prefix: 'up',
      dir: lab.scratch.path('source'),
    } as const;
    const archives = newJob(lab, source);
    lab.scratch.fresh('source');
    await makeFiles(lab, archives.files);
    points.push(...(await measureOne(lab, scheme, archives, curve, (workers) => ({ workers }))));
    lab.scratch.remove('source');
  }
  return points;
}

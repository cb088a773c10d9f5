// All that one run of the transfer bench found, and its JSON form: medians under the names of the measures, minimum and
// maximum beside them.
import type { Comparison, Measures } from './compare.js';
import type { CurvePoint } from './curve.js';
import type { MemoryReport, Start } from './extras.js';
import type { Machine } from './machine.js';
import { coresFor, ratio, significant } from './statistics.js';

/** What one agent's node should restore. */
export const GOAL_GIB_PER_SECOND = 7.5;

export interface Results {
  readonly machine: Machine;
  readonly rounds: number;
  /** By program: what it is, and what it takes to start. */
  readonly programs: ReadonlyMap<string, { readonly about: string; readonly start: Start }>;
  readonly comparisons: readonly Comparison[];
  readonly curve: readonly CurvePoint[];
  readonly memory: MemoryReport | undefined;
}

/** The measure that programs are compared by. */
export function costOf(comparison: Comparison): 'cpuMsPerFile' | 'cpuSecondsPerGiB' {
  return comparison.work === 'smallRestore' ? 'cpuMsPerFile' : 'cpuSecondsPerGiB';
}

/** Ours divided by each other program, of medians; below 1 is cheaper, or slower where it is a rate. */
export function ratios(comparison: Comparison, measure: string): Map<string, number> {
  const found = new Map<string, number>();
  const own = comparison.rows.get('ours')?.[measure]?.median;
  for (const [name, measures] of comparison.rows) {
    const value = ratio(own, measures[measure]?.median);
    if (name !== 'ours' && name !== 'floorUnwritten' && value !== undefined) found.set(name, value);
  }
  return found;
}

/** Cores for the goal, by scheme: 7.5 GiB/s times the median CPU seconds a GiB. */
export function projections(results: Results): { work: string; scheme: string; cores: number }[] {
  return results.comparisons.flatMap((comparison) => {
    const cost = comparison.rows.get('ours')?.['cpuSecondsPerGiB']?.median;
    if (cost === undefined) return [];
    const { work, scheme } = comparison;
    return [{ work, scheme, cores: coresFor(GOAL_GIB_PER_SECOND, cost) }];
  });
}

/** The larger peak of the runs with many transfers in flight. */
export function peakRssMiB({ memory }: Results): number | undefined {
  return memory && Math.max(memory.restorePeakMiB, memory.archivePeakMiB);
}

function measuresJson(measures: Measures): object {
  const part = (which: 'min' | 'median' | 'max'): Record<string, number> =>
    Object.fromEntries(Object.entries(measures).map(([name, spread]) => [name, significant(spread[which])]));
  return { ...part('median'), min: part('min'), max: part('max') };
}

/** Round numbers all over; undefined for a section that was left out. */
function tidy(value: unknown): unknown {
  if (value === undefined) return undefined;
  return JSON.parse(
    JSON.stringify(value, (_, each: unknown) => (typeof each === 'number' ? significant(each) : each)),
  );
}

export function toJson(results: Results): object {
  const sections: Record<string, Record<string, object>> = {};
  const allRatios: Record<string, Record<string, object>> = {};
  for (const comparison of results.comparisons) {
    const { work, scheme, rows } = comparison;
    const programs = [...rows].map(([name, measures]) => [name, measuresJson(measures)] as const);
    (sections[work] ??= {})[scheme] = Object.fromEntries(programs);
    (allRatios[work] ??= {})[scheme] = tidy(
      Object.fromEntries(ratios(comparison, costOf(comparison))),
    ) as object;
  }
  return {
    ...sections,
    peakRssMiB: tidy(peakRssMiB(results)),
    ratios: allRatios,
    memory: tidy(results.memory),
    threads: tidy(results.curve),
    coresFor7p5GiBPerSecond: tidy(projections(results)),
    programs: tidy(Object.fromEntries(results.programs)),
    rounds: results.rounds,
    machine: results.machine,
  };
}

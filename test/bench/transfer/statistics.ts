// The little statistics of the transfer bench.

/** Of several runs. */
export interface Spread {
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

/** The middle value, or the mean of the two in the middle. Throws RangeError without a value. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  if (low === undefined || high === undefined) throw new RangeError('no values');
  return (low + high) / 2;
}

export function spread(values: readonly number[]): Spread {
  return { min: Math.min(...values), median: median(values), max: Math.max(...values) };
}

/** `of / to`, or undefined when one is missing or there is nothing to divide by. */
export function ratio(of: number | undefined, to: number | undefined): number | undefined {
  return of === undefined || to === undefined || to === 0 ? undefined : of / to;
}

/** Rounded to significant digits: what is written down should not look more exact than it is. */
export function significant(value: number, digits = 4): number {
  return Number(value.toPrecision(digits));
}

/** The list begun at another place each round, so that nobody always comes first or behind the same neighbour. */
export function rotated<T>(list: readonly T[], round: number): T[] {
  const at = list.length === 0 ? 0 : round % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}

/** Cores for a throughput: it times the CPU seconds of a GiB. */
export function coresFor(gibPerSecond: number, cpuSecondsPerGiB: number): number {
  return gibPerSecond * cpuSecondsPerGiB;
}

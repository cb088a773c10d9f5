// How many of the actions that nobody waits for run at once: as many as configured, fewer while the main thread has no time
// to spare. agent-parts.ts tells the scheduler. More of them would not end sooner then, but a blocked reader's restore, which
// needs the main thread several times, would wait behind each of them every time.
import { performance, type EventLoopUtilization } from 'node:perf_hooks';

const SAMPLE_MS = 100;
/** Fewer would leave the other threads, and the service, with nothing to do. */
const LEAST = 8;
/** Shares of the time that the main thread is busy. */
const BUSY = 0.95;
const EASY = 0.85;

/** The number after a sample with so large a share of busy time. */
export function nextLimit(limit: number, most: number, utilization: number): number {
  if (utilization > BUSY) return Math.min(most, Math.max(LEAST, Math.floor(limit * 0.75)));
  if (utilization < EASY) return Math.min(most, limit + Math.max(1, limit >> 3));
  return Math.min(most, limit);
}

export class LoopLoad {
  readonly #most: () => number;
  readonly #onLimit: (limit: number) => void;
  #limit: number;
  #former: EventLoopUtilization = performance.eventLoopUtilization();
  #timer: NodeJS.Timeout | undefined;

  /** `most`: as configured; it may change. */
  constructor(most: () => number, onLimit: (limit: number) => void) {
    this.#most = most;
    this.#onLimit = onLimit;
    this.#limit = most();
  }

  start(): void {
    this.#timer ??= setInterval(() => {
      this.#sample();
    }, SAMPLE_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #sample(): void {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, this.#former);
    this.#former = now;
    const limit = nextLimit(this.#limit, this.#most(), utilization);
    if (limit === this.#limit) return;
    this.#limit = limit;
    this.#onLimit(limit);
  }
}

// How late the event loop is: for /metrics and /healthz.
import { monitorEventLoopDelay } from 'node:perf_hooks';

const RESOLUTION_MS = 20;
const WINDOW_MS = 10_000;

export interface EventLoopLag {
  readonly meanMs: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** Measures from its making until `close`. A reading covers at least the last ten seconds, if there were so many. */
export class EventLoopMonitor {
  readonly #histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  #windowStart = performance.now();
  #last: EventLoopLag = { meanMs: 0, p99Ms: 0, maxMs: 0 };

  constructor() {
    this.#histogram.enable();
  }

  lag(): EventLoopLag {
    const now = this.#read();
    const worst: EventLoopLag = {
      meanMs: Math.max(now.meanMs, this.#last.meanMs),
      p99Ms: Math.max(now.p99Ms, this.#last.p99Ms),
      maxMs: Math.max(now.maxMs, this.#last.maxMs),
    };
    if (performance.now() - this.#windowStart >= WINDOW_MS) {
      this.#last = now;
      this.#histogram.reset();
      this.#windowStart = performance.now();
    }
    return worst;
  }

  close(): void {
    this.#histogram.disable();
  }

  #read(): EventLoopLag {
    // The histogram holds the intervals of its own timer, in nanoseconds; without a sample it has no mean.
    const late = (ns: number): number => Math.max(0, ns / 1e6 - RESOLUTION_MS) || 0;
    const { mean, max } = this.#histogram;
    return { meanMs: late(mean), p99Ms: late(this.#histogram.percentile(99)), maxMs: late(max) };
  }
}

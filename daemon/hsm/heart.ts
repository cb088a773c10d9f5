// The heart: one timer that lets every begun action send its progress, and begins queued ones early when they
// have waited so long that the coordinator might give them up. agent.ts starts and stops it.
import type { Action } from './action.js';

export interface HeartOptions {
  /** Begun and queued actions alike, the longest waiting first. */
  readonly actions: () => Iterable<Action>;
  readonly timings: () => { readonly heartbeatMs: number; readonly activeRequestTimeoutMs: number };
}

/** Beats at a quarter of the heartbeat interval, so that none is late by more than that. */
export class Heart {
  readonly #options: HeartOptions;
  #timer: NodeJS.Timeout | undefined;
  #pumping = false;

  constructor(options: HeartOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#timer) return;
    this.#schedule();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** One round; never rejects, and never overlaps with another. */
  async pump(nowMs: number): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    // A third of the timeout leaves room for a slow begin and for the heartbeats that follow.
    const patienceMs = this.#options.timings().activeRequestTimeoutMs / 3;
    try {
      for (const action of this.#options.actions()) {
        if (action.begun) void action.beat(nowMs);
        else if (nowMs - action.receivedAtMs > patienceMs) await action.beginEarly();
      }
    } finally {
      this.#pumping = false;
    }
  }

  #schedule(): void {
    const intervalMs = Math.max(10, this.#options.timings().heartbeatMs / 4);
    this.#timer = setTimeout(() => {
      void this.pump(performance.now());
      if (this.#timer) this.#schedule();
    }, intervalMs);
    this.#timer.unref();
  }
}

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
  #pumping: Promise<void> | undefined;
  #paused = false;

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

  /** No beat and no begin from now on until `resume`; resolves when none is under way. */
  async pause(): Promise<void> {
    this.#paused = true;
    await this.#pumping;
  }

  resume(): void {
    this.#paused = false;
  }

  /** One round; never rejects, and never overlaps with another. */
  pump(nowMs: number): Promise<void> {
    this.#pumping ??= this.#pump(nowMs).finally(() => {
      this.#pumping = undefined;
    });
    return this.#pumping;
  }

  async #pump(nowMs: number): Promise<void> {
    // A third of the timeout leaves room for a slow begin and for the heartbeats that follow.
    const patienceMs = this.#options.timings().activeRequestTimeoutMs / 3;
    for (const action of this.#options.actions()) {
      if (this.#paused) return;
      if (action.begun) void action.beat(nowMs);
      else if (nowMs - action.receivedAtMs > patienceMs) await action.beginEarly();
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

// The heart: one timer that lets every begun action send its progress, and begins queued ones early when they
// have waited so long that the coordinator might give them up. agent.ts starts and stops it.
import type { Action } from './action.js';

export interface HeartOptions {
  /** Begun and queued actions alike, the longest waiting first. */
  readonly actions: () => Iterable<Action>;
  readonly timings: () => { readonly heartbeatMs: number; readonly activeRequestTimeoutMs: number };
}

/** Early begins of a kind under way at once: few, or they would stand in the way of those whose turn it is. */
const EARLY_BEGINS = 4;

/** Restores do not wait behind the begins of the others, all of which a hung OST may hold. */
const KINDS = ['restores', 'others'] as const;
type Kind = (typeof KINDS)[number];

/** Beats at a quarter of the heartbeat interval, so that none is late by more than that. */
export class Heart {
  readonly #options: HeartOptions;
  #timer: NodeJS.Timeout | undefined;
  readonly #beginning: Record<Kind, number> = { restores: 0, others: 0 };
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

  /** No beat and no begin starts from now on until `resume`; those under way are the actions' to wait for. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
  }

  /**
   * One round: every beat that is due is under way when it returns. Resolves, and never rejects, when the early begins of this
   * round are through; nobody but tests waits for them, for one that hangs must not keep others from their beats.
   */
  async pump(nowMs: number): Promise<void> {
    if (this.#paused) return;
    for (const action of this.#options.actions()) if (action.begun) void action.beat(nowMs);
    const begins = KINDS.flatMap((kind) => {
      const due = this.#due(kind, nowMs);
      return Array.from({ length: EARLY_BEGINS - this.#beginning[kind] }, () => this.#begin(kind, due));
    });
    await Promise.all(begins);
  }

  *#due(kind: Kind, nowMs: number): Iterable<Action> {
    // A third of the timeout leaves room for a slow begin and for the heartbeats that follow.
    const patienceMs = this.#options.timings().activeRequestTimeoutMs / 3;
    for (const action of this.#options.actions()) {
      if (this.#paused) return;
      const fits = (action.lane === 'restore') === (kind === 'restores');
      if (fits && !action.begun && nowMs - action.receivedAtMs > patienceMs) yield action;
    }
  }

  /** Begins one after the other; several of these share what is due. */
  async #begin(kind: Kind, due: Iterable<Action>): Promise<void> {
    this.#beginning[kind] += 1;
    for (const action of due) await action.beginEarly();
    this.#beginning[kind] -= 1;
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

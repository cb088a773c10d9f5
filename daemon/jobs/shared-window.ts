// One window for all batch restores of a daemon: what readers feel is the sum of what all have outstanding. operations.ts makes
// one, each requester joins it; a requester of its own has a window of its own.
import { RequestWindow } from './request-window.js';

/** More would be a list of all files rather than a window. */
export const MAX_WINDOW = 100_000;

export class SharedWindow {
  readonly #members = new Set<WindowShare>();
  #window = new RequestWindow(MAX_WINDOW);

  /** Requests outstanding, of all members. */
  get outstanding(): number {
    let sum = 0;
    for (const member of this.#members) sum += member.outstanding;
    return sum;
  }

  /** Learns from the ends of all members' requests how many may be outstanding in all. */
  get window(): RequestWindow {
    return this.#window;
  }

  get members(): number {
    return Math.max(1, this.#members.size);
  }

  /** `most`: what the operator allows this one, all others' requests included. */
  join(most: number): WindowShare {
    const share = new WindowShare(this, most);
    this.#members.add(share);
    return share;
  }

  leave(share: WindowShare): void {
    this.#members.delete(share);
    // What was learned holds for the load that was there.
    if (this.#members.size === 0) this.#window = new RequestWindow(MAX_WINDOW);
  }
}

/** One requester's part. */
export class WindowShare {
  readonly #shared: SharedWindow;
  readonly #most: number;
  /** What this one has outstanding: its owner keeps it up to date. */
  outstanding = 0;

  constructor(shared: SharedWindow, most: number) {
    this.#shared = shared;
    this.#most = most;
  }

  /** Requests that this one may have outstanding now: an equal part, however greedy who came first was. */
  get limit(): number {
    const all = Math.min(this.#most, this.#shared.window.limit);
    return Math.max(1, Math.floor(all / this.#shared.members));
  }

  /** How many more it may ask for now. */
  get room(): number {
    const all = Math.min(this.#most, this.#shared.window.limit);
    return Math.min(this.limit - this.outstanding, all - this.#shared.outstanding);
  }

  get meanMs(): number | undefined {
    return this.#shared.window.meanMs;
  }

  settled(tookMs: number): void {
    this.#shared.window.settled(tookMs);
  }

  leave(): void {
    this.outstanding = 0;
    this.#shared.leave(this);
  }
}

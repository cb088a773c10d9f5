// How many requests may be outstanding at the coordinator: enough to keep every agent busy, not so many that readers
// wait behind them. requester.ts asks it.
//
// The coordinator hands requests out in the order of its log and stops when hsm.max_requests are running, restores that
// a reader waits for included (mdt_coordinator.c, mdt_cdt_waiting_cb: only one restore a round may pass a full house). So
// whatever is outstanding beyond what is running delays every reader by the time that the agents take for it. How much
// the agents can have in hand is theirs and the MDS's to say, not ours to know; but by Little's law it is their rate times
// the time that one request takes while none waits. Twice that keeps them busy over a round of the coordinator
// (it looks for work about once a second) and makes nobody wait longer than twice what he would wait in the quiet.

/** Never less than this, so that a slow start, or files that take long, do not leave agents without work. */
const FLOOR = 256;
const TICK_MS = 1000;
/** Too few to say anything, unless there are none for long. */
const ENOUGH = 16;
const LONG_MS = 10_000;
const GAIN = 2;
const KEEP = 0.75;

export class RequestWindow {
  readonly #most: number;
  readonly #floor: number;
  readonly #now: () => number;
  #target: number;
  /** The mean time of a request while few were outstanding. */
  #quietMs: number | undefined;
  #meanMs: number | undefined;
  #tickAtMs: number | undefined;
  #count = 0;
  #sumMs = 0;

  /** @param most - what the operator allows. */
  constructor(most: number, floor = FLOOR, now: () => number = () => performance.now()) {
    this.#most = most;
    this.#floor = Math.min(floor, most);
    this.#target = this.#floor;
    this.#now = now;
  }

  /** Requests that may be outstanding now. */
  get limit(): number {
    return this.#target;
  }

  /** What a request took lately; undefined until the first. */
  get meanMs(): number | undefined {
    return this.#meanMs;
  }

  /** A request has come to its end, so long after it was made. */
  settled(tookMs: number): void {
    const nowMs = this.#now();
    this.#tickAtMs ??= nowMs - tookMs;
    this.#count += 1;
    this.#sumMs += tookMs;
    const elapsedMs = nowMs - this.#tickAtMs;
    if (elapsedMs < TICK_MS || (this.#count < ENOUGH && elapsedMs < LONG_MS)) return;
    const meanMs = this.#sumMs / this.#count;
    // At the floor nothing can be learned by having fewer: what a request takes there is what it takes.
    const atFloor = this.#target <= this.#floor;
    this.#quietMs = atFloor ? meanMs : Math.min(this.#quietMs ?? meanMs, meanMs);
    const target = Math.ceil((GAIN * this.#count * this.#quietMs) / elapsedMs);
    // One slow second is no reason to leave agents without work: it shrinks by a quarter at most.
    const least = Math.max(this.#floor, this.#target * KEEP);
    this.#target = Math.min(this.#most, Math.ceil(Math.max(least, target)));
    this.#meanMs = meanMs;
    this.#tickAtMs = nowMs;
    this.#count = 0;
    this.#sumMs = 0;
  }
}

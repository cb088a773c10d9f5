// Places in shared memory where threads count the bytes that they have written, and the counters that follow them. worker-pool.ts
// has places for each worker, thread-gets.ts for its threads of C.
import { Numbered } from './numbered.js';
import type { TransferCounters } from './transfer.js';

/** Jobs at once whose bytes are seen while they move; those of more are counted at their end. */
const SLOTS = 1024;

/** How often the counters follow; heartbeats and metrics come more seldom. */
const FOLLOW_MS = 200;

/** Those of some threads. */
export class ProgressSlots {
  readonly shared = new SharedArrayBuffer(SLOTS * Float64Array.BYTES_PER_ELEMENT);
  readonly counts = new Float64Array(this.shared);
  readonly #free: number[] = Array.from({ length: SLOTS }, (_, index) => index);

  /** A place that says 0; below 0 when all are in use. */
  take(): number {
    const slot = this.#free.pop() ?? -1;
    if (slot >= 0) this.counts[slot] = 0;
    return slot;
  }

  give(slot: number): void {
    if (slot >= 0) this.#free.push(slot);
  }
}

/** One job whose counters follow what it has written. */
export class Followed {
  readonly slots: ProgressSlots;
  readonly slot: number;
  /** Among its Followers. */
  number = 0;
  readonly #counters: TransferCounters;
  /** What the counters have already. */
  #bytes = 0;

  constructor(slots: ProgressSlots, counters: TransferCounters) {
    this.slots = slots;
    this.slot = slots.take();
    this.#counters = counters;
  }

  /** Brings the counters up to what the place says. */
  follow(): void {
    if (this.slot >= 0) this.reach(this.slots.counts[this.slot] ?? 0);
  }

  /** Brings the counters to so many bytes of this job. */
  reach(bytes: number): void {
    this.#counters.bytes += bytes - this.#bytes;
    this.#bytes = bytes;
  }
}

export class Followers {
  readonly #followed = new Numbered<Followed>();
  #timer: NodeJS.Timeout | undefined;

  begin(slots: ProgressSlots, counters: TransferCounters): Followed {
    const followed = new Followed(slots, counters);
    followed.number = this.#followed.add(followed);
    this.#timer ??= setInterval(() => {
      this.#follow();
    }, FOLLOW_MS).unref();
    return followed;
  }

  /** Nobody counts in its place any more. */
  end(followed: Followed): void {
    this.#followed.delete(followed.number);
    followed.slots.give(followed.slot);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #follow(): void {
    if (this.#followed.size === 0) this.close();
    for (const followed of this.#followed.values()) followed.follow();
  }
}

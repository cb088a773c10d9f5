// A cap on bytes a second, over all transfers of one direction. parts.ts asks before each request.
import { setTimeout as delay } from 'node:timers/promises';
import { canceled } from '../azure-errors.js';
import type { Ends } from '../stop.js';

/** The clock; tests have their own. */
export interface Clock {
  /** Milliseconds, that only grow. */
  now(): number;
  /** Resolves after `ms`, rejects when `signal` aborts before. */
  wait(ms: number, signal: AbortSignal): Promise<unknown>;
}

const realClock: Clock = {
  now: () => performance.now(),
  wait: (ms, signal) => delay(ms, undefined, { signal }),
};

interface Waiter {
  readonly bytes: number;
  readonly grant: () => void;
}

/**
 * A token bucket that holds one second's worth. A request is let through while there is anything in it, and takes all that
 * it is going to move, on credit if need be: so the average is kept to the byte, whatever the size of a range.
 */
export class Bandwidth {
  readonly #bytesPerSecond: number;
  readonly #clock: Clock;
  #balance: number;
  #filledAt: number;
  readonly #line: Waiter[] = [];
  /** Of the wait for the first in line. */
  #waiting: AbortController | undefined;

  /** `bytesPerSecond`: 0 for no cap. */
  constructor(bytesPerSecond: number, clock: Clock = realClock) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#clock = clock;
    this.#balance = bytesPerSecond;
    this.#filledAt = clock.now();
  }

  /** Whether there is a cap at all. */
  get isCapped(): boolean {
    return this.#bytesPerSecond > 0;
  }

  /** Waits for its turn, first come first served. Rejects with LhsmError ECANCELED as soon as `signal` aborts. */
  async take(bytes: number, signal: Ends): Promise<void> {
    if (!this.isCapped) return;
    if (signal.aborted) throw canceled('bandwidth');
    await new Promise<void>((resolve, reject) => {
      const leave = (): void => {
        this.#line.splice(this.#line.indexOf(waiter), 1);
        reject(canceled('bandwidth'));
        if (this.#line.length === 0) this.#waiting?.abort();
      };
      const waiter: Waiter = {
        bytes,
        grant: () => {
          signal.removeEventListener('abort', leave);
          resolve();
        },
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#line.push(waiter);
      this.#serve();
    });
  }

  /** Lets through who may go, and comes again when the next may. */
  #serve(): void {
    if (this.#waiting) return;
    this.#fill();
    for (let next = this.#line[0]; next && this.#balance > 0; next = this.#line[0]) {
      this.#line.shift();
      this.#balance -= next.bytes;
      next.grant();
    }
    if (this.#line.length === 0) return;
    const again = (): void => {
      this.#waiting = undefined;
      this.#serve();
    };
    this.#waiting = new AbortController();
    const ms = Math.ceil((-this.#balance / this.#bytesPerSecond) * 1000) + 1;
    this.#clock.wait(ms, this.#waiting.signal).then(again, again);
  }

  #fill(): void {
    const now = this.#clock.now();
    const more = ((now - this.#filledAt) / 1000) * this.#bytesPerSecond;
    this.#balance = Math.min(this.#bytesPerSecond, this.#balance + more);
    this.#filledAt = now;
  }
}

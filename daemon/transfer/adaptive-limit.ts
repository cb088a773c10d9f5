// How many requests of an account may be under way: the daemon finds the account's ceiling by itself. parts.ts takes a
// place for each request. Additive increase, multiplicative decrease, as TCP does it.
import { canceled } from '../azure-errors.js';
import type { Ends } from '../stop.js';

/** Refusals within that time of a cut speak of the load before it. */
const WAVE_MS = 1000;

interface Waiter {
  readonly grant: () => void;
}

/**
 * At most `max` places, halved by a throttle, a little more with each success. First ranges go before later ones:
 * a reader who waits for a first byte does not wait behind the rest of large files.
 */
export class AdaptiveLimit {
  readonly max: number;
  #limit: number;
  #inFlight = 0;
  #cutAt = -Infinity;
  /** Grants in a row to urgent ones while others waited. */
  #favours = 0;
  readonly #urgent: Waiter[] = [];
  readonly #others: Waiter[] = [];

  constructor(max: number) {
    this.max = Math.max(1, max);
    this.#limit = this.max;
  }

  /** Places there are now. */
  get limit(): number {
    return Math.floor(this.#limit);
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Takes a place if there is one now; those in line come first. */
  tryTake(): boolean {
    if (this.#inFlight >= this.limit) return false;
    this.#inFlight += 1;
    return true;
  }

  /** Takes a place; rejects with LhsmError ECANCELED when `signal` aborts before there is one. */
  async take(urgent: boolean, signal: Ends): Promise<void> {
    if (signal.aborted) throw canceled('request');
    if (this.tryTake()) return;
    await new Promise<void>((resolve, reject) => {
      const line = urgent ? this.#urgent : this.#others;
      const leave = (): void => {
        line.splice(line.indexOf(waiter), 1);
        reject(canceled('request'));
      };
      const waiter: Waiter = {
        grant: () => {
          signal.removeEventListener('abort', leave);
          resolve();
        },
      };
      signal.addEventListener('abort', leave, { once: true });
      line.push(waiter);
    });
  }

  /** Gives the place back. */
  give(): void {
    this.#inFlight -= 1;
    this.#serve();
  }

  succeeded(): void {
    if (this.#limit >= this.max) return;
    this.#limit = Math.min(this.max, this.#limit + 1 / this.#limit);
    this.#serve();
  }

  /** Halves the places; answers whether it did: once a wave. */
  throttled(now = performance.now()): boolean {
    if (now - this.#cutAt < WAVE_MS) return false;
    this.#cutAt = now;
    this.#limit = Math.max(1, Math.min(this.#limit, this.#inFlight) / 2);
    return true;
  }

  /** Urgent ones first, but every fourth place is for the others: a backlog of small files must not starve large ones. */
  #next(): Waiter | undefined {
    const isOthersTurn = this.#favours >= 3 && this.#others.length > 0;
    const line = this.#urgent.length > 0 && !isOthersTurn ? this.#urgent : this.#others;
    this.#favours = line === this.#urgent && this.#others.length > 0 ? this.#favours + 1 : 0;
    return line.shift();
  }

  #serve(): void {
    while (this.#inFlight < this.limit) {
      const next = this.#next();
      if (!next) return;
      this.#inFlight += 1;
      next.grant();
    }
  }
}

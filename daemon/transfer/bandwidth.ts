// A cap on bytes a second, over all transfers of one direction. parts.ts asks before each request.
import { setTimeout as delay } from 'node:timers/promises';
import { canceled } from '../azure-errors.js';

/**
 * A token bucket that holds one second's worth. A request is let through while there is anything in it, and takes all that
 * it is going to move, on credit if need be: so the average is kept to the byte, whatever the size of a range.
 */
export class Bandwidth {
  readonly #bytesPerSecond: number;
  readonly #now: () => number;
  #balance: number;
  #filledAt: number;
  #line: Promise<void> = Promise.resolve();

  /** `bytesPerSecond`: 0 for no cap. */
  constructor(bytesPerSecond: number, now: () => number = () => performance.now()) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#now = now;
    this.#balance = bytesPerSecond;
    this.#filledAt = now();
  }

  /** Waits for its turn, first come first served. Rejects with LhsmError ECANCELED when `signal` aborts before. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    if (this.#bytesPerSecond <= 0) return;
    const turn = this.#line.then(() => this.#wait(bytes, signal));
    this.#line = turn.catch(() => undefined);
    await turn;
  }

  async #wait(bytes: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw canceled('bandwidth');
    this.#fill();
    while (this.#balance <= 0) {
      const ms = Math.ceil((-this.#balance / this.#bytesPerSecond) * 1000) + 1;
      try {
        await delay(ms, undefined, { signal });
      } catch {
        throw canceled('bandwidth');
      }
      this.#fill();
    }
    this.#balance -= bytes;
  }

  #fill(): void {
    const now = this.#now();
    const more = ((now - this.#filledAt) / 1000) * this.#bytesPerSecond;
    this.#balance = Math.min(this.#bytesPerSecond, this.#balance + more);
    this.#filledAt = now;
  }
}

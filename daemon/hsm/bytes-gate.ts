// Bounds the bytes of the files in flight in one direction: movers ask as soon as they know a file's size.
import type { Ends } from '../stop.js';

/**
 * First come, first served, with two exceptions, because somebody may wait for each restore: no file counts for more
 * than a quarter of the limit, so a giant does not stop all others; and small ones never wait.
 */
export class BytesGate {
  #limitBytes: bigint;
  #inFlightBytes = 0n;
  #waiting: { sizeBytes: bigint; admit: () => void }[] = [];

  constructor(limitBytes: number) {
    this.#limitBytes = BigInt(limitBytes);
  }

  setLimit(limitBytes: number): void {
    this.#limitBytes = BigInt(limitBytes);
    this.#next();
  }

  /** Waits for room; resolves with the function that gives it back. Rejects with the signal's reason. */
  enter(sizeBytes: bigint, signal: Ends): Promise<() => void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason as Error);
        return;
      }
      if (sizeBytes <= this.#limitBytes / 1024n) {
        resolve(() => undefined);
        return;
      }
      const charge = sizeBytes < this.#limitBytes / 4n ? sizeBytes : this.#limitBytes / 4n;
      const waiter = {
        sizeBytes: charge,
        admit: () => {
          signal.removeEventListener('abort', abort);
          this.#inFlightBytes += charge;
          let left = false;
          resolve(() => {
            if (left) return;
            left = true;
            this.#inFlightBytes -= charge;
            this.#next();
          });
        },
      };
      const abort = (): void => {
        this.#waiting = this.#waiting.filter((other) => other !== waiter);
        reject(signal.reason as Error);
        this.#next();
      };
      signal.addEventListener('abort', abort, { once: true });
      this.#waiting.push(waiter);
      this.#next();
    });
  }

  #next(): void {
    for (let first = this.#waiting[0]; first; first = this.#waiting[0]) {
      const fits = this.#inFlightBytes === 0n || this.#inFlightBytes + first.sizeBytes <= this.#limitBytes;
      if (!fits) return;
      this.#waiting.shift();
      first.admit();
    }
  }
}

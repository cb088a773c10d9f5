// Reused Buffers, bounded in bytes over all transfers of an engine. download.ts and upload.ts take from it.
import { canceled } from '../azure-errors.js';
import type { Ends } from '../stop.js';

const SMALLEST = 4096;
const MIB = 1024 * 1024;

export interface PooledBuffer {
  /** As long as was asked for; its content is whatever was there before. */
  readonly bytes: Buffer;
  /** Gives the Buffer back; once. No I/O may use it any more. */
  release(): void;
}

interface Waiter {
  readonly size: number;
  readonly urgent: boolean;
  readonly grant: () => void;
}

/** Powers of two up to 1 MiB, whole MiB above: few sizes, so that what is given back fits the next. */
function sizeClass(bytes: number): number {
  if (bytes > MIB) return Math.ceil(bytes / MIB) * MIB;
  let size = SMALLEST;
  while (size < bytes) size *= 2;
  return size;
}

/**
 * Buffers in use and idle ones together never pass `maxBytes`; that bounds the content in memory. (Node's own come
 * on top: a 64 KiB chunk or so for each connection, and over TLS the encrypted copy of a block on its way.) Who has to wait is served in the order of asking, so that
 * a large request is not overtaken for ever by small ones.
 */
export class BufferPool {
  readonly maxBytes: number;
  readonly #idle = new Map<number, Buffer[]>();
  #idleBytes = 0;
  #usedBytes = 0;
  readonly #waiters: Waiter[] = [];

  constructor(maxBytes: number) {
    if (!(maxBytes >= SMALLEST)) throw new RangeError(`a pool of ${maxBytes} bytes is too small`);
    this.maxBytes = maxBytes;
  }

  /** Bytes handed out now. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Bytes of all Buffers that the pool keeps alive. */
  get heldBytes(): number {
    return this.#usedBytes + this.#idleBytes;
  }

  /**
   * A Buffer of at most `maxBytes`; who is `urgent` waits behind others that are, and before all that are not. Rejects with LhsmError ECANCELED when `signal` aborts before there is room, throws
   * RangeError for more than the pool can ever give.
   */
  async acquire(bytes: number, signal: Ends, urgent = false): Promise<PooledBuffer> {
    if (bytes > this.maxBytes) throw new RangeError(`${bytes} bytes asked of a pool of ${this.maxBytes}`);
    if (signal.aborted) throw canceled('buffer');
    const size = Math.min(sizeClass(bytes), this.maxBytes);
    if (this.#waiters.length > 0 || this.#usedBytes + size > this.maxBytes)
      await this.#wait(size, signal, urgent);
    else this.#usedBytes += size;
    return this.#lend(bytes, size);
  }

  /** Frees the idle Buffers. */
  trim(): void {
    this.#idle.clear();
    this.#idleBytes = 0;
  }

  #lend(bytes: number, size: number): PooledBuffer {
    const buffer = this.#take(size);
    let lent = true;
    return {
      bytes: buffer.subarray(0, bytes),
      release: () => {
        if (!lent) throw new Error('a pooled buffer was released twice');
        lent = false;
        this.#give(buffer, size);
      },
    };
  }

  /** `size` is already counted as used. */
  #take(size: number): Buffer {
    const buffer = this.#idle.get(size)?.pop();
    if (buffer !== undefined) {
      this.#idleBytes -= size;
      return buffer;
    }
    if (this.heldBytes > this.maxBytes) this.#evict();
    return Buffer.allocUnsafeSlow(size);
  }

  #evict(): void {
    for (const [size, buffers] of this.#idle) {
      while (this.heldBytes > this.maxBytes && buffers.pop() !== undefined) this.#idleBytes -= size;
    }
  }

  #give(buffer: Buffer, size: number): void {
    const idle = this.#idle.get(size);
    if (idle === undefined) this.#idle.set(size, [buffer]);
    else idle.push(buffer);
    this.#usedBytes -= size;
    this.#idleBytes += size;
    this.#serve();
  }

  #serve(): void {
    for (let first = this.#waiters[0]; first !== undefined; first = this.#waiters[0]) {
      if (this.#usedBytes + first.size > this.maxBytes) return;
      this.#waiters.shift();
      this.#usedBytes += first.size;
      first.grant();
    }
  }

  #wait(size: number, signal: Ends, urgent: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        reject(canceled('buffer'));
        // The next in line may fit where this one did not.
        this.#serve();
      };
      const waiter: Waiter = {
        size,
        urgent,
        grant: () => {
          signal.removeEventListener('abort', leave);
          resolve();
        },
      };
      signal.addEventListener('abort', leave, { once: true });
      const place = urgent ? this.#waiters.findIndex((each) => !each.urgent) : -1;
      this.#waiters.splice(place < 0 ? this.#waiters.length : place, 0, waiter);
      // Who is first now may fit where the one before did not.
      this.#serve();
    });
  }
}

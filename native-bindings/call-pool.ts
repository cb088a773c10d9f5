// Bounds the asynchronous C calls in flight below the size of libuv's pool. liblustreapi.ts and libc.ts make
// every call that may wait through it.
import { CallFrame } from './ffi.js';

/**
 * Bounds the asynchronous calls in flight, first come first served, so that file I/O and the poll of the
 * receive pipe always find a thread in libuv's pool.
 */
export class CallPool {
  readonly #idle: CallFrame[];
  readonly #waiting: ((frame: CallFrame) => void)[] = [];

  constructor(readonly size: number) {
    this.#idle = Array.from({ length: size }, () => new CallFrame());
  }

  /** Calls in flight and waiting. */
  get pending(): number {
    return this.size - this.#idle.length + this.#waiting.length;
  }

  /** Lends a frame to `body`, which must await every call that it starts. */
  async run<T>(body: (frame: CallFrame) => Promise<T>): Promise<T> {
    const frame =
      this.#idle.pop() ?? (await new Promise<CallFrame>((resolve) => void this.#waiting.push(resolve)));
    try {
      return await body(frame);
    } finally {
      frame.reset();
      const next = this.#waiting.shift();
      if (next) next(frame);
      else this.#idle.push(frame);
    }
  }
}

/** Calls allowed at once in a libuv pool of that many threads: half; the rest is the poll's and file I/O's. */
export function callsAtOnce(threads: number): number {
  return Math.max(1, Math.floor(threads / 2));
}

/** Of these, how many may be archives' and removes': half, so that a hung OST leaves the other half. */
export function bulkCalls(): number {
  return Math.max(1, Math.floor(callsAtOnce(poolThreads()) / 2));
}

/** Threads that reads of files may hold, and as many writes: so a hung OST does not hold them all. */
export function fileCalls(): number {
  return Math.max(1, Math.floor(poolThreads() / 6));
}

/** Fewer threads than this, and a pending receive could keep every call waiting. */
export const MIN_POOL_THREADS = 3;

/** The threads of libuv's pool: UV_THREADPOOL_SIZE, or libuv's default and limit. */
export function poolThreads(): number {
  const threads = Number.parseInt(process.env['UV_THREADPOOL_SIZE'] ?? '', 10);
  return threads > 0 ? Math.min(threads, 1024) : 4;
}

let sharedPool: CallPool | undefined;

/** The process's pool of calls. UV_THREADPOOL_SIZE must be set before anything uses libuv's pool. */
export function callPool(): CallPool {
  return (sharedPool ??= new CallPool(callsAtOnce(poolThreads())));
}

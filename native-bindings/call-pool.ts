// Bounds the asynchronous C calls in flight. liblustreapi.ts and libc.ts make every call that may wait through it.
import { CallFrame } from './call-frame.js';

/** Lends frames, first come first served; as many calls are in flight, and as many threads (call-threads.c) wait in C. */
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

/** More requests than that to an MDS would only queue there. */
const CALLS_AT_ONCE = 128;

/** Of these, how many may be archives' and removes': half, so that a hung OST leaves the other half. */
export const BULK_CALLS = CALLS_AT_ONCE / 2;

/** Threads that reads of files may hold, and as many writes: so a hung OST does not hold them all. */
export function fileCalls(): number {
  return Math.max(1, Math.floor(poolThreads() / 6));
}

/** The threads of libuv's pool: UV_THREADPOOL_SIZE, or libuv's default and limit. */
function poolThreads(): number {
  const threads = Number.parseInt(process.env['UV_THREADPOOL_SIZE'] ?? '', 10);
  return threads > 0 ? Math.min(threads, 1024) : 4;
}

let sharedPool: CallPool | undefined;

/** The process's pool of calls. */
export function callPool(): CallPool {
  return (sharedPool ??= new CallPool(CALLS_AT_ONCE));
}

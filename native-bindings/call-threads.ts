// The threads that make C calls beside JavaScript: call-threads.c. CallFrame hands them its trips. They are not libuv's,
// for the reasons that stand there.
import { fileURLToPath } from 'node:url';
import { errnoName, LhsmError } from './errors.js';
import { CELL, loadLibrary, type CFunction, type Memory } from './ffi.js';
import { IdPipe } from './id-pipe.js';

/** Offsets in struct trip of call-threads.c. */
const CALLS_AT = 0;
const ID_AT = 2 * CELL;
export const TRIP_BYTES = 3 * CELL;

/** How often a thread is tried for again, when none could be had. */
const PROD_MS = 1000;

const BUILD = 'Run npm run build on this machine.';

class CallThreads {
  readonly #start: CFunction;
  readonly #prod: CFunction;
  #isShort = false;
  readonly #done: IdPipe;
  /** Whom to tell that the trip of this id is over. */
  readonly #waiting: ((() => void) | undefined)[] = [];
  readonly #freeIds: number[] = [];
  #trips = 0;

  constructor() {
    const fn = loadLibrary(
      fileURLToPath(new URL('calls.so', import.meta.url)),
      {
        open_threads: { result: 'i32', args: [] },
        start_trip: { result: 'i32', args: ['ptr'] },
        prod_threads: { result: 'i32', args: [] },
      },
      { missing: BUILD, symbols: BUILD },
    );
    this.#start = fn.start_trip;
    this.#prod = fn.prod_threads;
    const fd = fn.open_threads.int();
    if (fd < 0) throw failure('pipe2', -fd);
    this.#done = new IdPipe(fd, (id) => {
      this.#hear(id);
    });
    setInterval(() => {
      if (this.#trips > 0) this.#prodThreads();
    }, PROD_MS).unref();
  }

  /**
   * Has the list of calls that begins at `calls` made. `done` is called when it is over; until then the memory of both is C's.
   * Throws LhsmError when there is no thread to make them.
   */
  start(trip: Memory, calls: bigint, done: () => void): void {
    const id = this.#freeIds.pop() ?? this.#waiting.length;
    trip.bytes.writeBigUInt64LE(calls, CALLS_AT);
    trip.bytes.writeInt32LE(id, ID_AT);
    this.#waiting[id] = done;
    const rc = this.#start.int(trip);
    if (rc < 0) {
      this.#forget(id);
      throw failure('pthread_create', -rc);
    }
    if (this.#trips++ === 0) this.#done.ref();
  }

  #hear(id: number): void {
    const done = this.#waiting[id];
    this.#forget(id);
    if (--this.#trips === 0) this.#done.unref();
    done?.();
  }

  #forget(id: number): void {
    this.#waiting[id] = undefined;
    this.#freeIds.push(id);
  }

  /** What waits while all threads hang, and no other could be had, must not wait for one of them. Says so once a shortage. */
  #prodThreads(): void {
    const rc = this.#prod.int();
    if (rc < 0 && !this.#isShort) {
      const { message, hint = '', code } = failure('pthread_create', -rc);
      process.emitWarning(`${message}: calls wait until there is one.`, { code, detail: hint });
    }
    this.#isShort = rc < 0;
  }
}

function failure(op: 'pipe2' | 'pthread_create', errno: number): LhsmError {
  return new LhsmError(`cannot have a thread for calls into C: ${op} failed: ${errnoName(errno)}`, {
    code: 'NO_THREADS',
    op,
    errno,
    retryable: true,
    hint: 'Raise the limits of threads and descriptors: TasksMax= and LimitNOFILE= of the service, ulimit -u and -n.',
  });
}

let threads: CallThreads | undefined;

/** The process's own. Throws LhsmError when the library is not there, or no pipe can be had. */
export function callThreads(): CallThreads {
  return (threads ??= new CallThreads());
}

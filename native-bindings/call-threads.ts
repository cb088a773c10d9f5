// The threads that make C calls beside JavaScript: call-threads.c. CallFrame hands them its trips. They are not libuv's,
// for the reasons that stand there.
import { fileURLToPath } from 'node:url';
import { errnoName, LhsmError } from './errors.js';
import { CELL, loadLibrary, type CFunction, type SignatureTable } from './ffi.js';
import { IdPipe } from './id-pipe.js';
import type { Place } from './place.js';

/** Offsets in struct trip of call-threads.c. */
const CALLS_AT = 0;
const NEXT_AT = CELL;
const ID_AT = 2 * CELL;
export const TRIP_BYTES = 3 * CELL;

/** How often a thread is tried for again, when none could be had. */
const PROD_MS = 1000;

const BUILD = 'Run npm run build on this machine.';

/** Functions of our own library of calls. Throws LhsmError when it is not there. */
export function loadCalls<const T extends SignatureTable>(table: T): { readonly [K in keyof T]: CFunction } {
  const library = fileURLToPath(new URL('calls.so', import.meta.url));
  return loadLibrary(library, table, { missing: BUILD, symbols: BUILD });
}

/** So many trips are handed over together, for that costs more than making one ready; fewer at the end of a turn. */
const TOGETHER = 16;

/** Called once, when the trip is over, or with the reason why it was not made. */
export type TripDone = (failure?: LhsmError) => void;

class CallThreads {
  readonly #start: CFunction;
  readonly #prod: CFunction;
  #isShort = false;
  readonly #done: IdPipe;
  /** Whom to tell that the trip of this id is over. */
  readonly #waiting: (TripDone | undefined)[] = [];
  readonly #freeIds: number[] = [];
  /** Ready, and not handed over yet: a list of C's, and the ids in it. */
  #first: Place | undefined;
  #last: Place | undefined;
  #ready: number[] = [];
  /** Bound once: it is called for every turn. */
  readonly #handOver = (): void => {
    this.#handOverReady();
  };

  constructor() {
    const fn = loadCalls({
      open_threads: { result: 'i32', args: [] },
      start_trips: { result: 'i32', args: ['ptr'] },
      prod_threads: { result: 'i32', args: [] },
    });
    this.#start = fn.start_trips;
    this.#prod = fn.prod_threads;
    const fd = fn.open_threads.int();
    if (fd < 0) throw failure('pipe2', -fd);
    this.#done = new IdPipe(fd, (id) => {
      this.#hear(id);
    });
    setInterval(() => {
      if (this.#done.expected > 0) this.#prodThreads();
    }, PROD_MS).unref();
  }

  /**
   * Has the list of calls that begins at `calls` made, at the end of this turn of the event loop at the latest. Until `done` is
   * called the memory of both is C's.
   */
  start(trip: Place, calls: bigint, done: TripDone): void {
    const id = this.#freeIds.pop() ?? this.#waiting.length;
    const { view, at } = trip;
    view.setBigUint64(at + CALLS_AT, calls, true);
    view.setBigUint64(at + NEXT_AT, 0n, true);
    view.setInt32(at + ID_AT, id, true);
    this.#waiting[id] = done;
    this.#done.expect();
    this.#last?.view.setBigUint64(this.#last.at + NEXT_AT, trip.address, true);
    this.#last = trip;
    if (this.#first === undefined) {
      this.#first = trip;
      process.nextTick(this.#handOver);
    }
    if (this.#ready.push(id) >= TOGETHER) this.#handOverReady();
  }

  #handOverReady(): void {
    const first = this.#first;
    if (!first) return;
    const ids = this.#ready;
    this.#first = this.#last = undefined;
    this.#ready = [];
    const rc = this.#start.int(first.address);
    if (rc >= 0) return;
    for (const id of ids) {
      this.#done.forget();
      this.#hear(id, failure('pthread_create', -rc));
    }
  }

  #hear(id: number, failed?: LhsmError): void {
    const done = this.#waiting[id];
    this.#waiting[id] = undefined;
    this.#freeIds.push(id);
    done?.(failed);
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

// The threads that make C calls beside JavaScript: call-threads.c. CallFrame hands them its trips. They are not libuv's,
// for the reasons that stand there.
import { Socket, type OnReadOpts, type SocketConstructorOpts } from 'node:net';
import { fileURLToPath } from 'node:url';
import { errnoName, LhsmError } from './errors.js';
import { CELL, loadLibrary, type CFunction, type Memory } from './ffi.js';

/** Offsets in struct trip of call-threads.c. */
const CALLS_AT = 0;
const ID_AT = 2 * CELL;
export const TRIP_BYTES = 3 * CELL;

const ID_BYTES = 4;
/** How often a thread is tried for again, when none could be had. */
const PROD_MS = 1000;
/** So many trips that are over are told in one turn of the event loop; the rest in the next. */
const TOLD_AT_ONCE = 1024;

const BUILD = 'Run npm run build on this machine.';

class CallThreads {
  readonly #start: CFunction;
  readonly #prod: CFunction;
  #isShort = false;
  readonly #done: Socket;
  /** Whom to tell that the trip of this id is over. */
  readonly #waiting: ((() => void) | undefined)[] = [];
  readonly #freeIds: number[] = [];
  #trips = 0;
  /** The bytes of an id that came in part. */
  #rest: Buffer = Buffer.alloc(0);

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
    const onread: OnReadOpts = {
      buffer: Buffer.alloc(TOLD_AT_ONCE * ID_BYTES),
      callback: (length, bytes) => {
        this.#hear(Buffer.from(bytes.buffer, bytes.byteOffset, length));
        return true;
      },
    };
    // Node takes `onread` with a descriptor, too (net.js); its types have it for connections only.
    const options: SocketConstructorOpts & { readonly onread: OnReadOpts } = { fd, readable: true, onread };
    this.#done = new Socket(options);
    this.#done.unref();
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
    // What is under way keeps the process alive, as libuv's own work does.
    if (this.#trips++ === 0) this.#done.ref();
  }

  #hear(bytes: Buffer): void {
    const all = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes;
    const whole = all.length - (all.length % ID_BYTES);
    // A copy: the buffer is filled anew.
    this.#rest = whole === all.length ? Buffer.alloc(0) : Buffer.from(all.subarray(whole));
    for (let at = 0; at < whole; at += ID_BYTES) {
      const id = all.readInt32LE(at);
      const done = this.#waiting[id];
      this.#forget(id);
      if (--this.#trips === 0) this.#done.unref();
      done?.();
    }
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

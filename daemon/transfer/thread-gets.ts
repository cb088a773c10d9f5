// Restores' GETs: each is sent, answered and written in one thread of C (native-bindings/get.c). What that does not understand, an
// answer in chunks say, or cannot do, the workers are asked for as well. download.ts calls it.
import { ANSWER_BYTES, type GetThreads } from '../../native-bindings/get-threads.js';
import { tlsContext, type TlsContext } from '../../native-bindings/tls-session.js';
import type { Ends } from '../stop.js';
import { BufferPool, type PooledBuffer } from './buffer-pool.js';
import { Followers, ProgressSlots } from './progress-slots.js';
import { ThreadGet, type OnHead } from './thread-get.js';
import type { TransferCounters } from './transfer.js';
import { Way } from './way.js';
import type { GetRequest, WorkerPool } from './worker-pool.js';
import { SMALL_BODY_BYTES } from './worker/connection.js';
import { IDLE_MS } from './worker/connections.js';
import { BODY_BYTES, slabBytes } from './worker/get-job.js';
import type { DoneEvent } from './worker/messages.js';
import { endOf } from './worker/wire.js';

const SWEEP_MS = 5_000;

export interface ThreadGetsOptions {
  /** Undefined where there is no addon, or tests have calls of their own: the workers do it all. */
  readonly threads: GetThreads | undefined;
  readonly workers: WorkerPool;
  /** Bytes of content in memory at once. */
  readonly bufferBytes: number;
  readonly stallTimeoutMs: number;
  /** Certificates to trust, PEM; undefined for Node's own. */
  readonly ca: readonly string[] | undefined;
}

export class ThreadGets {
  readonly #options: ThreadGetsOptions;
  readonly #pool: BufferPool;
  readonly #slots = new ProgressSlots();
  readonly #followers = new Followers();
  /** By origin; undefined for those that only the workers can reach. */
  readonly #ways = new Map<string, Way | undefined>();
  #tls: TlsContext | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ThreadGetsOptions) {
    this.#options = options;
    this.#pool = new BufferPool(options.bufferBytes);
  }

  /**
   * As WorkerPool's: gets a range into a descriptor. `onHead` is called before a byte of it is written; but if something is
   * expected, when all is written that has come of it, `agoMs` after the head was there.
   */
  async get(
    request: GetRequest,
    onHead: OnHead,
    counters: TransferCounters,
    signal: Ends,
  ): Promise<DoneEvent> {
    const { threads, workers } = this.#options;
    const way = threads && this.#wayTo(threads, request.target.origin);
    let isOpen = way?.isOpen ?? false;
    if (typeof isOpen !== 'boolean') isOpen = await untilAborted(isOpen, signal);
    // Who asks has to have its head shown, which is not done for a small body.
    const isSmall = request.end - request.start <= SMALL_BODY_BYTES;
    if (threads && way && isOpen && !(isSmall && !request.expected) && !signal.aborted) {
      const get = new ThreadGet(threads, way.route, request, onHead);
      const done = await (isSmall
        ? this.#small(get, request, counters, signal)
        : this.#large(get, request, way.route.isTls, counters, signal));
      if (done) return done;
      if (get.isOdd) way.avoid();
    }
    return workers.get(request, onHead, counters, signal);
  }

  async #small(
    get: ThreadGet,
    { start }: GetRequest,
    counters: TransferCounters,
    signal: Ends,
  ): Promise<DoneEvent | undefined> {
    const done = await get.run(undefined, signal);
    if (done) counters.bytes += done.bytes - start;
    return done;
  }

  /** Undefined, too, when there is no memory for it. */
  async #large(
    get: ThreadGet,
    { start, end }: GetRequest,
    isTls: boolean,
    counters: TransferCounters,
    signal: Ends,
  ): Promise<DoneEvent | undefined> {
    const half = Math.max(ANSWER_BYTES, slabBytes(end - start, this.#pool.maxBytes, BODY_BYTES));
    if (2 * half > this.#pool.maxBytes) return undefined;
    let lent: PooledBuffer;
    try {
      // Somebody may wait for the first byte: as its place among the requests, its memory comes before that of later ranges.
      lent = await this.#pool.acquire(2 * half, signal, start === 0);
    } catch {
      // It has been aborted: the workers say so.
      return undefined;
    }
    // Others that were aborted may have made room for this one, which was aborted next.
    if (signal.aborted) {
      lent.release();
      return undefined;
    }
    const followed = this.#followers.begin(this.#slots, counters);
    try {
      const { bytes: buffer } = lent;
      const { counts: progress } = this.#slots;
      // Over TLS the other half is for ciphertext.
      const contentBytes = isTls ? half : buffer.length;
      const done = await get.run({ buffer, contentBytes, progress, slot: followed.slot }, signal);
      followed.reach(done ? done.bytes - start : 0);
      return done;
    } finally {
      this.#followers.end(followed);
      lent.release();
    }
  }

  /** Closes the connections. Nothing may be under way any more. */
  close(): void {
    clearInterval(this.#timer);
    this.#followers.close();
    this.#pool.trim();
    for (const way of this.#ways.values()) way?.route.close();
    this.#ways.clear();
  }

  #wayTo(threads: GetThreads, origin: string): Way | undefined {
    if (this.#ways.has(origin)) return this.#ways.get(origin);
    const way = this.#openWay(threads, new URL(origin));
    this.#ways.set(origin, way);
    this.#timer ??= setInterval(() => {
      for (const each of this.#ways.values()) each?.route.sweep(IDLE_MS);
    }, SWEEP_MS).unref();
    return way;
  }

  #openWay(threads: GetThreads, origin: URL): Way | undefined {
    const { host, port, isTls } = endOf(origin);
    const stallMs = this.#options.stallTimeoutMs;
    try {
      const tls = isTls ? this.#context() : undefined;
      return new Way(threads.route({ host, port, tls, stallMs }), host);
    } catch {
      // The workers, who are asked then, say what is wrong.
      return undefined;
    }
  }

  #context(): TlsContext {
    this.#tls ??= tlsContext(this.#options.ca);
    if (!this.#tls) throw new Error('TLS cannot be had');
    return this.#tls;
  }
}

/** False when it ends before: a name server may take half a minute not to answer. `opening` must not reject. */
function untilAborted(opening: Promise<boolean>, signal: Ends): Promise<boolean> {
  if (signal.aborted) return Promise.resolve(false);
  return new Promise((resolve) => {
    const stop = (): void => {
      resolve(false);
    };
    signal.addEventListener('abort', stop, { once: true });
    void opening.then((isOpen) => {
      signal.removeEventListener('abort', stop);
      resolve(isOpen);
    });
  });
}

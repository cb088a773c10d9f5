// Whole small files: each is asked for, answered and written in one thread of C (native-bindings/small-get.c), and judged
// here. What that does not understand, an answer in chunks say, or cannot do, the workers are asked for as well.
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { SmallGetEnd, SmallGetRoute, SmallGetThreads } from '../../native-bindings/small-get-threads.js';
import { tlsContext, type TlsContext } from '../../native-bindings/tls-session.js';
import type { Ends } from '../stop.js';
import type { TransferCounters } from './transfer.js';
import type { GetRequest, WorkerPool } from './worker-pool.js';
import { IDLE_MS } from './worker/connections.js';
import { errorOfEnd } from './worker/end-error.js';
import { serviceCodeOf } from './worker/job.js';
import type { Answer, DoneEvent, How, WireFailure } from './worker/messages.js';
import { BadAnswer, parseHead } from './worker/response-parser.js';
import { endOf } from './worker/wire.js';
import { failureOf } from './worker/wire-error.js';

/** A host's addresses are asked for anew when they are that old: accounts move. */
const ADDRESSES_MS = 60_000;
const SWEEP_MS = 5_000;
/** Who answers in chunks, say, is going to do so again: for that long the workers are asked alone. */
const AVOID_MS = 60_000;

export interface SmallGetsOptions {
  /** Undefined where there is no addon, or tests have calls of their own: the workers do it all. */
  readonly threads: SmallGetThreads | undefined;
  readonly workers: WorkerPool;
  readonly stallTimeoutMs: number;
  /** Certificates to trust, PEM; undefined for Node's own. */
  readonly ca: readonly string[] | undefined;
}

/** A route, and the addresses it leads to. */
class Way {
  readonly route: SmallGetRoute;
  readonly #host: string;
  #hasAddresses = false;
  #lookedUpMs = -Infinity;
  #looking: Promise<void> | undefined;
  #avoidedUntilMs = -Infinity;

  constructor(route: SmallGetRoute, host: string) {
    this.route = route;
    this.#host = host;
  }

  /** Whether it leads anywhere; a promise only for the first who asks, and after a failure. */
  get isOpen(): boolean | Promise<boolean> {
    if (this.#looking === undefined && performance.now() - this.#lookedUpMs > ADDRESSES_MS) {
      this.#looking = this.#lookUp();
    }
    if (performance.now() < this.#avoidedUntilMs) return false;
    return this.#hasAddresses || (this.#looking?.then(() => this.#hasAddresses) ?? false);
  }

  /** What comes is not understood there. */
  avoid(): void {
    this.#avoidedUntilMs = performance.now() + AVOID_MS;
  }

  async #lookUp(): Promise<void> {
    try {
      const found = isIP(this.#host) === 0 ? await lookup(this.#host, { all: true }) : undefined;
      this.route.setAddresses(found?.map(({ address }) => address) ?? [this.#host]);
      this.#hasAddresses = true;
      this.#lookedUpMs = performance.now();
    } catch {
      // The workers, who are asked then, say what is wrong.
      this.#hasAddresses = false;
    } finally {
      this.#looking = undefined;
    }
  }
}

export class SmallGets {
  readonly #options: SmallGetsOptions;
  /** By origin; undefined for those that only the workers can reach. */
  readonly #ways = new Map<string, Way | undefined>();
  #tls: TlsContext | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: SmallGetsOptions) {
    this.#options = options;
  }

  /**
   * As WorkerPool's: gets the whole of a blob that is small into a descriptor. An answer of the length, range and version that
   * were asked for is written; `onHead` is called when it is.
   */
  async get(
    request: GetRequest,
    onHead: (answer: Answer) => How,
    counters: TransferCounters,
    signal: Ends,
  ): Promise<DoneEvent> {
    const { threads, workers } = this.#options;
    const way = threads && this.#wayTo(threads, request.target.origin);
    let isOpen = way?.isOpen ?? false;
    if (typeof isOpen !== 'boolean') isOpen = await untilAborted(isOpen, signal);
    if (threads && way && isOpen && !signal.aborted) {
      const end = await run(threads, way.route, request, signal);
      const done = end && judge(end, request, onHead);
      if (done) {
        counters.bytes += done.bytes - request.start;
        return done;
      }
      if (end?.isOdd === true) way.avoid();
    }
    return workers.get(request, onHead, counters, signal);
  }

  /** Closes the connections. Nothing may be under way any more. */
  close(): void {
    clearInterval(this.#timer);
    for (const way of this.#ways.values()) way?.route.close();
    this.#ways.clear();
  }

  #wayTo(threads: SmallGetThreads, origin: string): Way | undefined {
    if (this.#ways.has(origin)) return this.#ways.get(origin);
    const way = this.#openWay(threads, new URL(origin));
    this.#ways.set(origin, way);
    this.#timer ??= setInterval(() => {
      for (const each of this.#ways.values()) each?.route.sweep(IDLE_MS);
    }, SWEEP_MS).unref();
    return way;
  }

  #openWay(threads: SmallGetThreads, origin: URL): Way | undefined {
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

/** Undefined when there is no thread for it. */
function run(
  threads: SmallGetThreads,
  route: SmallGetRoute,
  { target, fd, end: bytes, expected }: GetRequest,
  signal: Ends,
): Promise<Ended | undefined> {
  return new Promise((resolve) => {
    const stop = (): void => {
      threads.stop(id);
    };
    const text = `GET ${target.path} HTTP/1.1\r\n${target.headers}\r\n`;
    const { etag, holesMetadata } = expected ?? {};
    const holesHeader = holesMetadata === undefined ? undefined : `x-ms-meta-${holesMetadata}`;
    let id: number;
    try {
      id = threads.start(route, { text, file: fd, bytes, etag, holesHeader }, (end) => {
        signal.removeEventListener('abort', stop);
        resolve(readEnd(end));
      });
    } catch {
      resolve(undefined);
      return;
    }
    signal.addEventListener('abort', stop, { once: true });
  });
}

/** An end of which nothing is the thread's memory any more. */
interface Ended {
  /** It has been written, or would have been but for the failure. */
  readonly isContent: boolean;
  readonly crc: bigint;
  /** Of a success. */
  readonly answer: Answer | undefined;
  readonly failure: WireFailure | undefined;
  /** An answer that is right, but for others to read. */
  readonly isOdd: boolean;
}

function readEnd(end: SmallGetEnd): Ended {
  const { outcome, crc, isContent, answer: bytes } = end;
  const isUnusual = outcome === 'unusual';
  const error = isUnusual ? undefined : errorOfEnd(end);
  const ended = { isContent, crc, answer: undefined, failure: error && failureOf(error), isOdd: false };
  // What broke off may have been anything.
  if (bytes.length === 0 || (error && !isContent)) return ended;
  try {
    const parsed = parseHead(bytes);
    if (!parsed) return { ...ended, isOdd: true };
    const { framing, status, headers, lengthBytes } = parsed.head;
    const body = bytes.subarray(parsed.bytes);
    if (framing.kind === 'length' && body.length > framing.bytes) {
      throw new BadAnswer('a body longer than its length');
    }
    const answer = { status, headers, lengthBytes };
    if (status === 200 || status === 206) return { ...ended, answer, isOdd: isUnusual };
    const serviceCode = serviceCodeOf(headers, body);
    if (isUnusual && serviceCode === undefined) return { ...ended, isOdd: true };
    return { ...ended, failure: { kind: 'status', answer, serviceCode } };
  } catch (badAnswer) {
    return { ...ended, failure: failureOf(badAnswer) };
  }
}

/** Undefined for what the workers have to be asked for. Throws what `onHead` does. */
function judge(
  { isContent, crc, answer, failure }: Ended,
  { start, end }: GetRequest,
  onHead: (answer: Answer) => How,
): DoneEvent | undefined {
  if (answer && failure?.kind !== 'aborted') onHead(answer);
  if (!failure && !isContent) return undefined;
  return { type: 'done', id: 0, bytes: failure ? start : end, crc, answer, failure };
}

// Threads that get small blobs, each by a request of its own that is sent, answered and written in one thread: small-get.c,
// which says why. daemon/transfer/small-gets.ts has them get whole files. One set of them for each JavaScript thread.
import { IdPipe } from './id-pipe.js';
import { expectedOf, type TlsContext } from './tls-session.js';
import { outcomeOf, type TransferEnd } from './transfer-end.js';
import { wireAddon } from './wire-addon.js';

/** What small-get.c adds to the addon. */
export interface SmallGetFunctions {
  openGets(): number;
  openRoute(stallMs: number, context: unknown, host: string, isAddress: boolean): unknown;
  setAddresses(route: unknown, port: number, addresses: readonly string[]): void;
  sweepRoute(route: unknown, idleS: number): void;
  startGet(
    route: unknown,
    request: string,
    file: number,
    bytes: number,
    etag: string | undefined,
    holesHeader: string | undefined,
  ): number;
  stopGet(id: number): void;
  endGet(id: number, state: Uint32Array, text: Uint8Array): void;
}

/** Places in the addon's `state`. */
const [OUTCOME, ERRNO, FAILED_AT, ANSWERED, IS_CONTENT, CRC_LOW, CRC_HIGH, STATES] = [0, 1, 2, 3, 4, 5, 6, 7];

/** What an answer may have: HEAD_BYTES and BODY_BYTES of small-get.c. */
const ANSWER_BYTES = 64 * 1024;

export interface RouteOptions {
  readonly host: string;
  readonly port: number;
  /** Undefined for plain HTTP. */
  readonly tls: TlsContext | undefined;
  /** Milliseconds without a byte after which a request gives up. */
  readonly stallMs: number;
}

/** How a request ended. With outcome `whole` the answer is whole; it is in the file only if it `isContent`. */
export interface SmallGetEnd extends TransferEnd {
  /** What has come of the answer, of content the head only; good until the callback returns. */
  readonly answer: Buffer;
  /** It is what was asked for. */
  readonly isContent: boolean;
  /** CRC64 of the body that is in the file. */
  readonly crc: bigint;
}

export interface SmallGetRequest {
  /** Complete with its empty line. */
  readonly text: string;
  readonly file: number;
  /** Of the blob: not more than SMALL_BODY_BYTES. */
  readonly bytes: number;
  /** The version that it must be of, without quotes. */
  readonly etag: string | undefined;
  /** The header that says `1` where blocks of zeros are to stay holes. */
  readonly holesHeader: string | undefined;
}

/** Where requests of one origin go, with the connections that are kept for the next. */
export class SmallGetRoute {
  readonly #addon: SmallGetFunctions;
  readonly handle: unknown;
  readonly #port: number;

  constructor(addon: SmallGetFunctions, { host, port, tls, stallMs }: RouteOptions) {
    this.#addon = addon;
    this.#port = port;
    this.handle = addon.openRoute(stallMs, tls?.handle, ...expectedOf(host));
  }

  /** The host's addresses, in the order in which connections to them are tried; of more than sixteen the first. */
  setAddresses(addresses: readonly string[]): void {
    this.#addon.setAddresses(this.handle, this.#port, addresses);
  }

  /** Closes connections that nobody has used for so long. */
  sweep(idleMs: number): void {
    this.#addon.sweepRoute(this.handle, Math.max(1, Math.ceil(idleMs / 1000)));
  }

  /** Closes all, those that are in use when they are given back. */
  close(): void {
    this.#addon.sweepRoute(this.handle, 0);
  }
}

class SmallGetThreads {
  readonly #addon: SmallGetFunctions;
  readonly #done: IdPipe;
  readonly #waiting: (((end: SmallGetEnd) => void) | undefined)[] = [];
  readonly #state = new Uint32Array(STATES);
  readonly #text = Buffer.alloc(ANSWER_BYTES);

  constructor(addon: SmallGetFunctions) {
    this.#addon = addon;
    this.#done = new IdPipe(addon.openGets(), (id) => {
      this.#hear(id);
    });
  }

  /** @throws an Error with OpenSSL's reason. */
  route(options: RouteOptions): SmallGetRoute {
    return new SmallGetRoute(this.#addon, options);
  }

  /**
   * Sends a request for the whole of a blob, and writes it to the beginning of a file. `done` is called when neither descriptor
   * nor connection are in use any more. Answers the request's number. Throws an Error with the errno's number as its code
   * when there is no thread for it: nothing has begun.
   */
  start(route: SmallGetRoute, request: SmallGetRequest, done: (end: SmallGetEnd) => void): number {
    const { text, file, bytes, etag, holesHeader } = request;
    const id = this.#addon.startGet(route.handle, text, file, bytes, etag, holesHeader);
    this.#waiting[id] = done;
    this.#done.expect();
    return id;
  }

  /** Has one that is not over end soon, but not before a write that is under way. */
  stop(id: number): void {
    this.#addon.stopGet(id);
  }

  #hear(id: number): void {
    const state = this.#state;
    this.#addon.endGet(id, state, this.#text);
    const done = this.#waiting[id];
    this.#waiting[id] = undefined;
    done?.(this.#endOf(state));
  }

  #endOf(state: Uint32Array): SmallGetEnd {
    const at = (place: number): number => state[place] ?? 0;
    const outcome = outcomeOf(at(OUTCOME));
    const text = this.#text;
    const [code = '', message = ''] =
      outcome === 'tls' ? text.toString('latin1', 0, at(ANSWERED)).split('\n') : [];
    return {
      outcome,
      errno: at(ERRNO),
      failedAt: at(FAILED_AT),
      code,
      message,
      answer: text.subarray(0, outcome === 'tls' ? 0 : at(ANSWERED)),
      isContent: at(IS_CONTENT) === 1,
      crc: (BigInt(at(CRC_HIGH)) << 32n) | BigInt(at(CRC_LOW)),
    };
  }
}

let threads: SmallGetThreads | undefined;

/** Those of this JavaScript thread; undefined where there is no addon. Throws when no pipe can be had. */
export function smallGetThreads(): SmallGetThreads | undefined {
  const addon = wireAddon();
  return addon && (threads ??= new SmallGetThreads(addon));
}

export type { SmallGetThreads };

// Threads that carry out GETs, each by a request of its own that is sent, answered and written in one thread: get.c, which says
// why. daemon/transfer/thread-gets.ts has them get whole files and ranges. One set of them for each JavaScript thread.
import { IdPipe } from './id-pipe.js';
import { expectedOf, type TlsContext } from './tls-session.js';
import { outcomeOf, type TransferEnd } from './transfer-end.js';
import { wireAddon } from './wire-addon.js';

/** What get-thread.c and route.c add to the addon. */
export interface GetFunctions {
  openGets(): number;
  openRoute(stallMs: number, context: unknown, host: string, isAddress: boolean): unknown;
  setAddresses(route: unknown, port: number, addresses: readonly string[]): void;
  sweepRoute(route: unknown, idleS: number): void;
  startGet(
    route: unknown,
    request: string,
    file: number,
    start: number,
    end: number,
    fileBytes: number,
    etag: string | undefined,
    holesHeader: string | undefined,
    sumHeader: string | undefined,
    keepHoles: boolean,
    sum: boolean,
    asks: boolean,
    buffer?: Uint8Array,
    contentBytes?: number,
    progress?: Float64Array,
    slot?: number,
  ): number;
  headOfGet(id: number, text: Uint8Array): number;
  goGet(id: number, keepHoles: boolean, sum: boolean): void;
  stopGet(id: number): void;
  endGet(id: number, state: Uint32Array, text: Uint8Array): void;
}

/** Places in the addon's `state`. */
const [OUTCOME, ERRNO, ANSWERED, REASON, IS_CONTENT, BODY_US] = [0, 1, 2, 3, 4, 5];
/** Places of two halves, the lower one first. */
const [FAILED_AT, CRC, AT, SPLICED, STATES] = [6, 8, 10, 12, 14];

/** GET_ASKS of get.h: comes with the id of one that asks. */
const ASKS = 2 ** 31;

/** What an answer may have: HEAD_BYTES and SMALL_BYTES of get.h. A body that is not small needs as much memory. */
export const ANSWER_BYTES = 64 * 1024;

export interface RouteOptions {
  readonly host: string;
  readonly port: number;
  /** Undefined for plain HTTP. */
  readonly tls: TlsContext | undefined;
  /** Milliseconds without a byte after which a request gives up. */
  readonly stallMs: number;
}

/** How a request ended. With outcome `whole` the answer is whole; it is in the file only if it `isContent`. */
export interface GetEnd extends TransferEnd {
  /** What has come of the answer, of content the head only; good until the callback returns. */
  readonly answer: Buffer;
  /** It is what was asked for. */
  readonly isContent: boolean;
  /** Everything from the range's start to here is in the file. */
  readonly at: number;
  /** CRC64 of that, where asked for, and of every small body. */
  readonly crc: bigint;
  /** Bytes of it that went from the socket to the file without a copy in user space. */
  readonly spliced: number;
  /** Milliseconds since the answer's head was there. */
  readonly bodyMs: number;
}

/** How a body is written. */
export interface GetHow {
  readonly keepHoles?: boolean | undefined;
  readonly crc?: boolean | undefined;
}

/**
 * Called with the head of the answer that was asked for, when its body is not small and nothing of it is written yet; the head is
 * good until it returns. Undefined when the body is not wanted.
 */
export type Ask = (head: Buffer) => GetHow | undefined;

/** For a body that is not small. */
export interface GetMemory {
  /** Content, of at least ANSWER_BYTES, and over TLS behind it room for ciphertext. */
  readonly buffer: Uint8Array;
  readonly contentBytes: number;
  /** Where bytes written are added, and in which place; below 0 nowhere. */
  readonly progress: Float64Array;
  readonly slot: number;
}

export interface ThreadGetRequest {
  /** Complete with its empty line. */
  readonly text: string;
  readonly file: number;
  /** The range, which has the same place in the blob and in the file. */
  readonly start: number;
  readonly end: number;
  /** Of the blob, and of the file, whose last byte is written even where holes are kept. */
  readonly fileBytes: number;
  /** The version that it must be of, without quotes. */
  readonly etag: string | undefined;
  /** The header that says `1` where blocks of zeros are to stay holes. */
  readonly holesHeader?: string | undefined;
  /** The header that is there where the CRC64 is wanted. */
  readonly sumHeader?: string | undefined;
  /** The same where it is known. */
  readonly keepHoles?: boolean | undefined;
  readonly crc?: boolean | undefined;
  readonly memory?: GetMemory | undefined;
  readonly ask?: Ask | undefined;
}

/** Where requests of one origin go, with the connections that are kept for the next. */
export class GetRoute {
  readonly #addon: GetFunctions;
  readonly handle: unknown;
  readonly isTls: boolean;
  readonly #port: number;

  constructor(addon: GetFunctions, { host, port, tls, stallMs }: RouteOptions) {
    this.#addon = addon;
    this.#port = port;
    this.isTls = tls !== undefined;
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

class GetThreads {
  readonly #addon: GetFunctions;
  readonly #done: IdPipe;
  readonly #waiting: (((end: GetEnd) => void) | undefined)[] = [];
  readonly #asks: (Ask | undefined)[] = [];
  readonly #state = new Uint32Array(STATES);
  readonly #text = Buffer.alloc(ANSWER_BYTES);

  constructor(addon: GetFunctions) {
    this.#addon = addon;
    this.#done = new IdPipe(addon.openGets(), (id) => {
      if (id < ASKS) this.#hear(id);
      else this.#decide(id - ASKS);
    });
  }

  /** @throws an Error with OpenSSL's reason. */
  route(options: RouteOptions): GetRoute {
    return new GetRoute(this.#addon, options);
  }

  /**
   * Sends a request for a range of a blob, and writes it to its place in a file. `done` is called when neither descriptor
   * nor connection are in use any more. Answers the request's number. Throws an Error with the errno's number as its code
   * when there is no thread for it: nothing has begun.
   */
  start(route: GetRoute, request: ThreadGetRequest, done: (end: GetEnd) => void): number {
    const { text, file, start, end, fileBytes, etag, holesHeader, sumHeader, memory, ask } = request;
    const { keepHoles = false, crc = false } = request;
    const id = this.#addon.startGet(
      route.handle,
      ...([text, file, start, end, fileBytes, etag, holesHeader, sumHeader] as const),
      ...([keepHoles, crc, ask !== undefined] as const),
      ...([memory?.buffer, memory?.contentBytes, memory?.progress, memory?.slot] as const),
    );
    this.#waiting[id] = done;
    this.#asks[id] = ask;
    this.#done.expect();
    return id;
  }

  /** Has one that is not over end soon, but not before a write that is under way. */
  stop(id: number): void {
    // One that asks has been answered by that.
    this.#asks[id] = undefined;
    this.#addon.stopGet(id);
  }

  #decide(id: number): void {
    // Its end is still to come.
    this.#done.expect();
    const ask = this.#asks[id];
    if (!ask) return;
    const how = ask(this.#text.subarray(0, this.#addon.headOfGet(id, this.#text)));
    // Who was asked may have had it stopped: that is an answer, too.
    if (this.#asks[id] === undefined) return;
    this.#asks[id] = undefined;
    if (how) this.#addon.goGet(id, how.keepHoles === true, how.crc === true);
    else this.#addon.stopGet(id);
  }

  #hear(id: number): void {
    const state = this.#state;
    this.#addon.endGet(id, state, this.#text);
    const done = this.#waiting[id];
    this.#waiting[id] = undefined;
    done?.(this.#endOf(state));
  }

  #endOf(state: Uint32Array): GetEnd {
    const at = (place: number): number => state[place] ?? 0;
    const whole = (place: number): number => at(place + 1) * 2 ** 32 + at(place);
    const outcome = outcomeOf(at(OUTCOME));
    const text = this.#text;
    const answered = at(ANSWERED);
    const reason = text.toString('latin1', answered, answered + at(REASON));
    const [code = '', message = ''] = reason.split('\n');
    return {
      outcome,
      errno: at(ERRNO),
      failedAt: whole(FAILED_AT),
      code,
      message,
      answer: text.subarray(0, answered),
      isContent: at(IS_CONTENT) === 1,
      at: whole(AT),
      crc: (BigInt(at(CRC + 1)) << 32n) | BigInt(at(CRC)),
      spliced: whole(SPLICED),
      bodyMs: at(BODY_US) / 1000,
    };
  }
}

let threads: GetThreads | undefined;

/** Those of this JavaScript thread; undefined where there is no addon. Throws when no pipe can be had. */
export function getThreads(): GetThreads | undefined {
  const addon = wireAddon();
  return addon && (threads ??= new GetThreads(addon));
}

export type { GetThreads };

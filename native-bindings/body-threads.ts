// Threads that take the rest of a body off a socket and write it to a file: body.c, which says why. get-job.ts has
// them take every body that is not small. One set of them for each JavaScript thread.
import { IdPipe } from './id-pipe.js';
import { outcomeOf, type TransferEnd } from './transfer-end.js';
import { wireAddon } from './wire-addon.js';

/** What body-thread.c adds to the addon. */
export interface BodyFunctions {
  openBodies(): number;
  takeBody(request: Omit<BodyRequest, 'session'> & { readonly session: unknown }): number;
  stopBody(id: number): void;
  endBody(id: number): Omit<BodyEnd, 'outcome'> & { readonly outcome: number };
}

export interface BodyRequest {
  /** The connection's descriptor, which nobody else reads from until the end. */
  readonly socket: number;
  /** What of TLS is on it; undefined for plain content. Nobody else may use it until the end. */
  readonly session: unknown;
  /** Open for writing. */
  readonly file: number;
  /** Where in the file the body goes on, and where it ends. */
  readonly at: number;
  readonly end: number;
  /** The file's size: its last byte is written even where holes are kept. */
  readonly fileBytes: number;
  /** Milliseconds without a byte after which it gives up. */
  readonly stallMs: number;
  /** Memory to work with: first content, then, with TLS, ciphertext. */
  readonly buffer: Uint8Array;
  readonly contentBytes: number;
  /** Bytes that have come already, and lie at the buffer's beginning. */
  readonly filled: number;
  /** Where bytes written are added, and in which place; below 0 nowhere. */
  readonly progress: Float64Array;
  readonly slot: number;
  /** Aligned 64 KiB blocks of zeros are not written. */
  readonly keepHoles: boolean;
  /** Compute the CRC64 of what is written. */
  readonly crc: boolean;
}

export interface BodyEnd extends TransferEnd {
  /** Everything from the beginning to here is in the file. */
  readonly at: number;
  /** Of what is in the file, where asked for. */
  readonly crc: bigint;
  /** Bytes of it that went from the socket to the file without a copy in user space. */
  readonly spliced: number;
  /** Whole, without TLS: more has come behind it already. With TLS the session's next read shows that. */
  readonly hasMore: boolean;
}

export interface RunningBody {
  /** Never rejects. When it resolves, neither memory nor descriptors are in use any more. */
  readonly ended: Promise<BodyEnd>;
  /** Has it end soon, but not before a write that is under way; the connection is of no use afterwards. */
  stop(): void;
}

class BodyThreads {
  readonly #addon: BodyFunctions;
  readonly #done: IdPipe;
  readonly #running = new Map<number, (end: BodyEnd) => void>();

  constructor(addon: BodyFunctions) {
    this.#addon = addon;
    this.#done = new IdPipe(addon.openBodies(), (id) => {
      this.#hear(id);
    });
  }

  /**
   * Has a thread take a body. Throws an Error with the errno's number as its code when there is no thread or descriptor for
   * it, RangeError for numbers that do not fit each other: then nothing has begun.
   */
  take(request: BodyRequest): RunningBody {
    const id = this.#addon.takeBody(request);
    this.#done.expect();
    const ended = new Promise<BodyEnd>((resolve) => {
      this.#running.set(id, resolve);
    });
    return {
      ended,
      stop: () => {
        if (this.#running.has(id)) this.#addon.stopBody(id);
      },
    };
  }

  #hear(id: number): void {
    const { outcome, ...end } = this.#addon.endBody(id);
    const resolve = this.#running.get(id);
    this.#running.delete(id);
    resolve?.({ ...end, outcome: outcomeOf(outcome) });
  }
}

let threads: BodyThreads | undefined;

/** Those of this JavaScript thread; undefined where there is no addon. Throws when no pipe can be had. */
export function bodyThreads(): BodyThreads | undefined {
  const addon = wireAddon();
  return addon && (threads ??= new BodyThreads(addon));
}

export type { BodyThreads };

// One GET that a thread of C carries out: what it is told to expect, and what is made of what it says. thread-gets.ts makes one for
// each try.
import type {
  GetEnd,
  GetHow,
  GetMemory,
  GetRoute,
  GetThreads,
  ThreadGetRequest,
} from '../../native-bindings/get-threads.js';
import type { Ends } from '../stop.js';
import { CRC_METADATA } from './crc-metadata.js';
import type { GetRequest } from './worker-pool.js';
import { SMALL_BODY_BYTES } from './worker/connection.js';
import { errorOfEnd } from './worker/end-error.js';
import { serviceCodeOf } from './worker/job.js';
import type { Answer, DoneEvent, How, WireFailure } from './worker/messages.js';
import { BadAnswer, parseHead } from './worker/response-parser.js';
import { failureOf } from './worker/wire-error.js';

/** The header that says what the content's CRC64 is. */
const SUM_HEADER = `x-ms-meta-${CRC_METADATA}`;

/** `agoMs`: how long the head has been there. */
export type OnHead = (answer: Answer, agoMs?: number) => How;

export class ThreadGet {
  readonly #threads: GetThreads;
  readonly #route: GetRoute;
  readonly #request: GetRequest;
  readonly #onHead: OnHead;
  /** What has been judged before the body. */
  #judged: Answer | undefined;
  /** What `onHead` threw then. */
  #refusal: { readonly error: unknown } | undefined;
  /** Why the head is none, as was found then. */
  #badHead: WireFailure | undefined;
  #isOdd = false;

  constructor(threads: GetThreads, route: GetRoute, request: GetRequest, onHead: OnHead) {
    this.#threads = threads;
    this.#route = route;
    this.#request = request;
    this.#onHead = onHead;
  }

  /** The answer was right, but for others to read. */
  get isOdd(): boolean {
    return this.#isOdd;
  }

  /**
   * Sends it and has the answer written; nothing of it is under way when that settles. Undefined for what the workers have to be
   * asked for. Rejects with what `onHead` throws; all other failures are in the answer.
   */
  async run(memory: GetMemory | undefined, signal: Ends): Promise<DoneEvent | undefined> {
    const end = await this.#exchange(memory, signal);
    return end && this.#judge(end);
  }

  /** Undefined when there is no thread for it. */
  #exchange(memory: GetMemory | undefined, signal: Ends): Promise<Ended | undefined> {
    return new Promise((resolve) => {
      const threads = this.#threads;
      const giveUp = (): void => {
        threads.stop(id);
      };
      let id: number;
      try {
        id = threads.start(this.#route, this.#wanted(memory), (end) => {
          signal.removeEventListener('abort', giveUp);
          resolve(this.#judged ? endedOf(end) : readEnd(end));
        });
      } catch {
        resolve(undefined);
        return;
      }
      signal.addEventListener('abort', giveUp, { once: true });
    });
  }

  #wanted(memory: GetMemory | undefined): ThreadGetRequest {
    const { target, fd, start, end, fileBytes, expected } = this.#request;
    const { etag, how, holesMetadata } = expected ?? {};
    return {
      text: `GET ${target.path} HTTP/1.1\r\n${target.headers}\r\n`,
      file: fd,
      start,
      end,
      fileBytes,
      etag,
      holesHeader: how || holesMetadata === undefined ? undefined : `x-ms-meta-${holesMetadata}`,
      sumHeader: how ? undefined : SUM_HEADER,
      keepHoles: how?.keepHoles,
      crc: how?.crc,
      memory,
      ask: expected ? undefined : (head) => this.#decide(head),
    };
  }

  #decide(head: Buffer): GetHow | undefined {
    let answer: Answer;
    try {
      const parsed = parseHead(head);
      if (!parsed) throw new BadAnswer('a head that is none');
      const { status, headers, lengthBytes } = parsed.head;
      answer = { status, headers, lengthBytes };
    } catch (error) {
      this.#badHead = failureOf(error);
      return undefined;
    }
    try {
      const how = this.#onHead(answer);
      this.#judged = answer;
      return how;
    } catch (error) {
      this.#refusal = { error };
      return undefined;
    }
  }

  #judge(end: Ended): DoneEvent | undefined {
    if (this.#refusal) throw this.#refusal.error;
    this.#isOdd = end.isOdd;
    const { start, end: stop } = this.#request;
    const failure = this.#badHead ?? end.failure;
    if (end.answer && failure?.kind !== 'aborted') this.#onHead(end.answer, end.bodyMs);
    // Nothing went wrong, and it is not all there: it was not for the thread to write.
    if (!failure && !(end.isContent && end.at === stop)) return undefined;
    const answer = this.#judged ?? end.answer;
    // What is written counts only if it is known what it is a part of.
    const bytes = end.isContent && answer ? end.at : start;
    return { type: 'done', id: 0, bytes, crc: end.crc, answer, failure };
  }
}

/** An end of which nothing is the thread's memory any more. */
interface Ended {
  /** It has been written, or would have been but for the failure. */
  readonly isContent: boolean;
  /** Everything from the range's start to here is written. */
  readonly at: number;
  readonly crc: bigint;
  /** Milliseconds since the answer's head was there. */
  readonly bodyMs: number;
  /** Of a success that is still to be judged. */
  readonly answer: Answer | undefined;
  readonly failure: WireFailure | undefined;
  /** An answer that is right, but for others to read. */
  readonly isOdd: boolean;
}

function endedOf(end: GetEnd): Ended {
  const { outcome, at, crc, bodyMs, isContent } = end;
  const error = outcome === 'unusual' ? undefined : errorOfEnd(end);
  const failure = error && failureOf(error);
  return { isContent, at, crc, bodyMs, answer: undefined, failure, isOdd: false };
}

function readEnd(end: GetEnd): Ended {
  const ended = endedOf(end);
  const { answer: bytes, isContent, outcome } = end;
  const isUnusual = outcome === 'unusual';
  // What broke off may have been anything.
  if (bytes.length === 0 || (ended.failure && !isContent)) return ended;
  try {
    const parsed = parseHead(bytes);
    if (!parsed) return { ...ended, isOdd: true };
    const { framing, status, headers, lengthBytes } = parsed.head;
    const body = bytes.subarray(parsed.bytes);
    // Only its beginning is here of what is not small.
    const isLarge = framing.kind === 'length' && framing.bytes > SMALL_BODY_BYTES;
    if (framing.kind === 'length' && body.length > framing.bytes) {
      throw new BadAnswer('a body longer than its length');
    }
    const answer = { status, headers, lengthBytes };
    if (status === 200 || status === 206) return { ...ended, answer, isOdd: isUnusual && !isLarge };
    const serviceCode = serviceCodeOf(headers, body);
    if (isUnusual && serviceCode === undefined) return { ...ended, isOdd: true };
    return { ...ended, failure: { kind: 'status', answer, serviceCode } };
  } catch (badAnswer) {
    return { ...ended, failure: failureOf(badAnswer) };
  }
}

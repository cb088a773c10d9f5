// One restore's bytes: the first range decides (size, version, type), the rest come over several connections and workers.
// engine.ts calls it.
import { LhsmError } from '../../native-bindings/errors.js';
import { httpStatus } from '../azure-errors.js';
import type { BlobHeaders } from '../blob.js';
import type { Ends } from '../stop.js';
import { CrcSpans } from './crc-spans.js';
import { headerValue } from './header-lines.js';
import { CallerError, subjectOf, wireRequest, type EngineParts } from './parts.js';
import {
  badAnswer,
  bareEtag,
  blobChanged,
  crcOfAnswer,
  headersOfAnswer,
  howToWrite,
  sizeMismatch,
  totalBytes,
  type AskedRange,
} from './range-answer.js';
import type { DownloadRequest } from './transfer.js';
import { wireError } from './wire-failure.js';
import { WorkGroup } from './work-group.js';
import type { Answer, DoneEvent, Expected, How, Target } from './worker/messages.js';

/** A try that moved that much counts as progress: the tries begin anew. */
const PROGRESS_BYTES = 256 * 1024;

/** Runs one download to its end; when it settles, nothing of it is under way. */
export async function download(
  parts: EngineParts,
  transfer: DownloadRequest,
  signal: Ends,
): Promise<BlobHeaders> {
  return new Download(parts, transfer).run(signal);
}

class Download {
  readonly #parts: EngineParts;
  readonly #transfer: DownloadRequest;
  readonly #subject: string;
  readonly #startedMs = performance.now();
  #headers: BlobHeaders | undefined;
  /** How it is written, as the first answer says. */
  #how: How | undefined;
  /** The blob's CRC64 as its metadata have it. */
  #expectedCrc: bigint | undefined;
  readonly #spans = new CrcSpans();
  /** Where the next range begins. */
  #next = 0;

  constructor(parts: EngineParts, transfer: DownloadRequest) {
    this.#parts = parts;
    this.#transfer = transfer;
    this.#subject = subjectOf(transfer.blob);
  }

  async run(signal: Ends): Promise<BlobHeaders> {
    const { sizeBytes } = this.#transfer;
    if (sizeBytes <= this.#parts.blockSizeBytes) await this.#range(0, sizeBytes, signal, () => undefined);
    else {
      const group = new WorkGroup('Get Blob', signal);
      group.run(() => this.#work(group, true));
      await group.finish();
    }
    if (!this.#headers) throw new Error('a download ended without an answer');
    this.#checkCrc();
    return this.#headers;
  }

  /** Range after range until none is left. The first loop takes the first range, and starts the others behind its headers. */
  async #work(group: WorkGroup, isFirst: boolean): Promise<void> {
    const { sizeBytes } = this.#transfer;
    let first = isFirst;
    while (first || this.#next < sizeBytes) {
      const start = this.#next;
      this.#next = Math.min(sizeBytes, start + this.#parts.blockSizeBytes);
      const onPinned = first
        ? () => {
            this.#startOthers(group);
          }
        : undefined;
      await this.#range(start, this.#next, group.signal, onPinned);
      first = false;
    }
  }

  #startOthers(group: WorkGroup): void {
    const left = Math.ceil((this.#transfer.sizeBytes - this.#next) / this.#parts.blockSizeBytes);
    const others = Math.min(left, this.#parts.rangesPerFile - 1);
    for (let index = 0; index < others; index += 1) group.run(() => this.#work(group, false));
  }

  /** `onPinned` is given for the first range only. */
  async #range(start: number, end: number, signal: Ends, onPinned: (() => void) | undefined): Promise<void> {
    let at = start;
    const options = {
      op: 'Get Blob',
      urgent: onPinned !== undefined,
      signal,
      bytes: () => end - at,
      headers: () => this.#headersFor(at, end),
    };
    await wireRequest(this.#parts, this.#transfer, options, async (target, attempt) => {
      const from = at;
      const done = await this.#get(target, from, end, signal, onPinned);
      at = done.bytes;
      if (this.#expectedCrc !== undefined) this.#spans.add(from, at, done.crc);
      if (at - from >= PROGRESS_BYTES) attempt.madeProgress();
      // An answer that goes wrong behind the range's last byte has done what was asked of it.
      if (at === end && (!done.failure || at > from)) return;
      if (!done.failure) throw badAnswer(this.#subject, `${at - from} bytes written of ${end - from}`);
      const error = wireError(done.failure, 'Get Blob', this.#subject, this.#parts.stallTimeoutMs);
      // No byte 0 in it: the blob is empty, and the file is not.
      if (httpStatus(error) === 416 && from === 0 && end > 0) {
        throw sizeMismatch(this.#subject, this.#transfer.sizeBytes, 0);
      }
      throw error;
    });
  }

  #headersFor(at: number, end: number): string {
    const ifMatch = this.#pinned();
    // A range of an empty blob would be answered with 416: then the whole is asked for.
    const range = end > at ? `x-ms-range: bytes=${at}-${end - 1}\r\n` : '';
    return ifMatch === undefined ? range : `${range}if-match: ${headerValue(ifMatch)}\r\n`;
  }

  /** One request. What has arrived when it breaks is written, and not asked for again. */
  #get(
    target: Target,
    from: number,
    end: number,
    signal: Ends,
    onPinned: (() => void) | undefined,
  ): Promise<DoneEvent> {
    const { fd, sizeBytes, counters } = this.#transfer;
    const asked = { start: from, end, subject: this.#subject };
    return this.#parts.threadGets.get(
      { target, fd, start: from, end, fileBytes: sizeBytes, expected: this.#expected(from, end) },
      (answer, agoMs = 0) => {
        const how = this.#pin(answer, asked, onPinned);
        if (end > from) counters.firstByteMs ??= performance.now() - this.#startedMs - agoMs;
        return how;
      },
      counters,
      signal,
    );
  }

  /** What needs no judgement before it is written: all but the first answer for a file of several ranges, which the others wait for. */
  #expected(from: number, end: number): Expected | undefined {
    const { holesMetadata, sizeBytes } = this.#transfer;
    if (!this.#how && (from > 0 || end < sizeBytes)) return undefined;
    const etag = this.#pinned();
    return { etag: etag === undefined ? undefined : bareEtag(etag), how: this.#how, holesMetadata };
  }

  /** The version that every answer must be of. */
  #pinned(): string | undefined {
    return this.#headers?.etag ?? this.#transfer.ifMatch;
  }

  /** The first answer is judged and pins its version; each later one must be of that version. */
  #pin(answer: Answer, asked: AskedRange, onPinned: (() => void) | undefined): How {
    const { accept, sizeBytes, holesMetadata } = this.#transfer;
    const total = totalBytes(answer, asked);
    const headers = headersOfAnswer(answer, total, this.#subject);
    const pinned = this.#pinned();
    // If-Match should have seen to that; a server that ignores it must not mix two versions.
    if (pinned !== undefined && bareEtag(headers.etag) !== bareEtag(pinned)) throw blobChanged(this.#subject);
    if (this.#how) {
      if (total !== sizeBytes) throw sizeMismatch(this.#subject, sizeBytes, total);
    } else {
      try {
        accept(headers);
      } catch (error) {
        throw new CallerError(error);
      }
      if (total !== sizeBytes) throw sizeMismatch(this.#subject, sizeBytes, total);
      this.#expectedCrc = crcOfAnswer(answer);
      this.#headers = headers;
      this.#how = howToWrite(answer, holesMetadata);
      onPinned?.();
    }
    return this.#how;
  }

  #checkCrc(): void {
    if (this.#expectedCrc === undefined) return;
    const found = this.#spans.total(this.#transfer.sizeBytes);
    if (found === this.#expectedCrc) return;
    const [is, should] = [found ?? 0n, this.#expectedCrc].map((crc) => crc.toString(16).padStart(16, '0'));
    throw new LhsmError(
      `Get Blob: the content of ${this.#subject} has CRC64 ${is}, not ${should} as it was archived with.`,
      {
        code: 'CHECKSUM_MISMATCH',
        op: 'Get Blob',
        errno: 5,
        hint: 'Nothing was restored. Read the file again; if it stays so, the blob was changed behind its metadata.',
      },
    );
  }
}

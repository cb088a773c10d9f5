// One restore's bytes: the first range decides (size, version, type), the rest come over several connections.
// sdk-engine.ts calls it.
import type { Readable } from 'node:stream';
import type { BlobDownloadResponseParsed, BlockBlobClient } from '@azure/storage-blob';
import { LhsmError } from '../../native-bindings/errors.js';
import { httpStatus } from '../azure-errors.js';
import { blobHeaders } from '../blob-headers.js';
import type { BlobHeaders } from '../blob.js';
import { request, subjectOf, type EngineParts } from './parts.js';
import { blobChanged, sizeMismatch, totalBytes } from './range-answer.js';
import { HOLE_BYTES, Slab, dataPieces } from './slab.js';
import { StallWatch } from './stall-watch.js';
import type { DownloadRequest } from './transfer.js';
import { WorkGroup } from './work-group.js';

/** What is written at once: large enough that a write costs nothing beside its bytes, small enough to have many. */
const SLAB_BYTES = 1024 * 1024;
/** A try that moved that much counts as progress: the tries begin anew. */
const PROGRESS_BYTES = 256 * 1024;

/** Runs one download to its end; when it settles, nothing of it is under way. */
export async function download(
  parts: EngineParts,
  transfer: DownloadRequest,
  signal: AbortSignal,
): Promise<BlobHeaders> {
  return new Download(parts, transfer).run(signal);
}

class Download {
  readonly #parts: EngineParts;
  readonly #transfer: DownloadRequest;
  readonly #subject: string;
  readonly #startedMs = performance.now();
  #headers: BlobHeaders | undefined;
  #keepHoles = false;
  /** Where the next range begins. */
  #next = 0;

  constructor(parts: EngineParts, transfer: DownloadRequest) {
    this.#parts = parts;
    this.#transfer = transfer;
    this.#subject = subjectOf(transfer.blob);
  }

  async run(signal: AbortSignal): Promise<BlobHeaders> {
    const group = new WorkGroup('Get Blob', signal);
    group.run(() => this.#work(group, true));
    await group.finish();
    if (!this.#headers) throw new Error('a download ended without an answer');
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

  async #range(
    start: number,
    end: number,
    signal: AbortSignal,
    onPinned: (() => void) | undefined,
  ): Promise<void> {
    const { pool } = this.#parts;
    const slabBytes = Math.min(
      SLAB_BYTES,
      Math.max(HOLE_BYTES, pool.maxBytes / 8),
      pool.maxBytes,
      end - start,
    );
    let at = start;
    await request(this.#parts, this.#transfer, 'Get Blob', signal, async (client, attempt) => {
      const from = at;
      // For this try only: who pauses must not keep others from their buffers.
      const buffer = await pool.acquire(Math.max(slabBytes, 1), signal);
      const slab = new Slab(buffer.bytes, at, end, (bytes, position) => this.#write(bytes, position));
      try {
        await this.#get(client, slab, signal, onPinned);
      } finally {
        buffer.release();
        at = slab.writtenTo;
        if (at - from >= PROGRESS_BYTES) attempt.madeProgress();
      }
    });
  }

  /** One request: reads its body into the slab. What has arrived when it breaks is written and not asked for again. */
  async #get(
    client: BlockBlobClient,
    slab: Slab,
    signal: AbortSignal,
    onPinned: (() => void) | undefined,
  ): Promise<void> {
    const asked = { start: slab.writtenTo, end: slab.end, subject: this.#subject };
    const watch = new StallWatch(this.#parts.stallTimeoutMs, signal);
    try {
      const answer = await this.#ask(client, asked.start, asked.end, watch.signal);
      const body = answer.readableStreamBody as Readable;
      try {
        this.#pin(answer, totalBytes(answer, asked), onPinned);
        await this.#read(body, slab, watch);
      } finally {
        body.destroy();
        // The SDK's stream says why it ends to whoever listens; nobody does any more.
        body.on('error', () => undefined);
      }
    } catch (error) {
      throw (signal.aborted ? undefined : watch.stallError(this.#subject)) ?? error;
    } finally {
      watch.done();
    }
  }

  async #ask(
    client: BlockBlobClient,
    start: number,
    end: number,
    signal: AbortSignal,
  ): Promise<BlobDownloadResponseParsed> {
    const ifMatch = this.#headers?.etag ?? this.#transfer.ifMatch;
    try {
      // A range of an empty blob would be answered with 416: then the whole is asked for.
      return await client.download(start, end > start ? end - start : undefined, {
        abortSignal: signal,
        conditions: ifMatch === undefined ? {} : { ifMatch },
        maxRetryRequests: 0,
      });
    } catch (error) {
      // No byte 0 in it: the blob is empty, and the file is not.
      if (httpStatus(error) === 416 && start === 0)
        throw sizeMismatch(this.#subject, this.#transfer.sizeBytes, 0);
      throw error;
    }
  }

  /** The first answer is judged and pins its version; each later one must be of that version. */
  #pin(answer: BlobDownloadResponseParsed, total: number, onPinned: (() => void) | undefined): void {
    const { accept, sizeBytes, keepHoles, ifMatch } = this.#transfer;
    const pinned = this.#headers?.etag ?? ifMatch;
    // If-Match should have seen to that; a server that ignores it must not mix two versions.
    if (pinned !== undefined && bareEtag(answer.etag) !== bareEtag(pinned)) throw blobChanged(this.#subject);
    if (this.#headers) {
      if (total !== sizeBytes) throw sizeMismatch(this.#subject, sizeBytes, total);
      return;
    }
    const headers = blobHeaders(answer, total);
    accept(headers);
    if (total !== sizeBytes) throw sizeMismatch(this.#subject, sizeBytes, total);
    this.#keepHoles = keepHoles?.(headers) ?? false;
    this.#headers = headers;
    onPinned?.();
  }

  async #read(body: Readable, slab: Slab, watch: StallWatch): Promise<void> {
    const { counters } = this.#transfer;
    let broken: LhsmError | undefined;
    const chunks = body.iterator({ destroyOnReturn: false }) as AsyncIterableIterator<Buffer>;
    for (;;) {
      watch.reset();
      let next: IteratorResult<Buffer>;
      try {
        next = await chunks.next();
      } catch (cause) {
        broken = this.#brokenBody(cause);
        break;
      }
      watch.hold();
      if (next.done === true) break;
      counters.firstByteMs ??= performance.now() - this.#startedMs;
      await slab.add(next.value);
    }
    watch.hold();
    await slab.flush();
    if (slab.writtenTo < slab.end) throw broken ?? this.#brokenBody('it ended early');
  }

  #brokenBody(cause: unknown): LhsmError {
    const what = cause instanceof Error ? cause.message : String(cause);
    return new LhsmError(`Get Blob: the answer for ${this.#subject} broke off: ${what}`, {
      code: 'UNREACHABLE',
      op: 'Get Blob',
      errno: 11, // EAGAIN
      retryable: true,
    });
  }

  /** Writes a slab, or those of its pieces that are no holes. */
  async #write(bytes: Buffer, position: number): Promise<void> {
    const { io } = this.#parts;
    const { fd, counters, sizeBytes } = this.#transfer;
    if (this.#keepHoles) {
      for (const piece of dataPieces(bytes, position, sizeBytes))
        await io.write(fd, piece.bytes, piece.position);
    } else await io.write(fd, bytes, position);
    counters.bytes += bytes.length;
  }
}

/** The ETag without its quotes: what is remembered of it may have been written by another tool. */
function bareEtag(etag: string | undefined): string {
  return (etag ?? '').replaceAll('"', '');
}

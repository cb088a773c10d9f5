// The transfer engine: bytes between descriptors and blobs by worker threads over connections of its own; commits, and
// whatever else is no content, through the Azure SDK. The agent makes one and hands it to the movers.
import { getThreads } from '../../native-bindings/get-threads.js';
import type { AzureClientOptions, AzureClients } from '../azure-client.js';
import { retryPolicyOf, ThrottleGates } from '../azure-retry.js';
import type { BlobHeaders } from '../blob.js';
import { loadCaFile } from '../ca-file.js';
import { Stop, type Ends } from '../stop.js';
import { Authorizer } from './auth.js';
import { Bandwidth } from './bandwidth.js';
import { MAX_PUT_BLOB_BYTES } from './block-size.js';
import { download } from './download.js';
import type { RawIo } from './file-io.js';
import { Numbered } from './numbered.js';
import { Limits, type EngineParts } from './parts.js';
import type { DownloadRequest, TransferEngine, UploadRequest, UploadResult } from './transfer.js';
import { ThreadGets } from './thread-gets.js';
import { upload } from './upload.js';
import { WorkerPool } from './worker-pool.js';

/** As the configuration's `transfer` section has them. */
export interface EngineOptions {
  /** Threads that move content, never more than the buffers have blocks; 0 does it on the calling one. */
  readonly workers: number;
  /** Bytes of a block, and of a range; blocks grow for files of more than 50,000 of them. */
  readonly blockSizeBytes: number;
  /** Files up to this size go as one Put Blob, as far as a worker can hold them. */
  readonly putBlobMaxBytes: number;
  /** Ranges or blocks in flight for one file. */
  readonly rangesPerFile: number;
  /** Requests in flight to one account, for downloads and for uploads: the most, throttles make it less for a while. */
  readonly maxRequests?: number;
  /** Bytes of content in memory at once, over all transfers; at least 16 KiB a worker. */
  readonly maxBufferBytes: number;
  /** Bytes a second over all downloads, or all uploads; 0 for as fast as it goes. */
  readonly maxDownloadBytesPerSecond?: number;
  readonly maxUploadBytesPerSecond?: number;
  /** Tries of one request, or of one stretch without progress. */
  readonly maxTries: number;
  /** How long UNREACHABLE and THROTTLED are tried again; see `retryPolicyOf`. */
  readonly retryForMs?: number;
  /** A request without a byte for that long is tried again. */
  readonly stallTimeoutMs: number;
  readonly caFile?: string | undefined;
  /** Threads of libuv's pool that reads of files may hold, and as many writes. */
  readonly fileCalls?: number;
  /** The first pause after a failure; each later one doubles. */
  readonly retryDelayMs?: number;
  /** Hears of a thread that died; its requests are made again. */
  readonly onWorkerDeath?: (error: Error) => void;
  /** Hears of an account, by host, that asked for patience: from now on so many requests go to it at once. */
  readonly onThrottle?: (account: string, direction: 'download' | 'upload', requests: number) => void;
  /** Hears of an account, by host, that takes no CRC64 with a request: the rest goes without. */
  readonly onWithoutCrc?: (account: string) => void;
  /** For tests, with 0 workers: the calls on descriptors. */
  readonly io?: RawIo;
}

/**
 * The part of the buffers that only downloads use: a program that waits for its file must not wait behind archives,
 * whose buffers are held for as long as a block is on its way.
 */
const RESTORE_SHARE = 1 / 2;

/** Of that, what the threads of C have that carry out most GETs; the rest is for first ranges, and what they leave to the workers. */
const THREAD_SHARE = 3 / 4;

const DEFAULT_MAX_REQUESTS = 64;
const DEFAULT_FILE_CALLS = 10;
/** Of one worker: an OST that hangs holds some of them, and must not hold all. */
const LEAST_FILE_CALLS = 4;
const SMALLEST_POOL_BYTES = 4096;
/** Larger blocks are sent while they are read, whatever the buffers would hold. */
const MAX_HELD_BYTES = 64 * 1024 * 1024;

/** As many as asked for, but each must be able to hold a block. */
function workersFor(options: EngineOptions, uploadBytes: number): number {
  return Math.min(options.workers, Math.max(1, Math.floor(uploadBytes / options.blockSizeBytes)));
}

class WorkerEngine implements TransferEngine {
  #clients: Promise<AzureClients> | undefined;
  readonly #workers: WorkerPool;
  readonly #threadGets: ThreadGets;
  readonly #downloads: EngineParts;
  readonly #uploads: EngineParts;
  readonly #running = new Numbered<{ readonly stop: Stop; readonly end: Promise<unknown> }>();
  #closed = false;

  constructor(options: EngineOptions) {
    const { caFile, stallTimeoutMs, maxRequests = DEFAULT_MAX_REQUESTS } = options;
    const restoreBytes = Math.ceil(options.maxBufferBytes * RESTORE_SHARE);
    const uploadBytes = options.maxBufferBytes - restoreBytes;
    const threads = options.io === undefined ? getThreads() : undefined;
    const threadBytes = threads ? Math.floor(restoreBytes * THREAD_SHARE) : 0;
    const workers = workersFor(options, uploadBytes);
    const share = (bytes: number): number =>
      Math.max(SMALLEST_POOL_BYTES, Math.floor(bytes / Math.max(1, workers)));
    const ca = caFile === undefined ? undefined : loadCaFile(caFile);
    this.#workers = new WorkerPool({
      workers,
      downloadBytes: share(restoreBytes - threadBytes),
      uploadBytes: share(uploadBytes),
      stallTimeoutMs,
      ca,
      fileCalls: Math.max(
        LEAST_FILE_CALLS,
        Math.floor((options.fileCalls ?? DEFAULT_FILE_CALLS) / Math.max(1, workers)),
      ),
      io: options.io,
      onDeath: options.onWorkerDeath,
    });
    this.#threadGets = new ThreadGets({
      threads,
      workers: this.#workers,
      bufferBytes: Math.max(SMALLEST_POOL_BYTES, threadBytes),
      stallTimeoutMs,
      ca,
    });
    const shared = {
      clients: () => this.#sdk({ caFile, socketTimeoutMs: stallTimeoutMs }),
      workers: this.#workers,
      threadGets: this.#threadGets,
      auth: new Authorizer(),
      policy: retryPolicyOf(options),
      gates: new ThrottleGates(),
      blockSizeBytes: options.blockSizeBytes,
      putBlobMaxBytes: Math.min(options.putBlobMaxBytes, MAX_PUT_BLOB_BYTES),
      rangesPerFile: Math.max(1, options.rangesPerFile),
      stallTimeoutMs,
      heldBytes: Math.min(MAX_HELD_BYTES, share(uploadBytes)),
      withoutCrc: new Set<string>(),
      onWithoutCrc: (account: string) => options.onWithoutCrc?.(account),
    };
    this.#downloads = {
      ...shared,
      limits: new Limits(maxRequests, (account, requests) =>
        options.onThrottle?.(account, 'download', requests),
      ),
      bandwidth: new Bandwidth(options.maxDownloadBytesPerSecond ?? 0),
    };
    this.#uploads = {
      ...shared,
      limits: new Limits(maxRequests, (account, requests) =>
        options.onThrottle?.(account, 'upload', requests),
      ),
      bandwidth: new Bandwidth(options.maxUploadBytesPerSecond ?? 0),
    };
  }

  download(request: DownloadRequest, signal: Ends): Promise<BlobHeaders> {
    return this.#track((own) => download(this.#downloads, request, own), signal);
  }

  upload(request: UploadRequest, signal: AbortSignal): Promise<UploadResult> {
    return this.#track((own) => upload(this.#uploads, request, own.signal), signal);
  }

  /** Aborts what is under way, waits for it, ends the threads and closes the connections. */
  async close(): Promise<void> {
    this.#closed = true;
    const running = [...this.#running.values()];
    for (const { stop } of running) stop.abort();
    await Promise.allSettled(running.map(({ end }) => end));
    this.#threadGets.close();
    await this.#workers.close();
    (await this.#clients)?.close();
  }

  /** A failure, the CA file gone say, is not remembered. */
  #sdk(options: AzureClientOptions): Promise<AzureClients> {
    if (this.#clients) return this.#clients;
    const clients = newClients(options);
    this.#clients = clients;
    clients.catch(() => {
      this.#clients = undefined;
    });
    return clients;
  }

  /** Runs a transfer that ends with its caller's signal or the engine's. */
  async #track<T>(run: (own: Stop) => Promise<T>, outer: Ends): Promise<T> {
    const own = new Stop();
    const stop = (): void => {
      own.abort();
    };
    if (this.#closed || outer.aborted) stop();
    else outer.addEventListener('abort', stop, { once: true });
    const end = run(own);
    const number = this.#running.add({ stop: own, end });
    try {
      return await end;
    } finally {
      this.#running.delete(number);
      outer.removeEventListener('abort', stop);
    }
  }
}

async function newClients(options: AzureClientOptions): Promise<AzureClients> {
  const { AzureClients } = await import('../azure-client.js');
  return new AzureClients(options);
}

/** Makes the engine. Throws LhsmError when the CA file is of no use. */
export function createTransferEngine(options: EngineOptions): TransferEngine {
  return new WorkerEngine(options);
}

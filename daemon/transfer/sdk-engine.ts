// The transfer engine over the Azure SDK: staged blocks from reused Buffers, ranged downloads. The agent makes one and
// hands it to the movers.
import { AzureClients } from '../azure-client.js';
import { retryPolicyOf, ThrottleGates } from '../azure-retry.js';
import type { BlobHeaders } from '../blob.js';
import { MAX_PUT_BLOB_BYTES } from './block-size.js';
import { BufferPool } from './buffer-pool.js';
import { download } from './download.js';
import { fileIo, type RawIo } from './file-io.js';
import type { EngineParts } from './parts.js';
import type { DownloadRequest, TransferEngine, UploadRequest, UploadResult } from './transfer.js';
import { upload } from './upload.js';

/** As the configuration's `transfer` section has them. */
export interface EngineOptions {
  /** Bytes of a block, and of a range; blocks grow for files of more than 50,000 of them. */
  readonly blockSizeBytes: number;
  /** Files up to this size go as one Put Blob, as far as a Buffer can hold them. */
  readonly putBlobMaxBytes: number;
  /** Ranges or blocks in flight for one file. */
  readonly rangesPerFile: number;
  /** Bytes of content in memory at once, over all transfers; at least 16 KiB. */
  readonly maxBufferBytes: number;
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
  /** For tests: the calls on descriptors. */
  readonly io?: RawIo;
}

/**
 * The part of the buffers that only downloads use: a program that waits for its file must not wait behind archives,
 * whose larger buffers are held for as long as a block is on its way. Downloads need less: a MiB each.
 */
const RESTORE_SHARE = 1 / 4;

class SdkEngine implements TransferEngine {
  readonly #downloads: EngineParts;
  readonly #uploads: EngineParts;
  readonly #running = new Map<AbortController, Promise<unknown>>();
  #closed = false;

  constructor(options: EngineOptions) {
    const { caFile, stallTimeoutMs } = options;
    const shared = {
      io: fileIo(options.io, options.fileCalls),
      policy: retryPolicyOf(options),
      gates: new ThrottleGates(),
      blockSizeBytes: options.blockSizeBytes,
      putBlobMaxBytes: Math.min(options.putBlobMaxBytes, MAX_PUT_BLOB_BYTES),
      rangesPerFile: Math.max(1, options.rangesPerFile),
      stallTimeoutMs,
    };
    const restoreBytes = Math.ceil(options.maxBufferBytes * RESTORE_SHARE);
    this.#downloads = {
      ...shared,
      pool: new BufferPool(restoreBytes),
      clients: new AzureClients({ caFile }),
    };
    this.#uploads = {
      ...shared,
      pool: new BufferPool(options.maxBufferBytes - restoreBytes),
      clients: new AzureClients({ caFile, socketTimeoutMs: stallTimeoutMs }),
    };
  }

  download(request: DownloadRequest, signal: AbortSignal): Promise<BlobHeaders> {
    return this.#track((own) => download(this.#downloads, request, own), signal);
  }

  upload(request: UploadRequest, signal: AbortSignal): Promise<UploadResult> {
    return this.#track((own) => upload(this.#uploads, request, own), signal);
  }

  /** Aborts what is under way, waits for it, and closes the connections. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const control of this.#running.keys()) control.abort();
    await Promise.allSettled(this.#running.values());
    this.#downloads.clients.close();
    this.#uploads.clients.close();
    this.#downloads.pool.trim();
    this.#uploads.pool.trim();
  }

  /** Runs a transfer that ends with its caller's signal or the engine's. */
  async #track<T>(run: (signal: AbortSignal) => Promise<T>, outer: AbortSignal): Promise<T> {
    const own = new AbortController();
    const stop = (): void => {
      own.abort();
    };
    if (this.#closed || outer.aborted) stop();
    else outer.addEventListener('abort', stop, { once: true });
    const running = run(own.signal);
    this.#running.set(own, running);
    try {
      return await running;
    } finally {
      this.#running.delete(own);
      outer.removeEventListener('abort', stop);
    }
  }
}

/** Makes the engine. Throws LhsmError when the CA file is of no use. */
export function createTransferEngine(options: EngineOptions): TransferEngine {
  return new SdkEngine(options);
}

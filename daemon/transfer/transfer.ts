// The transfer room's interface: bytes between a file descriptor and a blob. Movers call it; it knows a
// descriptor, a URL and a range, and nothing of FIDs, paths or actions.
import type { BlobHeaders, BlobLocation, ExpectedVersion } from '../blob.js';
import type { Ends } from '../stop.js';

/** What a transfer has done so far; the engine adds to it as it goes, anybody may read it at any time. */
export interface TransferCounters {
  /** Content bytes moved to their place (written to the descriptor, or accepted by the service). */
  bytes: number;
  requests: number;
  retries: number;
  /** Answers 503, 500 OperationTimedOut and 429. */
  throttles: number;
  /** Milliseconds from the call to the first byte of content; undefined until then. */
  firstByteMs: number | undefined;
}

export function newCounters(): TransferCounters {
  return { bytes: 0, requests: 0, retries: 0, throttles: 0, firstByteMs: undefined };
}

export interface DownloadRequest {
  readonly blob: BlobLocation;
  /** Open for writing; the engine writes at offsets from 0 and neither truncates nor closes it. */
  readonly fd: number;
  /** The size the caller expects: what the first range is cut to. */
  readonly sizeBytes: number;
  /** The version to read. Without it, the first answer's ETag pins the rest. */
  readonly ifMatch?: string;
  /**
   * The metadata key that says `1` of a blob whose aligned 64 KiB blocks of zeros are left unwritten, so that holes stay
   * holes. The file must be new or empty. Its last byte is always written: the size is right without more ado.
   */
  readonly holesMetadata?: string;
  /**
   * Called once with the first answer's headers; throws to refuse the blob. Of a small blob that has `sizeBytes` and is of
   * the version `ifMatch`, if that is given, the content may have been written by then: who refuses must let nobody read
   * the file.
   */
  readonly accept: (headers: BlobHeaders) => void;
  readonly counters: TransferCounters;
}

export interface UploadRequest {
  readonly blob: BlobLocation;
  /** Open for reading; read at offsets, never closed. */
  readonly fd: number;
  readonly sizeBytes: number;
  /** Metadata of the blob: keys as they are to be written. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly expected: ExpectedVersion;
  /** Called when every byte has been read and nothing is committed yet; throws to commit nothing. */
  readonly beforeCommit: () => Promise<void>;
  readonly counters: TransferCounters;
}

/** The version that an upload made. */
export interface UploadResult {
  readonly etag: string;
  readonly lastModified: Date | undefined;
}

/**
 * Moves content. Both methods reject with LhsmError: ENOENT (BLOB_MISSING, CONTAINER_MISSING), EIO (SIZE_MISMATCH,
 * BLOB_ARCHIVED, BAD_ANSWER, or what `accept` throws), ESTALE code BLOB_CHANGED (another version than
 * `ifMatch`/`expected`), EBUSY code FILE_CHANGED (the file ended before `sizeBytes`; nothing committed), EACCES
 * (FORBIDDEN, TOKEN_FAILED, TLS_CERTIFICATE), ENOSPC, EDQUOT and EIO (the descriptor's), ECANCELED (aborted), EAGAIN
 * retryable (THROTTLED, UNREACHABLE: the service did not answer in the end).
 * What `accept` and `beforeCommit` throw comes through as it is.
 * When they return or reject, no read, write or request of theirs is under way any more.
 */
export interface TransferEngine {
  /** Returns the headers of the version that was written. */
  download(request: DownloadRequest, signal: Ends): Promise<BlobHeaders>;
  upload(request: UploadRequest, signal: AbortSignal): Promise<UploadResult>;
  close(): Promise<void>;
}

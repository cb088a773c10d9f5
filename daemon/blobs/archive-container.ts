// The blobs room's interface: one archive id's container, through the SDK. Movers and jobs call it.
// Content goes through the transfer room; this is everything else.
import type { BlobHeaders, BlobLocation, ExpectedVersion } from '../blob.js';
import type { BlobListing } from './listing.js';

/**
 * A container (and prefix) that holds the copies of one archive id. Names are blob names in full, prefix
 * included, unencoded. Methods reject with LhsmError: ENOENT code BLOB_MISSING or CONTAINER_MISSING, EACCES
 * code FORBIDDEN, ESTALE code BLOB_CHANGED (a condition did not hold), EIO code BLOB_ARCHIVED (Archive tier), EAGAIN
 * retryable code UNREACHABLE or THROTTLED (after the retries within), ECANCELED (aborted).
 */
export interface ArchiveContainer {
  readonly archiveId: number;
  /** The container's name, as it stands in `az://<container>/<name>`. */
  readonly container: string;
  /** Ends with `/` or is empty. */
  readonly prefix: string;
  readonly naming: 'path' | 'fid';
  /** Where the blob of this name is, for the transfer room. */
  location(name: string): BlobLocation;
  /** undefined when there is no such blob. */
  properties(name: string, signal: AbortSignal): Promise<BlobHeaders | undefined>;
  /** Creates an empty blob with this metadata, or replaces the expected one; answers its ETag. */
  putEmpty(
    name: string,
    metadata: Readonly<Record<string, string>>,
    expected: ExpectedVersion,
    signal: AbortSignal,
  ): Promise<string>;
  /** The same with a body of some kilobytes. */
  putSmall(
    name: string,
    body: Buffer,
    metadata: Readonly<Record<string, string>>,
    expected: ExpectedVersion,
    signal: AbortSignal,
  ): Promise<string>;
  /** Replaces the metadata of the version of this ETag, whose content stays; answers the ETag of the version that it becomes. */
  setMetadata(
    name: string,
    metadata: Readonly<Record<string, string>>,
    etag: string,
    signal: AbortSignal,
  ): Promise<string>;
  /**
   * Deletes the blob if its version is the expected one; one that has snapshots is refused, EBUSY code BLOB_BUSY. Whatever
   * `beforeEachTry` rejects with ends it.
   */
  delete(
    name: string,
    expected: ExpectedVersion,
    signal: AbortSignal,
    beforeEachTry?: () => Promise<void>,
  ): Promise<void>;
  /** The content's first `maxBytes` + 1 bytes, so that a longer one shows; of the version of this ETag, if given. */
  readSmall(name: string, maxBytes: number, etag: string | undefined, signal: AbortSignal): Promise<Buffer>;
  /** How to list the container; asks which kind of account it is, unless the configuration says so. */
  listing(signal: AbortSignal): Promise<BlobListing>;
  /**
   * Proves that the container is there and lets us in; for start-up, readiness and `--check`. It knows within half a
   * minute: UNREACHABLE when there was no answer.
   */
  probe(signal: AbortSignal): Promise<void>;
}

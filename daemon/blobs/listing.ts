// What a listing of a container says of its blobs, page by page: the one interface of flat accounts and of those
// with a hierarchical namespace. Jobs call it.
import type { AttributedBlob } from './attributes.js';

/** A blob as listed; snapshots, versions, deleted and uncommitted ones are left out. */
export interface ListedBlob {
  /** In full, prefix included. A directory of a hierarchical account has no slash behind it. */
  readonly name: string;
  readonly sizeBytes: number;
  /** As the service writes it, quotes included. */
  readonly etag: string;
  /** `BlockBlob`, `PageBlob`, `AppendBlob`; `BlockBlob` where the listing does not say. */
  readonly blobType: string;
  readonly accessTier: string | undefined;
  readonly lastModified: Date | undefined;
  /** Keys in lower case; undefined where the listing does not say: ask for the blob's properties. */
  readonly metadata: Readonly<Record<string, string>> | undefined;
  /** What only accounts with a hierarchical namespace have. */
  readonly hierarchical?: AttributedBlob['hierarchical'];
}

export interface PageRequest {
  /** Names begin with it. On a hierarchical account a path: what is below it, and without a slash at its end itself. */
  readonly prefix: string;
  /** Only down to the next slash; what lies deeper is told as `prefixes`. */
  readonly shallow: boolean;
  /** Of the page before; undefined for the first. */
  readonly marker: string | undefined;
  readonly maxResults: number;
}

export interface ListingPage {
  readonly blobs: readonly ListedBlob[];
  /**
   * Each ends with a slash. Only of a shallow listing. On a hierarchical account the directories, which are among the blobs, too.
   */
  readonly prefixes: readonly string[];
  /** Of the next page; undefined when this was the last. */
  readonly next: string | undefined;
}

/**
 * Lists a container. Pages may be empty and yet have a next one. Methods reject with LhsmError as those of ArchiveContainer
 * do, after the retries within.
 */
export interface BlobListing {
  /** Whether the account has a hierarchical namespace. */
  readonly hierarchical: boolean;
  page(request: PageRequest, signal: AbortSignal): Promise<ListingPage>;
}

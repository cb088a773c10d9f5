// The listing of accounts with a hierarchical namespace: List Blobs, which tells owner, group and mode there beside the metadata.
// azure-container.ts makes it, jobs call it. Where the service does not tell them, path-listing.ts does.
import { LhsmError } from '../../native-bindings/errors.js';
import type { BlobHeaders } from '../blob.js';
import { listingSubject, type ListingPort } from './flat-listing.js';
import { listBlobs } from './list-blobs.js';
import { listedBlob, listedDirectory } from './list-item.js';
import type { BlobListing, ListedBlob, ListingPage, PageRequest } from './listing.js';
import { listPaths, type PathListingPort } from './path-listing.js';

export interface HnsListingPort extends PathListingPort, Pick<ListingPort, 'get'> {
  readonly properties: (name: string, signal: AbortSignal) => Promise<BlobHeaders | undefined>;
  /** Told, in a sentence for the log, when paths are listed instead. */
  readonly onNote: (note: string) => void;
}

/** How pages are listed. A marker says which way it is of: a job may be taken up again by a process that knows neither. */
type Way = 'blobs' | 'paths';

/**
 * Codes by which List Blobs may refuse `include=permissions`, or a prefix in which a file stands where a directory belongs: the
 * documentation names none for either.
 */
const refusals: ReadonlySet<string> = new Set(['REFUSED', 'BLOB_MISSING', 'TYPE_MISMATCH']);

export class HnsListing implements BlobListing {
  readonly hierarchical = true;
  readonly #port: HnsListingPort;
  #way: Way = 'blobs';

  constructor(port: HnsListingPort) {
    this.#port = port;
  }

  /**
   * A prefix without a slash at its end is the file or directory of that path as well, which comes first, beside what
   * `maxResults` counts; one with a slash is only what is below. What is not there is an empty page.
   */
  async page(request: PageRequest, signal: AbortSignal): Promise<ListingPage> {
    const { prefix, marker } = request;
    const self = prefix === '' || prefix.endsWith('/') || marker !== undefined ? undefined : prefix;
    const path = prefix.replace(/\/+$/, '');
    const within = { ...request, prefix: path === '' ? '' : `${path}/` };
    if (self === undefined) return this.#below(within, signal);
    const headers = await this.#port.properties(self, signal);
    if (headers === undefined) return nothing;
    const itself = listedSelf(self, headers);
    if (itself.hierarchical?.isDirectory !== true) return { ...nothing, blobs: [itself] };
    const below = await this.#below(within, signal);
    return { ...below, blobs: [itself, ...below.blobs] };
  }

  async #below(request: PageRequest, signal: AbortSignal): Promise<ListingPage> {
    const { marker } = request;
    if (marker !== undefined) {
      const way: Way = marker.startsWith('paths:') ? 'paths' : 'blobs';
      return this.#list(way, { ...request, marker: marker.slice(way.length + 1) }, signal);
    }
    if (this.#way === 'paths') return this.#list('paths', request, signal);
    let said = 'said none';
    try {
      const page = await this.#list('blobs', request, signal);
      if (!isSilent(page)) return page;
    } catch (error) {
      if (!(error instanceof LhsmError) || !refusals.has(error.code)) throw error;
      said = `answered: ${error.message}`;
    }
    const page = await this.#list('paths', request, signal);
    // Without any path, it was the prefix that List Blobs did not like.
    if (page.blobs.length > 0) this.#turnToPaths(said);
    return page;
  }

  #turnToPaths(said: string): void {
    // Several pages may have been on their way.
    if (this.#way === 'paths') return;
    this.#way = 'paths';
    this.#port.onNote(
      `asked for owners and permissions with List Blobs, the service ${said}. Its paths are listed instead, and each is asked for its metadata, which takes longer.`,
    );
  }

  async #list(way: Way, request: PageRequest, signal: AbortSignal): Promise<ListingPage> {
    const list = way === 'paths' ? listPaths(this.#port, request, signal) : this.#blobs(request, signal);
    const page = await list;
    return page.next === undefined ? page : { ...page, next: `${way}:${page.next}` };
  }

  #blobs(request: PageRequest, signal: AbortSignal): Promise<ListingPage> {
    const { prefix } = request;
    return this.#port.request('List Blobs', listingSubject(prefix), signal, async () => {
      const blobs = new Map<string, ListedBlob>();
      const next = await listBlobs(
        this.#port.get,
        { ...request, include: 'metadata,permissions' },
        (entry) => {
          // Of a shallow listing only: a directory, which is a blob as well.
          const blob = entry.isPrefix ? listedDirectory(entry) : listedBlob(entry);
          if (blob?.name.startsWith(prefix) && !blobs.has(blob.name)) blobs.set(blob.name, toldOrAsked(blob));
        },
        signal,
      );
      const all = [...blobs.values()];
      return { blobs: all, prefixes: request.shallow ? directoriesOf(all) : [], next };
    });
  }
}

const nothing: ListingPage = { blobs: [], prefixes: [], next: undefined };

/** Without its permissions a blob is to be asked for its properties: then it must not seem to be known. */
function toldOrAsked(blob: ListedBlob): ListedBlob {
  return blob.hierarchical?.permissions === undefined ? { ...blob, metadata: undefined } : blob;
}

/** Whether there are blobs, and none says who owns it. The directories of a shallow listing need not. */
function isSilent({ blobs }: ListingPage): boolean {
  const telling = blobs.filter(({ hierarchical }) => hierarchical?.isDirectory !== true);
  return telling.length > 0 && telling.every(({ hierarchical }) => hierarchical?.permissions === undefined);
}

function directoriesOf(blobs: readonly ListedBlob[]): string[] {
  return blobs.filter(({ hierarchical }) => hierarchical?.isDirectory).map(({ name }) => `${name}/`);
}

/** A path as its own properties tell it. */
function listedSelf(name: string, headers: BlobHeaders): ListedBlob {
  const { sizeBytes, etag, blobType, accessTier, lastModified, metadata } = headers;
  const isDirectory = headers.hierarchical?.isDirectory ?? metadata['hdi_isfolder']?.toLowerCase() === 'true';
  return {
    name,
    sizeBytes,
    etag,
    blobType: blobType === '' ? 'BlockBlob' : blobType,
    accessTier,
    lastModified,
    metadata,
    hierarchical: { ...headers.hierarchical, isDirectory },
  };
}

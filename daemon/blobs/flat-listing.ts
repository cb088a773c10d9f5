// List Blobs, page by page: the listing of accounts without a hierarchical namespace. azure-container.ts makes it, jobs
// call it.
import type { ContainerClient } from '@azure/storage-blob';
import { listBlobs, type ContainerGet } from './list-blobs.js';
import { listedBlob } from './list-item.js';
import type { BlobListing, ListedBlob, ListingPage, PageRequest } from './listing.js';

/** What of its container a listing needs. */
export interface ListingPort {
  /** Made anew for each try: a SAS may rotate. */
  readonly client: () => ContainerClient;
  readonly get: ContainerGet;
  /** Tries again what may work the next time, and translates what does not. */
  readonly request: <T>(
    op: string,
    subject: string,
    signal: AbortSignal,
    run: () => Promise<T>,
  ) => Promise<T>;
}

export function listingSubject(prefix: string): string {
  return prefix === '' ? 'the listing' : `the listing of ${JSON.stringify(prefix)}`;
}

export class FlatListing implements BlobListing {
  readonly hierarchical = false;
  readonly #port: ListingPort;

  constructor(port: ListingPort) {
    this.#port = port;
  }

  /** https://learn.microsoft.com/rest/api/storageservices/list-blobs */
  page(request: PageRequest, signal: AbortSignal): Promise<ListingPage> {
    return this.#port.request('List Blobs', listingSubject(request.prefix), signal, () =>
      this.#list(request, signal),
    );
  }

  async #list(request: PageRequest, signal: AbortSignal): Promise<ListingPage> {
    const blobs: ListedBlob[] = [];
    const prefixes: string[] = [];
    const next = await listBlobs(
      this.#port.get,
      { ...request, include: 'metadata' },
      (entry) => {
        if (entry.isPrefix) {
          prefixes.push(entry.name);
          return;
        }
        const blob = listedBlob(entry);
        if (blob !== undefined) blobs.push(blob);
      },
      signal,
    );
    return { blobs, prefixes, next };
  }
}

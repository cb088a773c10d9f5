// List Blobs through the SDK, page by page: the listing of accounts without a hierarchical namespace.
// azure-container.ts makes it, jobs call it.
import type {
  BlobItem,
  ContainerClient,
  ContainerListBlobFlatSegmentResponse,
  ContainerListBlobHierarchySegmentResponse,
} from '@azure/storage-blob';
import { listedBlob } from './list-item.js';
import type { BlobListing, ListedBlob, ListingPage, PageRequest } from './listing.js';

/**
 * Blobs asked for in one page unless the caller says otherwise. The SDK parses a page in one go, on the main thread, and
 * takes some 0.25 ms for each blob with six keys of metadata (measured; 250 ms for 1,000): all that time no restore begins.
 */
export const LIST_PAGE = 500;

/** What of its container a listing needs. */
export interface ListingPort {
  /** Made anew for each try: a SAS may rotate. */
  readonly client: () => ContainerClient;
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
    const { prefix, shallow, marker, maxResults } = request;
    const options = { includeMetadata: true, prefix, abortSignal: signal };
    const settings = {
      maxPageSize: maxResults,
      ...(marker === undefined ? {} : { continuationToken: marker }),
    };
    const client = this.#port.client();
    if (!shallow) {
      const answer = await client.listBlobsFlat(options).byPage(settings).next();
      const { segment, continuationToken } = answer.value as ContainerListBlobFlatSegmentResponse;
      return { blobs: compact(segment.blobItems), prefixes: [], next: nextOf(continuationToken) };
    }
    const answer = await client.listBlobsByHierarchy('/', options).byPage(settings).next();
    const { segment, continuationToken } = answer.value as ContainerListBlobHierarchySegmentResponse;
    return {
      blobs: compact(segment.blobItems),
      prefixes: (segment.blobPrefixes ?? []).map(({ name }) => name),
      next: nextOf(continuationToken),
    };
  }
}

function compact(items: readonly BlobItem[]): ListedBlob[] {
  const blobs: ListedBlob[] = [];
  for (const item of items) {
    const blob = listedBlob(item);
    if (blob !== undefined) blobs.push(blob);
  }
  return blobs;
}

function nextOf(token: string | undefined): string | undefined {
  return token === '' ? undefined : token;
}

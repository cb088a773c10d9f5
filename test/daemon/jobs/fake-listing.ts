// A listing of made-up names for the tests of jobs: pages as small as asked for, some of them empty, and failures on demand.
import type { BlobListing, ListedBlob, ListingPage, PageRequest } from '../../../daemon/blobs/listing.js';

export function listed(name: string): ListedBlob {
  return {
    name,
    sizeBytes: 0,
    etag: '"0x1"',
    blobType: 'BlockBlob',
    accessTier: 'Hot',
    lastModified: new Date(0),
    metadata: {},
  };
}

export interface FakeListingOptions {
  /** Runs before each page; what it throws, the page rejects with. */
  readonly before?: (request: PageRequest, signal: AbortSignal) => void | Promise<void>;
  /** Whether the page at this place is empty; the one behind it is not. */
  readonly isEmpty?: () => boolean;
}

/** Lists names as a flat account does: in order, prefixes among them. */
export class FakeListing implements BlobListing {
  readonly hierarchical = false;
  /** Every request, in order. */
  readonly requests: PageRequest[] = [];
  readonly #names: readonly string[];
  readonly #options: FakeListingOptions;

  constructor(names: Iterable<string>, options: FakeListingOptions = {}) {
    this.#names = [...names].sort();
    this.#options = options;
  }

  async page(request: PageRequest, signal: AbortSignal): Promise<ListingPage> {
    this.requests.push(request);
    await this.#options.before?.(request, signal);
    signal.throwIfAborted();
    const { prefix, shallow, marker, maxResults } = request;
    // A marker is of one kind of listing of one prefix.
    const kind = `${shallow ? 'shallow' : 'flat'} ${prefix} `;
    if (marker?.startsWith(kind) === false) throw new Error(`${marker} is no marker of ${kind}`);
    const [, from = '0', wasEmpty] = /(\d+)(e?)$/.exec(marker ?? '0') ?? [];
    const at = Number(from);
    if (wasEmpty !== 'e' && this.#options.isEmpty?.() === true)
      return { blobs: [], prefixes: [], next: `${kind}${at}e` };
    const entries = shallow ? this.#shallow(prefix) : this.#names.filter((name) => name.startsWith(prefix));
    const page = entries.slice(at, at + maxResults);
    const end = at + page.length;
    const isPrefix = (entry: string): boolean => shallow && entry.endsWith('/') && entry !== prefix;
    return {
      blobs: page.filter((entry) => !isPrefix(entry)).map(listed),
      prefixes: page.filter(isPrefix),
      next: end < entries.length ? `${kind}${end}` : undefined,
    };
  }

  #shallow(prefix: string): string[] {
    const entries = new Set<string>();
    for (const name of this.#names) {
      if (!name.startsWith(prefix)) continue;
      const slash = name.indexOf('/', prefix.length);
      entries.add(slash === -1 ? name : name.slice(0, slash + 1));
    }
    return [...entries].sort();
  }
}

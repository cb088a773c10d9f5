// The Data Lake endpoint's Path - List: what hns-listing.ts falls back to. Entries say owner, group and mode, but no metadata,
// so that each blob is asked for its properties.
import { LhsmError } from '../../native-bindings/errors.js';
import { httpStatus, serviceCode } from '../azure-errors.js';
import { listingSubject, type ListingPort } from './flat-listing.js';
import { quoted } from './list-item.js';
import type { ListedBlob, ListingPage, PageRequest } from './listing.js';

/** The service's most (https://learn.microsoft.com/rest/api/storageservices/datalakestoragegen2/path/list). */
const MAX_PATHS = 5000;

/** One answer of Path - List. */
export interface PathsAnswer {
  /** As JSON.parse gave it. */
  readonly body: unknown;
  /** Of `x-ms-continuation`. */
  readonly continuation: string | undefined;
}

export interface PathListingPort extends Pick<ListingPort, 'request'> {
  /** GET of the file system with this query. Rejects with the service's error. */
  readonly paths: (query: Readonly<Record<string, string>>, signal: AbortSignal) => Promise<PathsAnswer>;
}

/** The host of the Data Lake endpoint beside that of the blobs'; one that has no `.blob.` (emulators) keeps its own. */
export function dataLakeUrl(containerUrl: string): string {
  return containerUrl.replace(/^(https?:\/\/[^/]*?)\.blob\./, '$1.dfs.');
}

/**
 * One page of what is below the request's prefix, which is empty or ends in a slash. What is not there is an empty page.
 */
export function listPaths(
  port: PathListingPort,
  request: PageRequest,
  signal: AbortSignal,
): Promise<ListingPage> {
  const { prefix, shallow, marker, maxResults } = request;
  const query = {
    resource: 'filesystem',
    recursive: String(!shallow),
    ...(prefix === '' ? {} : { directory: prefix.slice(0, -1) }),
    maxResults: String(Math.min(maxResults, MAX_PATHS)),
    upn: 'false',
    ...(marker === undefined ? {} : { continuation: marker }),
  };
  return port.request('Path - List', listingSubject(prefix), signal, async () => {
    let answer: PathsAnswer;
    try {
      answer = await port.paths(query, signal);
    } catch (error) {
      if (httpStatus(error) === 404 && serviceCode(error) === 'PathNotFound') return nothing;
      throw error;
    }
    const blobs = pathsOf(answer.body).filter(({ name }) => name.startsWith(prefix));
    return {
      blobs,
      prefixes: shallow
        ? blobs.filter(({ hierarchical }) => hierarchical?.isDirectory).map(({ name }) => `${name}/`)
        : [],
      next: answer.continuation === '' ? undefined : answer.continuation,
    };
  });
}

const nothing: ListingPage = { blobs: [], prefixes: [], next: undefined };

function pathsOf(body: unknown): ListedBlob[] {
  const paths = (body as { readonly paths?: unknown } | null | undefined)?.paths;
  if (!Array.isArray(paths)) throw badAnswer('without a list of paths');
  return (paths as unknown[]).map(listedPath);
}

/** Numbers and booleans come as texts, `isDirectory` only on directories. */
function listedPath(entry: unknown): ListedBlob {
  const said = (entry ?? {}) as Readonly<Record<string, unknown>>;
  const text = (key: string): string | undefined => {
    const value = said[key];
    return typeof value === 'string' ? value : undefined;
  };
  const name = text('name');
  if (name === undefined || name === '') throw badAnswer('with a path that has no name');
  const sizeBytes = Number(said['contentLength'] ?? 0);
  const modified = new Date(text('lastModified') ?? '');
  const owner = text('owner');
  const group = text('group');
  const permissions = text('permissions');
  return {
    name,
    sizeBytes: Number.isFinite(sizeBytes) ? sizeBytes : 0,
    etag: quoted(text('etag') ?? ''),
    blobType: 'BlockBlob',
    accessTier: undefined,
    lastModified: Number.isNaN(modified.getTime()) ? undefined : modified,
    metadata: undefined,
    hierarchical: {
      ...(owner === undefined ? {} : { owner }),
      ...(group === undefined ? {} : { group }),
      ...(permissions === undefined ? {} : { permissions }),
      isDirectory: String(said['isDirectory']).toLowerCase() === 'true',
    },
  };
}

function badAnswer(what: string): LhsmError {
  return new LhsmError(`Path - List: got an answer ${what}.`, {
    code: 'BAD_ANSWER',
    op: 'Path - List',
    errno: 5,
    hint: "Check the container's URL, and the proxies on the way.",
  });
}

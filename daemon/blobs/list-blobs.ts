// Asks for a page of List Blobs and reads the answer as it comes, a slice at a time. Both listings call it; the SDK's own way
// parses a page in one go (see docs/decisions/jobs.md).
import { setImmediate as turn } from 'node:timers/promises';
import { LhsmError } from '../../native-bindings/errors.js';
import { ListingXml, type ListingEntry } from './listing-xml.js';
import type { PageRequest } from './listing.js';

/** The service's most (https://learn.microsoft.com/rest/api/storageservices/list-blobs). */
export const MAX_BLOBS = 5000;

/**
 * What is read of an answer before others get their turn: some 60 blobs, less than a millisecond.
 */
const SLICE_BYTES = 64 * 1024;

/** An answer's body, as it comes. */
export type BodyPieces = AsyncIterable<Uint8Array>;

/** GET of the container with this query. Rejects with the service's error. */
export type ContainerGet = (
  query: Readonly<Record<string, string>>,
  signal: AbortSignal,
) => Promise<BodyPieces>;

/**
 * Sends one request and calls `onEntry` for each entry of the answer, in its order. Answers the next page's marker;
 * undefined after the last. Rejects with the service's error, with what broke the connection, or with LhsmError BAD_ANSWER,
 * retryable, when the answer is no listing, or not all of one; `onEntry` may have been called by then.
 * https://learn.microsoft.com/rest/api/storageservices/list-blobs
 */
export async function listBlobs(
  get: ContainerGet,
  request: PageRequest & { readonly include: string },
  onEntry: (entry: ListingEntry) => void,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { prefix, shallow, marker, maxResults, include } = request;
  const query = {
    restype: 'container',
    comp: 'list',
    ...(prefix === '' ? {} : { prefix }),
    ...(shallow ? { delimiter: '/' } : {}),
    ...(marker === undefined ? {} : { marker }),
    maxresults: String(Math.min(maxResults, MAX_BLOBS)),
    include,
  };
  const next = await readListing(await get(query, signal), onEntry);
  return next === '' ? undefined : next;
}

/** Reads one answer. Answers the next page's marker, empty after the last; rejects as `listBlobs` does. */
export async function readListing(body: BodyPieces, onEntry: (entry: ListingEntry) => void): Promise<string> {
  const xml = new ListingXml(onEntry);
  const utf8 = new TextDecoder('utf-8', { fatal: true });
  let sinceTurn = 0;
  // Leaving the loop early destroys the stream.
  for await (const piece of body) {
    for (let at = 0; at < piece.length;) {
      if (sinceTurn >= SLICE_BYTES) {
        await turn();
        sinceTurn = 0;
      }
      const slice = piece.subarray(at, at + SLICE_BYTES - sinceTurn);
      orBadAnswer(() => {
        xml.write(utf8.decode(slice, { stream: true }));
      });
      at += slice.length;
      sinceTurn += slice.length;
    }
  }
  return orBadAnswer(() => {
    xml.write(utf8.decode());
    return xml.end();
  });
}

function orBadAnswer<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new LhsmError(`List Blobs: got an answer that cannot be read: ${why.slice(0, 200)}.`, {
      code: 'BAD_ANSWER',
      op: 'List Blobs',
      errno: 5,
      retryable: true,
      hint: "Check the container's URL, and the proxies on the way.",
      cause,
    });
  }
}

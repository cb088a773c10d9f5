// Turns what the SDK lists into the compact form that jobs keep: an item of the SDK is several times as large.
// flat-listing.ts calls it for each item of a page.
import type { BlobItem } from '@azure/storage-blob';
import type { ListedBlob } from './listing.js';

/** The SDK's types promise more than an answer may hold. */
interface SaidProperties {
  readonly etag?: string | undefined;
  readonly contentLength?: number | undefined;
  readonly blobType?: string | undefined;
  readonly accessTier?: string | undefined;
  readonly lastModified?: Date | undefined;
}

/**
 * undefined for what is no blob of its own, though it was not asked for: snapshots, deleted blobs, older versions, and
 * uncommitted blobs, which have no ETag (https://learn.microsoft.com/rest/api/storageservices/list-blobs, "Uncommitted
 * blobs in the response").
 */
export function listedBlob(item: BlobItem): ListedBlob | undefined {
  const properties: SaidProperties = item.properties;
  const { etag = '', lastModified } = properties;
  const isOldVersion =
    item.isCurrentVersion === false || (isSaid(item.versionId) && item.isCurrentVersion !== true);
  if (isSaid(item.snapshot) || item.deleted || item.hasVersionsOnly === true || isOldVersion || etag === '')
    return undefined;
  return {
    name: item.name,
    sizeBytes: properties.contentLength ?? 0,
    etag: quoted(etag),
    blobType: properties.blobType ?? 'BlockBlob',
    accessTier: properties.accessTier,
    lastModified:
      lastModified === undefined || Number.isNaN(lastModified.getTime()) ? undefined : lastModified,
    metadata: metadataOf(item.metadata),
  };
}

/** The SDK gives an empty element as an empty text. */
function isSaid(text: string | undefined): boolean {
  return text !== undefined && text !== '';
}

/** Listings leave out the quotes that headers have, and conditions need. */
export function quoted(etag: string): string {
  return etag.startsWith('"') || etag.startsWith('W/') ? etag : `"${etag}"`;
}

/**
 * Keys in lower case. undefined where the listing cannot tell: metadata under a customer's key are only marked
 * `Encrypted="true"`, which the SDK gives as `$`.
 */
function metadataOf(said: unknown): Record<string, string> | undefined {
  // No metadata are an empty text, or nothing at all.
  if (typeof said !== 'object' || said === null) return {};
  const metadata: Record<string, string> = {};
  for (const [key, value] of Object.entries(said as Record<string, unknown>)) {
    if (key === '$') return undefined;
    // A name that XML cannot hold comes as the value of this; no key of anybody's.
    if (key === 'x-ms-invalid-name') continue;
    const [first] = Array.isArray(value) ? (value as unknown[]) : [value];
    const lower = key.toLowerCase();
    if (typeof first === 'string' && !Object.hasOwn(metadata, lower)) metadata[lower] = first;
  }
  return metadata;
}

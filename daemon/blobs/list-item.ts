// Turns an entry of List Blobs into the compact form that jobs keep. list-blobs.ts calls it for each.
import type { HierarchicalHeaders } from '../blob.js';
import type { ListedBlob } from './listing.js';
import type { ListingEntry } from './listing-xml.js';

/**
 * Makes objects without a prototype that V8 still lays out as it does others: those of Object.create(null) take three
 * times the memory. Keys are anybody's, `__proto__` and `constructor` too.
 */
const Texts = function () {
  // Fields come with the keys.
} as unknown as new () => Record<string, string>;
Texts.prototype = Object.create(null) as object;

/**
 * undefined for what is no blob of its own, though it was not asked for: snapshots, deleted blobs, older versions, and
 * uncommitted blobs, which have no ETag (https://learn.microsoft.com/rest/api/storageservices/list-blobs, "Uncommitted
 * blobs in the response").
 */
export function listedBlob(entry: ListingEntry): ListedBlob | undefined {
  const { fields, properties } = entry;
  const etag = properties.get('Etag') ?? '';
  const isCurrent = fields.get('IsCurrentVersion');
  const isOldVersion = isCurrent === 'false' || (isSaid(fields.get('VersionId')) && isCurrent !== 'true');
  if (isSaid(fields.get('Snapshot')) || fields.get('Deleted') === 'true' || etag === '') return undefined;
  if (fields.get('HasVersionsOnly') === 'true' || isOldVersion) return undefined;
  return { ...described(entry, etag), metadata: metadataOf(entry) };
}

/**
 * The directory that a prefix stands for on an account with a hierarchical namespace, where it has properties, but never
 * metadata: those are to be asked for.
 */
export function listedDirectory(entry: ListingEntry): ListedBlob {
  const blob = described(entry, entry.properties.get('Etag') ?? '');
  return {
    ...blob,
    name: blob.name.replace(/\/+$/, ''),
    metadata: undefined,
    hierarchical: { ...blob.hierarchical, isDirectory: true },
  };
}

function described(entry: ListingEntry, etag: string): Omit<ListedBlob, 'metadata'> {
  const { name, properties } = entry;
  const sizeBytes = Number(properties.get('Content-Length') ?? 0);
  const modifiedMs = Date.parse(properties.get('Last-Modified') ?? '');
  const hierarchical = hierarchicalOf(properties);
  return {
    name: kept(name),
    sizeBytes: Number.isFinite(sizeBytes) ? sizeBytes : 0,
    etag: etag === '' ? '' : kept(quoted(etag)),
    blobType: properties.get('BlobType') ?? 'BlockBlob',
    accessTier: properties.get('AccessTier'),
    lastModified: Number.isNaN(modifiedMs) ? undefined : new Date(modifiedMs),
    ...(hierarchical === undefined ? {} : { hierarchical }),
  };
}

/** Owner, group and permissions come with `include=permissions`, the type always; undefined on other accounts. */
function hierarchicalOf(properties: ReadonlyMap<string, string>): HierarchicalHeaders | undefined {
  const [owner, group] = [properties.get('Owner'), properties.get('Group')];
  const permissions = properties.get('Permissions');
  const type = properties.get('ResourceType')?.toLowerCase();
  if ((owner ?? group ?? permissions ?? type) === undefined) return undefined;
  return {
    ...(owner === undefined ? {} : { owner: kept(owner) }),
    ...(group === undefined ? {} : { group: kept(group) }),
    ...(permissions === undefined ? {} : { permissions: kept(permissions) }),
    ...(type === undefined ? {} : { isDirectory: type === 'directory' }),
  };
}

/** V8 copies texts shorter than this; a longer one is a view of the slice of the answer in which it stood. */
const SHORTEST_VIEW = 13;

/** A copy that does not hold on to the answer: without it, a page takes twice the memory. */
function kept(text: string): string {
  return text.length < SHORTEST_VIEW ? text : Buffer.from(text).toString();
}

function isSaid(text: string | undefined): boolean {
  return text !== undefined && text !== '';
}

/** Listings leave out the quotes that headers have, and conditions need. */
export function quoted(etag: string): string {
  return etag.startsWith('"') || etag.startsWith('W/') ? etag : `"${etag}"`;
}

/** Keys in lower case, the first of those that differ in case only. undefined where the listing cannot tell. */
function metadataOf({ metadata, isSealed }: ListingEntry): Record<string, string> | undefined {
  if (isSealed) return undefined;
  const texts = new Texts();
  for (const [key, value] of metadata) {
    const lower = key.toLowerCase();
    // A name that XML cannot hold comes as the value of this; no key of anybody's.
    if (lower !== 'x-ms-invalid-name') texts[lower] ??= kept(value);
  }
  return texts;
}

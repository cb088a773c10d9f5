// Reads what an answer's headers say of a blob, and checks it. Both Azure rooms and the movers call it.
import { LhsmError } from '../native-bindings/errors.js';
import type { BlobHeaders, HierarchicalHeaders } from './blob.js';

/** The part of an SDK answer that is read here, alike for Get Blob and Get Blob Properties. */
export interface BlobAnswer {
  readonly etag?: string;
  readonly blobType?: string;
  readonly lastModified?: Date;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly _response: { readonly headers: { get(name: string): string | undefined } };
}

/** The header that tells files from directories, on accounts with a hierarchical namespace. */
export const RESOURCE_TYPE = 'x-ms-resource-type';

const isDirectory = (resourceType: string): boolean => resourceType.toLowerCase() === 'directory';

/** A directory may be told by that header only: then the metadata say it as those of other directories do. */
export function metadataOfType(
  metadata: Readonly<Record<string, string>>,
  resourceType: string | undefined,
): Readonly<Record<string, string>> {
  const isFolder = resourceType !== undefined && isDirectory(resourceType);
  return isFolder ? { ...metadata, hdi_isfolder: 'true' } : metadata;
}

/** `sizeBytes` is the whole blob's: of Content-Length, or the total in Content-Range. */
export function blobHeaders(answer: BlobAnswer, sizeBytes: number): BlobHeaders {
  const { headers } = answer._response;
  const metadata: Record<string, string> = {};
  for (const [key, value] of Object.entries(answer.metadata ?? {})) metadata[key.toLowerCase()] = value;
  return {
    sizeBytes,
    etag: answer.etag ?? '',
    blobType: answer.blobType ?? '',
    // The SDK's model of Get Blob leaves the tier out.
    accessTier: headers.get('x-ms-access-tier'),
    metadata: metadataOfType(metadata, headers.get(RESOURCE_TYPE)),
    lastModified: answer.lastModified,
  };
}

/**
 * What an account with a hierarchical namespace says beside that; undefined when it is none. Headers of Get Blob Properties
 * (https://learn.microsoft.com/rest/api/storageservices/get-blob-properties).
 */
export function hierarchicalHeaders({ _response }: BlobAnswer): HierarchicalHeaders | undefined {
  const said = (name: string): string | undefined => _response.headers.get(name);
  const [owner, group, permissions] = [said('x-ms-owner'), said('x-ms-group'), said('x-ms-permissions')];
  const type = said(RESOURCE_TYPE);
  if ((owner ?? group ?? permissions ?? type) === undefined) return undefined;
  return {
    ...(owner === undefined ? {} : { owner }),
    ...(group === undefined ? {} : { group }),
    ...(permissions === undefined ? {} : { permissions }),
    ...(type === undefined ? {} : { isDirectory: isDirectory(type) }),
  };
}

/** Throws LhsmError EIO code NOT_BLOCK_BLOB for a page or append blob: `subject` names the blob. */
export function checkBlockBlob(headers: BlobHeaders, subject: string): void {
  if (headers.blobType === 'BlockBlob') return;
  throw new LhsmError(`${subject} is not a block blob but ${headers.blobType || 'of no known type'}.`, {
    code: 'NOT_BLOCK_BLOB',
    op: 'Get Blob',
    errno: 5,
    hint: 'Copy it into a block blob.',
  });
}

/** Whether two sets of metadata are the same to the service: keys in any case, in any order. */
export function sameMetadata(
  left: Readonly<Record<string, string>>,
  right: Readonly<Record<string, string>>,
): boolean {
  const lower = (metadata: Readonly<Record<string, string>>): string =>
    JSON.stringify(
      Object.entries(metadata)
        .map(([key, value]) => [key.toLowerCase(), value])
        .sort(),
    );
  return lower(left) === lower(right);
}

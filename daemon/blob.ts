// What the transfer and blobs rooms both say of a blob: where it is, how one is let in, what it looks like.
import type { TokenCredential } from '@azure/identity';
import type { StorageSharedKeyCredential } from '@azure/storage-blob';

/** How requests for a blob are authorised. A SAS is asked for anew at each request: it may rotate. */
export type BlobAuth =
  | { readonly kind: 'shared-key'; readonly credential: StorageSharedKeyCredential }
  | {
      readonly kind: 'token';
      readonly credential: TokenCredential;
      /** The service has refused this token: the next one is to be another, if there is one. */
      readonly renew?: (refused: string) => void;
    }
  | { readonly kind: 'sas'; readonly query: () => string };

/** A blob's address without any secret in it, and how to be let in. */
export interface BlobLocation {
  readonly url: string;
  readonly auth: BlobAuth;
}

/** What only accounts with a hierarchical namespace say of a blob, in headers or in the fields of a listing. */
export interface HierarchicalHeaders {
  /** An id, a name, or the GUID of an Entra object. */
  readonly owner?: string;
  readonly group?: string;
  /** `rwxr-x---`, maybe with `+` behind it. */
  readonly permissions?: string;
  readonly isDirectory?: boolean;
}

/** What the headers of an answer say of a blob. Metadata keys are lower-case. */
export interface BlobHeaders {
  readonly sizeBytes: number;
  /** As the service writes it, quotes included. */
  readonly etag: string;
  /** `BlockBlob`, `PageBlob`, `AppendBlob`. */
  readonly blobType: string;
  readonly accessTier: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  readonly lastModified: Date | undefined;
  /** Of Get Blob Properties on accounts with a hierarchical namespace. */
  readonly hierarchical?: HierarchicalHeaders;
}

/** The state a conditional write expects: this version, no blob at all, or (undefined) whatever is there. */
export type ExpectedVersion = { readonly etag: string } | 'absent' | undefined;

/** The condition headers of an expected version, as the SDK has them. */
export function conditionsOf(expected: ExpectedVersion): { ifMatch?: string; ifNoneMatch?: string } {
  if (expected === undefined) return {};
  return expected === 'absent' ? { ifNoneMatch: '*' } : { ifMatch: expected.etag };
}

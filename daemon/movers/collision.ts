// Whose blob is it: the one decision table behind "two files never share a blob". Pure but for one question,
// what the file that the blob names says of it. archive.ts, remove.ts and restore.ts act on the verdict.
import { sameFileSystem, FILE_SYSTEM_METADATA } from './file-system-id.js';
import { FID_METADATA } from './mover.js';
import { formatFid, parseFid, type Fid } from '../../native-bindings/lustre.js';
import type { BlobHeaders } from '../blob.js';

/** Metadata: the ETag that the file had pinned when this version was written; absent when it had none. */
export const PREVIOUS_METADATA = 'lhsm_previous';

/** The file that wants the blob, and what it remembers. */
export interface Claimant {
  readonly fid: Fid;
  /** fileSystemId of the mount. */
  readonly fileSystem: string;
  /** Whether the file's BLOB_XATTR names the very blob that is judged. */
  readonly remembersIt: boolean;
  /** The file's ETAG_XATTR; only means something for the blob that BLOB_XATTR names. */
  readonly pin: string | undefined;
}

export type Verdict =
  | { readonly kind: 'free' }
  /** The file's own copy: the pinned version, a version uploaded just before a crash, or a former copy. */
  | { readonly kind: 'ours'; readonly etag: string; readonly note?: string }
  /** The file's own blob, but somebody else made this version of it. */
  | { readonly kind: 'changed'; readonly etag: string }
  /** The copy of another file that lives and claims it. */
  | { readonly kind: 'other-file'; readonly fid: Fid }
  /** The copy of a file of this file system that is gone or is archived elsewhere by now. */
  | { readonly kind: 'orphan'; readonly etag: string; readonly fid: Fid }
  /** Written by something that is not this file system. */
  | { readonly kind: 'foreign'; readonly etag: string }
  | { readonly kind: 'directory' }
  /** Not a block blob: `what` names its type. */
  | { readonly kind: 'other-type'; readonly what: string };

/** Whether the blob is a directory's stub. Any case and any true-like value, as other tools write it. */
export function isDirectoryStub(metadata: Readonly<Record<string, string>>): boolean {
  return metadata['hdi_isfolder']?.toLowerCase() === 'true';
}

/** ETags alike but for quotes, which not every writer of the xattr keeps. */
export function sameEtag(one: string | undefined, other: string | undefined): boolean {
  return one !== undefined && other !== undefined && bareEtag(one) === bareEtag(other);
}

export function bareEtag(etag: string): string {
  return etag.replace(/^"|"$/g, '');
}

/** As conditions want it. */
export function quotedEtag(etag: string): string {
  return `"${bareEtag(etag)}"`;
}

/** The file of this file system, as far as can be told, that the blob's metadata names. */
export function namedOwner(
  metadata: Readonly<Record<string, string>>,
  fileSystem: string,
): { readonly fid: Fid; readonly surelyOurs: boolean } | undefined {
  const fid = parseFid(metadata[FID_METADATA] ?? '');
  const writer = metadata[FILE_SYSTEM_METADATA];
  if (!fid || (writer !== undefined && !sameFileSystem(writer, fileSystem))) return undefined;
  return { fid, surelyOurs: writer !== undefined };
}

/** Whether both name the same file. */
export function sameFid(one: Fid, other: Fid): boolean {
  return formatFid(one) === formatFid(other);
}

/** What the file that a blob's metadata names says of the blob. `silent`: it lives and remembers no blob at all. */
export type OwnersWord = 'claims-it' | 'silent' | 'no';

/**
 * Judges the blob under the name that `claimant` wants.
 * @param askOwner - what another file says of the blob; asked at most once.
 */
export async function judge(
  blob: BlobHeaders | undefined,
  claimant: Claimant,
  askOwner: (fid: Fid) => Promise<OwnersWord>,
): Promise<Verdict> {
  if (!blob) return { kind: 'free' };
  if (isDirectoryStub(blob.metadata)) return { kind: 'directory' };
  if (blob.blobType !== 'BlockBlob') return { kind: 'other-type', what: blob.blobType };
  const { etag } = blob;
  const pin = claimant.remembersIt ? claimant.pin : undefined;
  const owner = namedOwner(blob.metadata, claimant.fileSystem);

  if (owner?.surelyOurs && sameFid(owner.fid, claimant.fid)) {
    if (pin === undefined) return { kind: 'ours', etag, note: 'replaced an upload that was never recorded' };
    if (sameEtag(pin, etag)) return { kind: 'ours', etag };
    // Committed by us over the pinned version, then the daemon died before it could pin the new one.
    const previous = blob.metadata[PREVIOUS_METADATA];
    if (sameEtag(previous, pin))
      return { kind: 'ours', etag, note: 'took up an upload that was never recorded' };
    return { kind: 'changed', etag };
  }
  if (owner && !sameFid(owner.fid, claimant.fid)) {
    const word = await askOwner(owner.fid);
    // A silent file may have lost its xattrs: spare its blob, unless the FID may be another file system's.
    if (word === 'claims-it' || (word === 'silent' && owner.surelyOurs)) {
      return { kind: 'other-file', fid: owner.fid };
    }
  }
  if (pin !== undefined) return { kind: sameEtag(pin, etag) ? 'ours' : 'changed', etag };
  if (owner?.surelyOurs) return { kind: 'orphan', etag, fid: owner.fid };
  return { kind: 'foreign', etag };
}

// POSIX attributes as a blob's metadata, and back: what we write, and everything that AMLFS, AzCopy, lemur and
// accounts with a hierarchical namespace wrote. The archive mover and the import and export jobs call it.
import type { BlobHeaders, HierarchicalHeaders } from '../blob.js';
import { formatModtime, parseModtime } from './modtime.js';
import { parseMode } from './mode.js';

export type FileKind = 'file' | 'directory' | 'symlink';

/** What a blob's metadata is made from. */
export interface PosixAttributes {
  readonly kind: FileKind;
  readonly uid: number;
  readonly gid: number;
  /** Permission bits; type bits may be set too (st_mode) and are left out. */
  readonly mode: number;
  /** Nanoseconds since 1970. */
  readonly mtimeNs: bigint;
}

/** Metadata of ours that is no attribute. */
export const FID_KEY = 'lustre_fid';

export interface WriteOptions {
  /** Keep set-user-id and set-group-id too: 07777 instead of 01777. */
  readonly keepSetId?: boolean;
  /** The file that owns the blob, as `formatFid` prints it. */
  readonly fid?: string;
}

/** The metadata to write for a file, a directory stub or a symbolic link. */
export function metadataOf(attributes: PosixAttributes, options: WriteOptions = {}): Record<string, string> {
  const mask = options.keepSetId === true ? 0o7777 : 0o1777;
  const modtime = formatModtime(attributes.mtimeNs);
  return {
    owner: String(attributes.uid),
    group: String(attributes.gid),
    permissions: (attributes.mode & mask).toString(8).padStart(4, '0'),
    ...(modtime === undefined ? {} : { modtime }),
    modtime_ns: String(attributes.mtimeNs),
    ...(attributes.kind === 'directory' ? { hdi_isfolder: 'true' } : {}),
    ...(attributes.kind === 'symlink' ? { ftype: 'LNK', is_symlink: 'true' } : {}),
    ...(options.fid === undefined ? {} : { [FID_KEY]: options.fid }),
  };
}

/** What was odd about a blob's attributes: to be counted by code, and logged. */
export interface AttributeWarning {
  readonly code:
    | 'OWNER_UNKNOWN'
    | 'GROUP_UNKNOWN'
    | 'MODE_UNREADABLE'
    | 'SET_ID_DROPPED'
    | 'MTIME_UNREADABLE'
    | 'MTIME_CONFLICT'
    | 'TYPE_CONFLICT';
  /** The metadata key, or the header. */
  readonly key: string;
  readonly value: string;
}

export interface ReadOptions {
  readonly defaults?: {
    readonly uid?: number;
    readonly gid?: number;
    readonly fileMode?: number;
    readonly directoryMode?: number;
  };
  readonly keepSetId?: boolean;
  /** The operator's map: GUID, UPN or name → id. */
  readonly users?: ReadonlyMap<string, number>;
  readonly groups?: ReadonlyMap<string, number>;
}

export interface ReadAttributes {
  /** `special`: a device, FIFO or socket, to be skipped and reported. */
  readonly kind: FileKind | 'special';
  readonly uid: number;
  readonly gid: number;
  /** Permission bits: 01777, or 07777 with keepSetId. */
  readonly mode: number;
  readonly mtimeNs: bigint;
  /** Who owns the blob, as written; undefined for a blob that is not ours. */
  readonly fid: string | undefined;
  readonly warnings: readonly AttributeWarning[];
}

/** A blob as far as its attributes go. */
export type AttributedBlob = Pick<BlobHeaders, 'metadata' | 'lastModified'> & {
  /** Its name; one that ends in `/` is a directory. */
  readonly name?: string;
  readonly hierarchical?: HierarchicalHeaders;
};

/** Metadata by lower-case key; the first of keys that differ in case only. */
function byLowerCase(metadata: Readonly<Record<string, string>>): Map<string, string> {
  const result = new Map<string, string>();
  for (const [key, value] of Object.entries(metadata)) {
    const lower = key.toLowerCase();
    if (!result.has(lower)) result.set(lower, value.trim());
  }
  return result;
}

const specialKeys = ['is_char_dev', 'is_block_dev', 'is_fifo', 'is_socket'];
const isTrue = (value: string | undefined): boolean => value?.toLowerCase() === 'true';

/** uid_t and gid_t without -1, which chown(2) reads as "leave it". */
function decimalId(text: string): number | undefined {
  if (!/^\d{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  return id < 0xffff_ffff ? id : undefined;
}

const rootNames = new Set(['root', 'wheel', '$superuser', '$supergroup']);

interface IdSources {
  readonly keys: readonly string[];
  readonly header: string | undefined;
  readonly map: ReadonlyMap<string, number> | undefined;
  readonly fallback: number;
  readonly code: 'OWNER_UNKNOWN' | 'GROUP_UNKNOWN';
}

/** Numeric metadata, then a numeric header, then the operator's map, then the names of root, then the default. */
function readId(metadata: ReadonlyMap<string, string>, from: IdSources, warn: AttributeWarning[]): number {
  const said = from.keys.flatMap((key) => {
    const value = metadata.get(key);
    return value === undefined || value === '' ? [] : [{ key, value }];
  });
  const header = from.header?.trim();
  if (header !== undefined && header !== '') said.push({ key: 'header', value: header });
  for (const { value } of said) {
    const id = decimalId(value);
    if (id !== undefined) return id;
  }
  for (const { value } of said) {
    const id = from.map?.get(value);
    if (id !== undefined) return id;
  }
  if (said.some(({ value }) => rootNames.has(value.toLowerCase()))) return 0;
  const [first] = said;
  if (first) warn.push({ code: from.code, ...first });
  return from.fallback;
}

function readKind(
  blob: AttributedBlob,
  metadata: ReadonlyMap<string, string>,
  warn: AttributeWarning[],
): ReadAttributes['kind'] {
  const symlink = metadata.get('ftype')?.toUpperCase() === 'LNK' || isTrue(metadata.get('is_symlink'));
  const folder = isTrue(metadata.get('hdi_isfolder'));
  if (folder && symlink) warn.push({ code: 'TYPE_CONFLICT', key: 'hdi_isfolder', value: 'true' });
  if (folder || blob.hierarchical?.isDirectory === true || blob.name?.endsWith('/') === true)
    return 'directory';
  // AzCopy marks plain symlinks as character devices too: the link wins.
  if (symlink) return 'symlink';
  return specialKeys.some((key) => isTrue(metadata.get(key))) ? 'special' : 'file';
}

function readMode(
  blob: AttributedBlob,
  metadata: ReadonlyMap<string, string>,
  kind: ReadAttributes['kind'],
  options: ReadOptions,
  warn: AttributeWarning[],
): number {
  const fallback =
    kind === 'directory' ? (options.defaults?.directoryMode ?? 0o755) : (options.defaults?.fileMode ?? 0o644);
  const sources = [
    { key: 'permissions', value: metadata.get('permissions') },
    { key: 'perm', value: metadata.get('perm') },
    { key: 'header', value: blob.hierarchical?.permissions },
  ];
  for (const { key, value } of sources) {
    if (value === undefined || value === '') continue;
    const mode = parseMode(value.trim(), key === 'perm');
    if (mode === undefined) {
      warn.push({ code: 'MODE_UNREADABLE', key, value });
      continue;
    }
    if ((mode & 0o6000) !== 0 && options.keepSetId !== true) {
      warn.push({ code: 'SET_ID_DROPPED', key, value });
      return mode & 0o1777;
    }
    return mode;
  }
  return fallback;
}

function readMtime(
  blob: AttributedBlob,
  metadata: ReadonlyMap<string, string>,
  warn: AttributeWarning[],
): bigint {
  const precise = metadata.get('modtime_ns');
  const preciseNs = precise !== undefined && /^-?\d{1,30}$/.test(precise) ? BigInt(precise) : undefined;
  if (precise !== undefined && preciseNs === undefined) {
    warn.push({ code: 'MTIME_UNREADABLE', key: 'modtime_ns', value: precise });
  }
  const text = metadata.get('modtime');
  if (text !== undefined) {
    const parsed = parseModtime(text);
    if (parsed !== undefined) {
      // Another tool that changes `modtime` leaves our key as it was: then ours is the older.
      if (preciseNs === undefined || !parsed.wholeSeconds) return parsed.ns;
      const rest = preciseNs - parsed.ns;
      if (rest >= 0n && rest < 1_000_000_000n) return preciseNs;
      warn.push({ code: 'MTIME_CONFLICT', key: 'modtime', value: text });
      return parsed.ns;
    }
    warn.push({ code: 'MTIME_UNREADABLE', key: 'modtime', value: text });
  }
  return preciseNs ?? BigInt(blob.lastModified?.getTime() ?? 0) * 1_000_000n;
}

/** The attributes that a blob carries, defaults where it says nothing. Never throws; oddities are warnings. */
export function attributesOf(blob: AttributedBlob, options: ReadOptions = {}): ReadAttributes {
  const metadata = byLowerCase(blob.metadata);
  const warnings: AttributeWarning[] = [];
  const { defaults, users, groups } = options;
  const kind = readKind(blob, metadata, warnings);
  const uid = readId(
    metadata,
    {
      keys: ['owner', 'posix_owner', 'uid'],
      header: blob.hierarchical?.owner,
      map: users,
      fallback: defaults?.uid ?? 0,
      code: 'OWNER_UNKNOWN',
    },
    warnings,
  );
  const gid = readId(
    metadata,
    {
      keys: ['group', 'posix_group', 'gid'],
      header: blob.hierarchical?.group,
      map: groups,
      fallback: defaults?.gid ?? 0,
      code: 'GROUP_UNKNOWN',
    },
    warnings,
  );
  const mode = readMode(blob, metadata, kind, options, warnings);
  const mtimeNs = readMtime(blob, metadata, warnings);
  return { kind, uid, gid, mode, mtimeNs, fid: metadata.get(FID_KEY), warnings };
}

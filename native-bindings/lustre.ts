// All that the daemon knows of the file system: promises, bigint, Fid. liblustreapi.ts implements it;
// nothing above this file sees a C pointer.
import type { LhsmError } from './errors.js';

/** A Lustre file identifier (struct lu_fid): `seq` is 64 bits, `oid` and `ver` 32. */
export interface Fid {
  readonly seq: bigint;
  readonly oid: number;
  readonly ver: number;
}

/** A range of bytes of a file (struct hsm_extent); length WHOLE_FILE stands for all of it. */
export interface Extent {
  readonly offset: bigint;
  readonly length: bigint;
}

/** One item of a received action list (struct hsm_action_item), deep-copied out of the receive buffer. */
export interface ActionItem {
  /** A CopytoolAction, or whatever number the MDT sent. */
  readonly action: number;
  readonly fid: Fid;
  readonly dfid: Fid;
  readonly extent: Extent;
  readonly cookie: bigint;
  readonly gid: bigint;
  /** The user's data (`lfs hsm_archive --data`): bytes of any kind, possibly none. */
  readonly data: Buffer;
  /** The item's bytes as received: what `begin` takes and the journal keeps. */
  readonly raw: Buffer;
}

/** One received action list (struct hsm_action_list). */
export interface ActionList {
  readonly version: number;
  readonly compoundId: bigint;
  /** RequestFlag bits; BLOCKING when a reader or writer waits. */
  readonly flags: bigint;
  readonly archiveId: number;
  readonly fsname: string;
  readonly items: readonly ActionItem[];
  /** What could not be decoded behind the good items, in words; undefined when all was well. */
  readonly malformed?: string;
}

export interface BeginOptions {
  /** Restore only: begin on the MDT that holds the file, which this descriptor of the mount tells; left out, on any. */
  readonly mountFd?: number;
  /** Restore only: 0, or O_LOV_DELAY_CREATE to set the layout oneself. */
  readonly openFlags?: number;
  /** Opens nothing: the handle exists only so that `end` can report an error. */
  readonly isError?: boolean;
  /** Opens the data in the same go, for `openData` to give. */
  readonly opensData?: boolean;
  /** Looks at the file in the same go, as `lookByFid` does, once it has begun: its attributes and these xattrs. */
  readonly look?: readonly string[];
}

/** An action that has begun (struct hsm_copyaction_private). `end` must be called exactly once. */
export interface CopyAction {
  /** What `BeginOptions.look` has found; undefined without it, and where looking failed: then `lookByFid` says why. */
  readonly look?: FileLook | undefined;
  /** The FID that holds the data: on restore the volatile file's, else the file's own. */
  dataFid(): Fid;
  /** A descriptor of the data, the same each time; `end` closes it. */
  openData(): Promise<number>;
  /** Reports the bytes of `extent` as moved since the last call; length 0 is a plain sign of life. */
  progress(extent: Extent, totalBytes: bigint, flags?: number): Promise<void>;
  /**
   * Ends the action with a positive errno or 0, frees the handle and closes the data, whatever comes of it: on restore behind
   * the end, otherwise before it. Resolves with what was wrong with the closing, which is no failure of the end.
   */
  end(extent: Extent, flags: number, errno: number): Promise<LhsmError | undefined>;
}

/** A registration as a copytool (struct hsm_copytool_private). */
export interface Copytool {
  /**
   * Waits for action lists and drains what the pipe holds. Empty only when `signal` has aborted.
   * Throws LhsmError with errno ESHUTDOWN when the file system is going away.
   */
  receive(signal: AbortSignal): Promise<ActionList[]>;
  /** `item` is ActionItem.raw, or the same bytes from the journal. */
  begin(item: Buffer, options?: BeginOptions): Promise<CopyAction>;
  /**
   * Ends the registration, and a pending receive. `take` is given what arrived until the last moment, before the end is told: then
   * nobody else knows of it, whatever becomes of that.
   */
  unregister(take?: (list: ActionList) => void): Promise<void>;
}

/** A file's HSM state (struct hsm_user_state). `states` holds HsmStateFlag bits. */
export interface HsmState {
  readonly states: number;
  readonly archiveId: number;
  readonly inProgressState: number;
  readonly inProgressAction: number;
  readonly inProgressExtent: Extent;
}

/** The action that a file is in (struct hsm_current_action). */
export interface CurrentAction {
  readonly state: number;
  readonly action: number;
  readonly extent: Extent;
}

export interface HsmStateChange {
  readonly set: number;
  readonly clear: number;
  /** 0 leaves the archive id as it is. */
  readonly archiveId?: number;
}

/** Attributes of a stub that import creates. Times are nanoseconds since 1970. */
export interface ImportAttributes {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly sizeBytes: bigint;
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
}

/** Striping of a stub; left out, the parent directory's defaults. */
export interface Striping {
  readonly stripeSizeBytes?: bigint;
  readonly stripeOffset?: number;
  readonly stripeCount?: number;
  readonly stripePattern?: number;
  readonly pool?: string;
}

/** One user request (struct hsm_user_request): up to MAX_REQUEST_FIDS files. */
export interface HsmRequest {
  readonly action: number;
  readonly archiveId: number;
  readonly flags?: bigint;
  readonly fids: readonly Fid[];
  readonly data?: Buffer;
}

/** Attributes of a file, under the names of Node's BigIntStats. Times are nanoseconds since 1970. */
export interface FileAttributes {
  /** The file system's, as stat(2) has it. */
  readonly dev: bigint;
  readonly ino: bigint;
  readonly mode: bigint;
  readonly nlink: bigint;
  readonly uid: bigint;
  readonly gid: bigint;
  readonly size: bigint;
  readonly blocks: bigint;
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

/** Attributes and extended attributes, undefined for each that is not there, in the order asked for. */
export interface FileLook {
  readonly attributes: FileAttributes;
  readonly xattrs: readonly (Buffer | undefined)[];
}

/** A path to look at, and the inode that is expected there. */
export interface PathToLook {
  readonly path: string | Buffer;
  readonly ino: bigint;
}

/** What a name leads to. */
export interface PathLook {
  readonly state: HsmState;
  readonly fid: Fid;
}

/** What tells whether a file's content is there and has changed. */
export interface DataState {
  /** HsmStateFlag bits, as HsmState has them. */
  readonly states: number;
  /** 0 for a released file: it has no data. */
  readonly dataVersion: bigint;
  readonly attributes: FileAttributes;
}

/** An extended attribute. */
export interface Xattr {
  readonly name: string;
  readonly value: Buffer;
}

/** An extended attribute to set, or, without a value, to remove if it is there. */
export interface XattrChange {
  readonly name: string;
  readonly value: Buffer | undefined;
}

/** What became of changes: made in their order until one failed. */
export interface XattrChanges {
  readonly before: FileAttributes;
  readonly after: FileAttributes;
  readonly made: number;
  /** Why the next was not made; undefined when all were. */
  readonly failure: LhsmError | undefined;
}

/** Times of a file in nanoseconds since 1970. */
export interface FileTimes {
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

/**
 * The file system. Paths are strings or, where a name may not be UTF-8, Buffers.
 * Every method rejects (or throws) with LhsmError carrying the errno and the C function's name.
 * What reaches the MDT is asynchronous; what is local is not.
 */
export interface Lustre {
  /** Registers as copytool of the mount; no archive ids, or an id 0, means every archive. */
  register(mount: string, archiveIds: readonly number[]): Promise<Copytool>;
  /** The file system's name, `lustre` say; throws when the path is not on Lustre. */
  fsname(path: string): string;

  hsmState(path: string | Buffer): Promise<HsmState>;
  hsmStateFd(fd: number): Promise<HsmState>;
  setHsmState(path: string | Buffer, change: HsmStateChange): Promise<void>;
  setHsmStateFd(fd: number, change: HsmStateChange): Promise<void>;
  currentAction(path: string | Buffer): Promise<CurrentAction>;
  /**
   * Creates a released stub. The mode is masked with 0777: chmod afterwards for more. `xattrs` are set on it in the same go; the
   * first that fails is what it rejects with, op `lsetxattr`, and the stub stays without it and those behind it.
   */
  import(
    path: string | Buffer,
    archiveId: number,
    attributes: ImportAttributes,
    xattrs?: readonly Xattr[],
    striping?: Striping,
  ): Promise<Fid>;
  request(mount: string, request: HsmRequest): Promise<void>;

  /** Path relative to the mount, no leading slash, of the FID's link number `link` (from 0). Bytes: names may be anything. */
  fidToPath(mount: string, fid: Fid, link?: number): Promise<Buffer>;
  pathToFid(path: string | Buffer): Promise<Fid>;
  fdToFid(fd: number): Promise<Fid>;
  /** The caller closes the descriptor. Opening restores nothing. */
  openByFid(mount: string, fid: Fid, flags: number): Promise<number>;
  /** `flags`: DataVersionFlag bits. */
  dataVersion(fd: number, flags: bigint): Promise<bigint>;

  /** State, then data version (`flags` as for dataVersion), then attributes, in one go. */
  dataState(fd: number, flags: bigint): Promise<DataState>;

  /** Attributes and these extended attributes, in one go. */
  look(fd: number, xattrs: readonly string[]): Promise<FileLook>;
  /** The same of a FID, which is not opened: of whatever it is, and nothing is restored. */
  lookByFid(mount: string, fid: Fid, xattrs: readonly string[]): Promise<FileLook>;
  /**
   * Opens each path, takes state and FID, and closes it, one after the other in one go; undefined for what is not that
   * inode, the error (op `open` where that fails) of what cannot be looked at. `flags`: those of open(2).
   */
  lookAtPaths(paths: readonly PathToLook[], flags: number): Promise<(PathLook | LhsmError | undefined)[]>;
  /**
   * The attributes of names in an open directory, links not followed, in one go; of a name that cannot be looked at, the
   * errno.
   */
  lookAtNames(directory: number, names: readonly Buffer[]): Promise<(FileAttributes | number)[]>;
  /** Changes extended attributes and looks at the attributes before and after, in one go. */
  changeXattrs(fd: number, changes: readonly XattrChange[]): Promise<XattrChanges>;
  setXattr(fd: number, name: string, value: Buffer): Promise<void>;
  /** By path (lgetxattr): of the name itself, a link not followed. undefined when the attribute is not there. */
  getXattrPath(path: string | Buffer, name: string): Promise<Buffer | undefined>;
  /** As setXattr, by path (lsetxattr): a link is not followed. */
  setXattrPath(path: string | Buffer, name: string, value: Buffer): Promise<void>;
  /** Sets mtime alone, to the nanosecond, of whatever is at the path (utimensat); a link is not followed. Restores nothing. */
  setMtimePath(path: string | Buffer, mtimeNs: bigint): Promise<void>;
  /** Sets all three times (LL_IOC_FUTIMES_3, needs CAP_SYS_ADMIN). Regular files only. */
  setTimes(fd: number, times: FileTimes): Promise<void>;
}

/** `[0x200000401:0x1af:0x0]`, as Lustre prints FIDs. */
export function formatFid(fid: Fid): string {
  return `[0x${fid.seq.toString(16)}:0x${fid.oid.toString(16)}:0x${fid.ver.toString(16)}]`;
}

const fidPattern = /^\[?0x([0-9a-f]{1,16}):0x([0-9a-f]{1,8}):0x([0-9a-f]{1,8})\]?$/i;

/** Reads a FID with or without brackets; undefined when the text is none. */
export function parseFid(text: string): Fid | undefined {
  const match = fidPattern.exec(text);
  if (!match) return undefined;
  const [, seq, oid, ver] = match;
  return { seq: BigInt(`0x${seq}`), oid: Number(`0x${oid}`), ver: Number(`0x${ver}`) };
}

/** The path that opens a file by its FID, without brackets as the kernel also takes it. */
export function fidPath(mount: string, fid: Fid): string {
  return `${mount}/.lustre/fid/${formatFid(fid).slice(1, -1)}`;
}

// Pure Buffer ↔ object codecs for the C structs of lustre_user.h and lustreapi.h that the binding uses,
// struct stat and struct statx, by the tables of layouts.ts. No FFI here. liblustreapi.ts, copytool.ts and libc.ts call it.
// All integers are little endian (x86-64 and aarch64).
import { WHOLE_FILE } from './constants.js';
import { LhsmError } from './errors.js';
import { layouts, type StatArch, statLayouts } from './layouts.js';
import type {
  ActionItem,
  ActionList,
  CurrentAction,
  Extent,
  Fid,
  FileAttributes,
  FileTimes,
  HsmRequest,
  HsmState,
  ImportAttributes,
} from './lustre.js';

const NS_PER_SECOND = 1_000_000_000n;

/** The action list version that this binding knows (HAL_VERSION). */
const HAL_VERSION = 1;

/** Where the next 8-byte aligned struct begins. */
function align8(offset: number): number {
  return Math.ceil(offset / 8) * 8;
}

export function readFid(buffer: Buffer, at = 0): Fid {
  const { f_seq, f_oid, f_ver } = layouts.lu_fid.fields;
  return {
    seq: buffer.readBigUInt64LE(at + f_seq),
    oid: buffer.readUInt32LE(at + f_oid),
    ver: buffer.readUInt32LE(at + f_ver),
  };
}

export function writeFid(buffer: Buffer, fid: Fid, at = 0): void {
  const { f_seq, f_oid, f_ver } = layouts.lu_fid.fields;
  buffer.writeBigUInt64LE(fid.seq, at + f_seq);
  buffer.writeUInt32LE(fid.oid, at + f_oid);
  buffer.writeUInt32LE(fid.ver, at + f_ver);
}

export function readExtent(buffer: Buffer, at = 0): Extent {
  const { offset, length } = layouts.hsm_extent.fields;
  return { offset: buffer.readBigUInt64LE(at + offset), length: buffer.readBigUInt64LE(at + length) };
}

export function writeExtent(buffer: Buffer, extent: Extent, at = 0): void {
  const { offset, length } = layouts.hsm_extent.fields;
  buffer.writeBigUInt64LE(extent.offset, at + offset);
  buffer.writeBigUInt64LE(extent.length, at + length);
}

/** Reads the item whose `hai_len` is known to lie within the buffer; everything in it is copied. */
function readItem(buffer: Buffer, at: number, length: number): ActionItem {
  const field = layouts.hsm_action_item.fields;
  const raw = Buffer.from(buffer.subarray(at, at + length));
  return {
    action: raw.readUInt32LE(field.hai_action),
    fid: readFid(raw, field.hai_fid),
    dfid: readFid(raw, field.hai_dfid),
    extent: readExtent(raw, field.hai_extent),
    cookie: raw.readBigUInt64LE(field.hai_cookie),
    gid: raw.readBigUInt64LE(field.hai_gid),
    data: raw.subarray(field.hai_data),
    raw,
  };
}

/** Decodes one item, as the journal keeps it (ActionItem.raw). Throws LhsmError EPROTO when it is none. */
export function decodeActionItem(bytes: Buffer): ActionItem {
  const { size, fields } = layouts.hsm_action_item;
  const length = bytes.length < size ? 0 : bytes.readUInt32LE(fields.hai_len);
  if (length < size || length > bytes.length) {
    throw new LhsmError(`an action item of ${bytes.length} bytes says that it has ${length}`, {
      code: 'EPROTO',
      op: 'decodeActionItem',
    });
  }
  return readItem(bytes, 0, length);
}

/** The bytes of an item, from its fields; `raw` is not looked at. */
export function encodeActionItem(item: Omit<ActionItem, 'raw'>): Buffer {
  const { size, fields } = layouts.hsm_action_item;
  const bytes: Buffer = Buffer.alloc(size + item.data.length);
  bytes.writeUInt32LE(bytes.length, fields.hai_len);
  bytes.writeUInt32LE(item.action, fields.hai_action);
  writeFid(bytes, item.fid, fields.hai_fid);
  writeFid(bytes, item.dfid, fields.hai_dfid);
  writeExtent(bytes, item.extent, fields.hai_extent);
  bytes.writeBigUInt64LE(item.cookie, fields.hai_cookie);
  bytes.writeBigUInt64LE(item.gid, fields.hai_gid);
  item.data.copy(bytes, fields.hai_data);
  return bytes;
}

/**
 * Decodes a receive buffer: the items up to the first fault, the fault in `malformed`. Copies everything: the
 * buffer may be overwritten afterwards. Throws LhsmError EPROTO when not even the header is there.
 */
export function decodeActionList(buffer: Buffer): ActionList {
  const { size, fields } = layouts.hsm_action_list;
  if (buffer.length < size) {
    throw new LhsmError(`an action list of ${buffer.length} bytes is shorter than its header of ${size}`, {
      code: 'EPROTO',
      op: 'decodeActionList',
    });
  }
  const head = {
    version: buffer.readUInt32LE(fields.hal_version),
    compoundId: buffer.readBigUInt64LE(fields.hal_compound_id),
    flags: buffer.readBigUInt64LE(fields.hal_flags),
    archiveId: buffer.readUInt32LE(fields.hal_archive_id),
  };
  if (head.version !== HAL_VERSION) {
    const malformed = `version ${head.version} of the action list is not known, only ${HAL_VERSION}`;
    return { ...head, fsname: '', items: [], malformed };
  }
  const nameEnd = buffer.indexOf(0, fields.hal_fsname);
  if (nameEnd < 0) {
    return { ...head, fsname: '', items: [], malformed: 'the name of the file system has no end' };
  }
  const fsname = buffer.toString('utf8', fields.hal_fsname, nameEnd);
  const count = buffer.readUInt32LE(fields.hal_count);
  const first = fields.hal_fsname + align8(nameEnd + 1 - fields.hal_fsname);
  return { ...head, fsname, ...decodeItems(buffer, first, count) };
}

function decodeItems(buffer: Buffer, first: number, count: number): Pick<ActionList, 'items' | 'malformed'> {
  const { size, fields } = layouts.hsm_action_item;
  const items: ActionItem[] = [];
  if (count === 0) return { items, malformed: 'the list has no items' };
  let at = first;
  // Each turn moves on by at least `size`: a count that does not fit ends at the buffer's end.
  while (items.length < count) {
    const which = `item ${items.length + 1} of ${count}, at byte ${at} of ${buffer.length},`;
    if (at + size > buffer.length) return { items, malformed: `${which} does not fit` };
    const length = buffer.readUInt32LE(at + fields.hai_len);
    if (length < size)
      return { items, malformed: `${which} says it has ${length} bytes, fewer than ${size}` };
    if (at + length > buffer.length) return { items, malformed: `${which} has ${length} bytes: too many` };
    items.push(readItem(buffer, at, length));
    at += align8(length);
  }
  return { items };
}

/** The bytes of a list with these items (by their fields). */
export function encodeActionList(
  list: Pick<ActionList, 'version' | 'compoundId' | 'flags' | 'archiveId' | 'fsname'> & {
    readonly items: readonly Omit<ActionItem, 'raw'>[];
  },
): Buffer {
  const { fields } = layouts.hsm_action_list;
  const name = Buffer.from(list.fsname);
  const head = Buffer.alloc(fields.hal_fsname + align8(name.length + 1));
  head.writeUInt32LE(list.version, fields.hal_version);
  head.writeUInt32LE(list.items.length, fields.hal_count);
  head.writeBigUInt64LE(list.compoundId, fields.hal_compound_id);
  head.writeBigUInt64LE(list.flags, fields.hal_flags);
  head.writeUInt32LE(list.archiveId, fields.hal_archive_id);
  name.copy(head, fields.hal_fsname);
  const parts: Buffer[] = [head];
  for (const item of list.items) {
    const bytes = encodeActionItem(item);
    parts.push(bytes, Buffer.alloc(align8(bytes.length) - bytes.length));
  }
  return Buffer.concat(parts);
}

export function readHsmState(buffer: Buffer): HsmState {
  const field = layouts.hsm_user_state.fields;
  return {
    states: buffer.readUInt32LE(field.hus_states),
    archiveId: buffer.readUInt32LE(field.hus_archive_id),
    inProgressState: buffer.readUInt32LE(field.hus_in_progress_state),
    inProgressAction: buffer.readUInt32LE(field.hus_in_progress_action),
    inProgressExtent: readExtent(buffer, field.hus_in_progress_location),
  };
}

export function writeHsmState(buffer: Buffer, state: HsmState): void {
  const field = layouts.hsm_user_state.fields;
  buffer.writeUInt32LE(state.states, field.hus_states);
  buffer.writeUInt32LE(state.archiveId, field.hus_archive_id);
  buffer.writeUInt32LE(state.inProgressState, field.hus_in_progress_state);
  buffer.writeUInt32LE(state.inProgressAction, field.hus_in_progress_action);
  writeExtent(buffer, state.inProgressExtent, field.hus_in_progress_location);
}

export function readCurrentAction(buffer: Buffer): CurrentAction {
  const field = layouts.hsm_current_action.fields;
  return {
    state: buffer.readUInt32LE(field.hca_state),
    action: buffer.readUInt32LE(field.hca_action),
    extent: readExtent(buffer, field.hca_location),
  };
}

export function writeCurrentAction(buffer: Buffer, current: CurrentAction): void {
  const field = layouts.hsm_current_action.fields;
  buffer.writeUInt32LE(current.state, field.hca_state);
  buffer.writeUInt32LE(current.action, field.hca_action);
  writeExtent(buffer, current.extent, field.hca_location);
}

/** struct hsm_user_request: the request, one whole-file item for each FID, then the data. */
export function encodeRequest(request: HsmRequest): Buffer {
  const field = layouts.hsm_request.fields;
  const item = layouts.hsm_user_item;
  const dataAt = layouts.hsm_request.size + item.size * request.fids.length;
  const data = request.data ?? Buffer.alloc(0);
  const bytes = Buffer.alloc(dataAt + data.length);
  bytes.writeUInt32LE(request.action, field.hr_action);
  bytes.writeUInt32LE(request.archiveId, field.hr_archive_id);
  bytes.writeBigUInt64LE(request.flags ?? 0n, field.hr_flags);
  bytes.writeUInt32LE(request.fids.length, field.hr_itemcount);
  bytes.writeUInt32LE(data.length, field.hr_data_len);
  request.fids.forEach((fid, i) => {
    const at = layouts.hsm_request.size + i * item.size;
    writeFid(bytes, fid, at + item.fields.hui_fid);
    writeExtent(bytes, { offset: 0n, length: WHOLE_FILE }, at + item.fields.hui_extent);
  });
  data.copy(bytes, dataAt);
  return bytes;
}

/** The inverse of encodeRequest. Throws LhsmError EPROTO where the counts do not fit the bytes. */
export function decodeRequest(bytes: Buffer): Required<HsmRequest> {
  const { size, fields } = layouts.hsm_request;
  const item = layouts.hsm_user_item;
  const count = bytes.length < size ? 0 : bytes.readUInt32LE(fields.hr_itemcount);
  const dataAt = size + item.size * count;
  const dataLength = bytes.length < size ? 0 : bytes.readUInt32LE(fields.hr_data_len);
  if (bytes.length < dataAt + dataLength) {
    throw new LhsmError(`an HSM request of ${bytes.length} bytes cannot hold ${count} items and its data`, {
      code: 'EPROTO',
      op: 'decodeRequest',
    });
  }
  return {
    action: bytes.readUInt32LE(fields.hr_action),
    archiveId: bytes.readUInt32LE(fields.hr_archive_id),
    flags: bytes.readBigUInt64LE(fields.hr_flags),
    fids: Array.from({ length: count }, (_, i) => readFid(bytes, size + i * item.size + item.fields.hui_fid)),
    data: Buffer.from(bytes.subarray(dataAt, dataAt + dataLength)),
  };
}

/** Seconds and nanoseconds (never negative) of a time; the two's complement of a time before 1970. */
function writeTime(buffer: Buffer, timeNs: bigint, secondsAt: number, nanosecondsAt: number): void {
  const nanoseconds = ((timeNs % NS_PER_SECOND) + NS_PER_SECOND) % NS_PER_SECOND;
  const seconds = (timeNs - nanoseconds) / NS_PER_SECOND;
  buffer.writeBigInt64LE(seconds, secondsAt);
  buffer.writeBigInt64LE(nanoseconds, nanosecondsAt);
}

function readTime(buffer: Buffer, secondsAt: number, nanosecondsAt: number): bigint {
  return buffer.readBigInt64LE(secondsAt) * NS_PER_SECOND + buffer.readBigInt64LE(nanosecondsAt);
}

/** struct ll_futimes_3, the argument of LL_IOC_FUTIMES_3. */
export function writeFileTimes(buffer: Buffer, times: FileTimes): void {
  const field = layouts.ll_futimes_3.fields;
  writeTime(buffer, times.atimeNs, field.lfu_atime_sec, field.lfu_atime_nsec);
  writeTime(buffer, times.mtimeNs, field.lfu_mtime_sec, field.lfu_mtime_nsec);
  writeTime(buffer, times.ctimeNs, field.lfu_ctime_sec, field.lfu_ctime_nsec);
}

export function readFileTimes(buffer: Buffer): FileTimes {
  const field = layouts.ll_futimes_3.fields;
  return {
    atimeNs: readTime(buffer, field.lfu_atime_sec, field.lfu_atime_nsec),
    mtimeNs: readTime(buffer, field.lfu_mtime_sec, field.lfu_mtime_nsec),
    ctimeNs: readTime(buffer, field.lfu_ctime_sec, field.lfu_ctime_nsec),
  };
}

/** The fields of struct stat that llapi_hsm_import reads; the rest stays zero. */
export function writeStat(buffer: Buffer, attributes: ImportAttributes, arch: StatArch): void {
  const field = statLayouts[arch].fields;
  buffer.writeUInt32LE(attributes.mode, field.st_mode);
  buffer.writeUInt32LE(attributes.uid, field.st_uid);
  buffer.writeUInt32LE(attributes.gid, field.st_gid);
  buffer.writeBigInt64LE(attributes.sizeBytes, field.st_size);
  writeTime(buffer, attributes.atimeNs, field.st_atim, field.st_atim + 8);
  writeTime(buffer, attributes.mtimeNs, field.st_mtim, field.st_mtim + 8);
  writeTime(buffer, attributes.mtimeNs, field.st_ctim, field.st_ctim + 8);
}

export function readStat(buffer: Buffer, arch: StatArch): ImportAttributes {
  const field = statLayouts[arch].fields;
  return {
    mode: buffer.readUInt32LE(field.st_mode),
    uid: buffer.readUInt32LE(field.st_uid),
    gid: buffer.readUInt32LE(field.st_gid),
    sizeBytes: buffer.readBigInt64LE(field.st_size),
    atimeNs: readTime(buffer, field.st_atim, field.st_atim + 8),
    mtimeNs: readTime(buffer, field.st_mtim, field.st_mtim + 8),
  };
}

/** As makedev(3) puts it together, and stat(2) gives it (glibc's bits/sysmacros.h). */
function deviceOf(major: number, minor: number): bigint {
  const [a, b] = [BigInt(major), BigInt(minor)];
  return ((a & 0xfffff000n) << 32n) | ((a & 0xfffn) << 8n) | ((b & 0xffffff00n) << 12n) | (b & 0xffn);
}

/** struct statx: what STATX_BASIC_STATS asks for. */
export function readStatx(buffer: Buffer): FileAttributes {
  const field = layouts.statx.fields;
  const time = (at: number): bigint =>
    buffer.readBigInt64LE(at) * NS_PER_SECOND + BigInt(buffer.readUInt32LE(at + 8));
  return {
    dev: deviceOf(buffer.readUInt32LE(field.stx_dev_major), buffer.readUInt32LE(field.stx_dev_minor)),
    ino: buffer.readBigUInt64LE(field.stx_ino),
    mode: BigInt(buffer.readUInt16LE(field.stx_mode)),
    nlink: BigInt(buffer.readUInt32LE(field.stx_nlink)),
    uid: BigInt(buffer.readUInt32LE(field.stx_uid)),
    gid: BigInt(buffer.readUInt32LE(field.stx_gid)),
    size: buffer.readBigUInt64LE(field.stx_size),
    blocks: buffer.readBigUInt64LE(field.stx_blocks),
    atimeNs: time(field.stx_atime),
    mtimeNs: time(field.stx_mtime),
    ctimeNs: time(field.stx_ctime),
  };
}

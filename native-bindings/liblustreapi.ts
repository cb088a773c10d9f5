// The interface Lustre over liblustreapi.so: the signature table and the calls by path, descriptor and FID.
// The daemon's top level calls loadLustre. Facts: lustreapi.h. Every function returns 0 (or a descriptor)
// or a negative errno; errno itself is not looked at.
import { callPool } from './call-pool.js';
import { callOnce, CallSequence } from './call-sequence.js';
import { copytoolSignatures, registerCopytool } from './copytool.js';
import { HsmStateFlag } from './constants.js';
import { LhsmError } from './errors.js';
import type { CallFrame } from './call-frame.js';
import { type CArg, CFunction, loadLibrary, Memory } from './ffi.js';
import { layouts, statArch, statLayouts } from './layouts.js';
import { callError, libc, linux } from './libc.js';
import type {
  Copytool,
  CurrentAction,
  DataState,
  Fid,
  FileAttributes,
  FileLook,
  PathLook,
  PathToLook,
  FileTimes,
  HsmRequest,
  HsmState,
  HsmStateChange,
  ImportAttributes,
  Lustre,
  Striping,
  Xattr,
  XattrChange,
  XattrChanges,
} from './lustre.js';
import { fidPath, formatFid } from './lustre.js';
import { encodeRequest, readCurrentAction, readFid, readHsmState, writeFid, writeStat } from './structs.js';

const signatures = {
  ...copytoolSignatures,
  llapi_hsm_import: {
    result: 'i32',
    args: ['ptr', 'i32', 'ptr', 'u64', 'i32', 'i32', 'i32', 'ptr', 'ptr'],
  },
  llapi_hsm_state_get: { result: 'i32', args: ['ptr', 'ptr'] },
  llapi_hsm_state_get_fd: { result: 'i32', args: ['i32', 'ptr'] },
  llapi_hsm_state_set: { result: 'i32', args: ['ptr', 'u64', 'u64', 'u32'] },
  llapi_hsm_state_set_fd: { result: 'i32', args: ['i32', 'u64', 'u64', 'u32'] },
  llapi_hsm_current_action: { result: 'i32', args: ['ptr', 'ptr'] },
  llapi_hsm_user_request_alloc: { result: 'ptr', args: ['i32', 'i32'] },
  llapi_hsm_request: { result: 'i32', args: ['ptr', 'ptr'] },
  llapi_fid2path: { result: 'i32', args: ['ptr', 'ptr', 'ptr', 'i32', 'ptr', 'ptr'] },
  llapi_path2fid: { result: 'i32', args: ['ptr', 'ptr'] },
  llapi_fd2fid: { result: 'i32', args: ['i32', 'ptr'] },
  llapi_open_by_fid: { result: 'i32', args: ['ptr', 'ptr', 'i32'] },
  llapi_get_data_version: { result: 'i32', args: ['i32', 'ptr', 'u64'] },
  llapi_search_fsname: { result: 'i32', args: ['ptr', 'ptr'] },
  llapi_msg_set_level: { result: 'void', args: ['i32'] },
} as const;

type Functions = { readonly [K in keyof typeof signatures]: CFunction };

export interface LustreOptions {
  /** A path, or a name for the dynamic linker to find. Default `liblustreapi.so.1`. */
  readonly library?: string;
}

const DEFAULT_LIBRARY = 'liblustreapi.so.1';
const PATH_MAX = 4096;
const INT_BYTES = 4;
/** LLAPI_MSG_OFF of lustreapi.h. */
const MSG_OFF = 0;

/**
 * Loads the library. Throws LhsmError LIBRARY_MISSING, LIBRARY_INVALID or LIBRARY_SYMBOLS.
 *
 * The library's own messages are switched off: unasked, it prints on stderr and stdout. A JavaScript callback
 * is not safe: called from another thread, ffi-napi makes that thread wait for the main thread, and changes the
 * event loop's reference count without a lock. What the messages say (function, path, errno) is in the LhsmError of the call.
 */
export function loadLustre(options: LustreOptions = {}): Lustre {
  const library = options.library ?? DEFAULT_LIBRARY;
  const functions = loadLibrary(library, signatures, {
    missing: `Install the Lustre client's packages (lustre-client), which bring ${DEFAULT_LIBRARY}, or set "library" to where it is.`,
    symbols: 'It is older than Lustre 2.12, or no liblustreapi: install a newer Lustre client.',
  });
  functions.llapi_msg_set_level.int(MSG_OFF);
  return new Liblustreapi(functions);
}

const hints: Readonly<Record<string, string>> = {
  ENOTTY: 'This is no file of a Lustre file system.',
  E2BIG: 'One request takes at most 52 FIDs, fewer with data: ask in several.',
};

function check(op: string, subject: string, rc: number): number {
  if (rc >= 0) return rc;
  const error = callError(op, subject, -rc);
  const hint = hints[error.code];
  throw hint === undefined ? error : callError(op, subject, -rc, hint);
}

class Liblustreapi implements Lustre {
  readonly #fn: Functions;
  readonly #stat = statArch();

  constructor(fn: Functions) {
    this.#fn = fn;
  }

  register(mount: string, archiveIds: readonly number[]): Promise<Copytool> {
    return registerCopytool(this.#fn, mount, archiveIds);
  }

  fsname(path: string): string {
    const op = 'llapi_search_fsname';
    const name = Memory.allocate(PATH_MAX);
    const cpath = Memory.allocate(Buffer.byteLength(path) + 1);
    cpath.bytes.write(path);
    check(op, path, this.#fn.llapi_search_fsname.int(cpath, name));
    return upToNul(name.bytes).toString();
  }

  hsmState(path: string | Buffer): Promise<HsmState> {
    return this.#state(this.#fn.llapi_hsm_state_get, path);
  }

  hsmStateFd(fd: number): Promise<HsmState> {
    return this.#state(this.#fn.llapi_hsm_state_get_fd, fd);
  }

  #state(fn: CFunction, file: string | Buffer | number): Promise<HsmState> {
    return this.#filled(fn, file, layouts.hsm_user_state.size, readHsmState);
  }

  setHsmState(path: string | Buffer, change: HsmStateChange): Promise<void> {
    return this.#setState(this.#fn.llapi_hsm_state_set, path, change);
  }

  setHsmStateFd(fd: number, change: HsmStateChange): Promise<void> {
    return this.#setState(this.#fn.llapi_hsm_state_set_fd, fd, change);
  }

  async #setState(fn: CFunction, file: string | Buffer | number, change: HsmStateChange): Promise<void> {
    const { set, clear, archiveId } = change;
    await callPool().run(async (frame) => {
      const args = [fileArg(frame, file), BigInt(set), BigInt(clear), archiveId ?? 0];
      check(fn.name, subjectOf(file), (await callOnce(frame, fn, args)).value);
    });
  }

  currentAction(path: string | Buffer): Promise<CurrentAction> {
    const fn = this.#fn.llapi_hsm_current_action;
    return this.#filled(fn, path, layouts.hsm_current_action.size, readCurrentAction);
  }

  import(
    path: string | Buffer,
    archiveId: number,
    attributes: ImportAttributes,
    xattrs: readonly Xattr[] = [],
    striping: Striping = {},
  ): Promise<Fid> {
    const fn = this.#fn.llapi_hsm_import;
    return callPool().run(async (frame) => {
      const stat = frame.alloc(statLayouts[this.#stat].size);
      writeStat(stat.bytes, attributes, this.#stat);
      const fid = frame.alloc(layouts.lu_fid.size);
      const cpath = frame.cstring(path);
      const sequence = new CallSequence(frame);
      const made = sequence.add(fn, [
        cpath,
        archiveId,
        stat,
        striping.stripeSizeBytes ?? 0n,
        striping.stripeOffset ?? -1,
        striping.stripeCount ?? 0,
        striping.stripePattern ?? 0,
        striping.pool === undefined ? null : frame.cstring(striping.pool),
        fid,
      ]);
      let after = made;
      const named = xattrs.map(
        (xattr) => (after = libc().addSetXattrPath(frame, sequence, cpath, xattr, after)),
      );
      await sequence.run();
      check(fn.name, subjectOf(path), made.value);
      const failed = named.findIndex(({ value }) => value < 0);
      const [call, xattr] = [named[failed], xattrs[failed]];
      if (call) throw callError(call.name, `${xattr?.name ?? ''} of ${subjectOf(path)}`, call.errno);
      return readFid(fid.bytes);
    });
  }

  async request(mount: string, request: HsmRequest): Promise<void> {
    const bytes = encodeRequest(request);
    await callPool().run(async (frame) => {
      const { llapi_hsm_user_request_alloc: alloc, llapi_hsm_request: send } = this.#fn;
      const copy = frame.copy(bytes);
      const path = frame.cstring(mount);
      const address = alloc.address(request.fids.length, request.data?.length ?? 0);
      if (address === 0n)
        throw new LhsmError(`${alloc.name} failed: ENOMEM`, { code: 'ENOMEM', op: alloc.name });
      try {
        libc().copyOut(address, copy);
        const subject = `${request.fids.length} FIDs on ${mount}`;
        check(send.name, subject, (await callOnce(frame, send, [path, address])).value);
      } finally {
        libc().free(address);
      }
    });
  }

  fidToPath(mount: string, fid: Fid, link = 0): Promise<Buffer> {
    const fn = this.#fn.llapi_fid2path;
    return callPool().run(async (frame) => {
      const path = frame.alloc(PATH_MAX);
      const recno = frame.alloc(8);
      recno.bytes.writeBigInt64LE(-1n);
      const linkno = frame.alloc(INT_BYTES);
      linkno.bytes.writeInt32LE(link);
      const text = formatFid(fid);
      const args = [frame.cstring(mount), frame.cstring(text), path, PATH_MAX, recno, linkno];
      const { value: rc } = await callOnce(frame, fn, args);
      check(fn.name, `${text} on ${mount}`, rc);
      const bytes = Buffer.from(upToNul(path.bytes));
      return bytes[0] === 0x2f ? bytes.subarray(1) : bytes;
    });
  }

  pathToFid(path: string | Buffer): Promise<Fid> {
    return this.#filled(this.#fn.llapi_path2fid, path, layouts.lu_fid.size, readFid);
  }

  fdToFid(fd: number): Promise<Fid> {
    return this.#filled(this.#fn.llapi_fd2fid, fd, layouts.lu_fid.size, readFid);
  }

  openByFid(mount: string, fid: Fid, flags: number): Promise<number> {
    const fn = this.#fn.llapi_open_by_fid;
    return callPool().run(async (frame) => {
      const struct = frame.alloc(layouts.lu_fid.size);
      writeFid(struct.bytes, fid);
      const { value: rc } = await callOnce(frame, fn, [
        frame.cstring(mount),
        struct,
        flags | linux.O_CLOEXEC,
      ]);
      return check(fn.name, `${formatFid(fid)} on ${mount}`, rc);
    });
  }

  dataVersion(fd: number, flags: bigint): Promise<bigint> {
    const fn = this.#fn.llapi_get_data_version;
    return callPool().run(async (frame) => {
      const version = frame.alloc(8);
      check(fn.name, subjectOf(fd), (await callOnce(frame, fn, [fd, version, flags])).value);
      return version.bytes.readBigUInt64LE();
    });
  }

  dataState(fd: number, flags: bigint): Promise<DataState> {
    const { llapi_hsm_state_get_fd: getState, llapi_get_data_version: getVersion } = this.#fn;
    const subject = subjectOf(fd);
    return callPool().run(async (frame) => {
      const sequence = new CallSequence(frame);
      const state = frame.alloc(layouts.hsm_user_state.size);
      const version = frame.alloc(8);
      const stateCall = sequence.add(getState, [fd, state]);
      const versionCall = sequence.add(getVersion, [fd, version, flags], { after: stateCall });
      const attributes = libc().addStat(frame, sequence, fd);
      await sequence.run();
      check(getState.name, subject, stateCall.value);
      const { states } = readHsmState(state.bytes);
      const isReleased = (states & HsmStateFlag.RELEASED) !== 0;
      if (!isReleased) check(getVersion.name, subject, versionCall.value);
      const dataVersion = isReleased ? 0n : version.bytes.readBigUInt64LE();
      return { states, dataVersion, attributes: attributes(subject) };
    });
  }

  look(fd: number, xattrs: readonly string[]): Promise<FileLook> {
    return libc().look(fd, xattrs);
  }

  lookByFid(mount: string, fid: Fid, xattrs: readonly string[]): Promise<FileLook> {
    return libc().lookAt(fidPath(mount, fid), xattrs, `${formatFid(fid)} on ${mount}`);
  }

  lookAtPaths(paths: readonly PathToLook[], flags: number): Promise<(PathLook | LhsmError | undefined)[]> {
    return callPool().run(async (frame) => {
      const sequence = new CallSequence(frame);
      const looks = paths.map((path) => this.#addPathLook(frame, sequence, path, flags));
      await sequence.run();
      return looks.map((look) => {
        try {
          return look();
        } catch (error) {
          if (error instanceof LhsmError) return error;
          throw error;
        }
      });
    });
  }

  /** The result reads what was found, once the sequence has run; undefined when it is not that inode. */
  #addPathLook(
    frame: CallFrame,
    sequence: CallSequence,
    { path, ino }: PathToLook,
    flags: number,
  ): () => PathLook | undefined {
    const { llapi_hsm_state_get_fd: getState, llapi_fd2fid: getFid } = this.#fn;
    const open = libc().addOpen(sequence, frame.cstring(path), flags);
    const state = frame.alloc(layouts.hsm_user_state.size);
    const fid = frame.alloc(layouts.lu_fid.size);
    const inode = libc().addInode(frame, sequence, open.asArgument, open);
    const stateCall = sequence.add(getState, [open.asArgument, state], { after: open });
    const fidCall = sequence.add(getFid, [open.asArgument, fid], { after: open });
    libc().addClose(sequence, open.asArgument, open);
    return () => {
      const subject = subjectOf(path);
      if (open.value < 0) throw callError('open', subject, open.errno);
      // Of a FIFO that has taken the name, say, there is no state.
      if (inode(subject) !== ino) return undefined;
      check(getState.name, subject, stateCall.value);
      check(getFid.name, subject, fidCall.value);
      return { state: readHsmState(state.bytes), fid: readFid(fid.bytes) };
    };
  }

  lookAtNames(directory: number, names: readonly Buffer[]): Promise<(FileAttributes | number)[]> {
    return libc().lookAtNames(directory, names);
  }

  changeXattrs(fd: number, changes: readonly XattrChange[]): Promise<XattrChanges> {
    return libc().changeXattrs(fd, changes);
  }

  setXattr(fd: number, name: string, value: Buffer): Promise<void> {
    return libc().setXattr(fd, name, value);
  }

  getXattrPath(path: string | Buffer, name: string): Promise<Buffer | undefined> {
    return libc().getXattrPath(path, name);
  }

  setXattrPath(path: string | Buffer, name: string, value: Buffer): Promise<void> {
    return libc().setXattrPath(path, name, value);
  }

  setMtimePath(path: string | Buffer, mtimeNs: bigint): Promise<void> {
    return libc().setMtimePath(path, mtimeNs);
  }

  setTimes(fd: number, times: FileTimes): Promise<void> {
    return libc().setTimes(fd, times);
  }

  /** Calls `fn(file, &struct)` and decodes the struct. */
  #filled<T>(
    fn: CFunction,
    file: string | Buffer | number,
    size: number,
    decode: (bytes: Buffer) => T,
  ): Promise<T> {
    return callPool().run(async (frame) => {
      const struct = frame.alloc(size);
      check(fn.name, subjectOf(file), (await callOnce(frame, fn, [fileArg(frame, file), struct])).value);
      return decode(struct.bytes);
    });
  }
}

function fileArg(frame: CallFrame, file: string | Buffer | number): CArg {
  return typeof file === 'number' ? file : frame.cstring(file);
}

function subjectOf(file: string | Buffer | number): string {
  return typeof file === 'number' ? `descriptor ${file}` : file.toString();
}

function upToNul(bytes: Buffer): Buffer {
  const end = bytes.indexOf(0);
  return end < 0 ? bytes : bytes.subarray(0, end);
}

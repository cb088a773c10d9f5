// The few calls of the C library that Node lacks: extended attributes, times, sparse files, locks, poll on
// descriptors, sd_notify. liblustreapi.ts calls it; the daemon's top level takes loadHost() from it.
import { constants as fsConstants } from 'node:fs';
import { constants } from 'node:os';
import { callPool } from './call-pool.js';
import type { CallFrame } from './call-frame.js';
import { callOnce, CallSequence, type Load, type SequencedCall } from './call-sequence.js';
import { loadCalls } from './call-threads.js';
import { errnoName, errnoNumber, LhsmError } from './errors.js';
import { type CArg, type CFunction, loadLibrary, Memory, memoryAt } from './ffi.js';
import type { HostOs } from './host.js';
import type { FileAttributes, FileLook, FileTimes, Xattr, XattrChange, XattrChanges } from './lustre.js';
import { layouts } from './layouts.js';
import { readStatx, writeFileTimes } from './structs.js';

const signatures = {
  __errno_location: { result: 'ptr', args: [] },
  fcntl: { result: 'i32', args: ['i32', 'i32', 'i32'] },
  fgetxattr: { result: 'i64', args: ['i32', 'ptr', 'ptr', 'u64'] },
  fsetxattr: { result: 'i32', args: ['i32', 'ptr', 'ptr', 'u64', 'i32'] },
  lgetxattr: { result: 'i64', args: ['ptr', 'ptr', 'ptr', 'u64'] },
  lsetxattr: { result: 'i32', args: ['ptr', 'ptr', 'ptr', 'u64', 'i32'] },
  utimensat: { result: 'i32', args: ['i32', 'ptr', 'ptr', 'i32'] },
  fremovexattr: { result: 'i32', args: ['i32', 'ptr'] },
  statx: { result: 'i32', args: ['i32', 'ptr', 'i32', 'u32', 'ptr'] },
  ioctl: { result: 'i32', args: ['i32', 'u64', 'ptr'] },
  lseek: { result: 'i64', args: ['i32', 'i64', 'i32'] },
  flock: { result: 'i32', args: ['i32', 'i32'] },
  poll: { result: 'i32', args: ['ptr', 'u64', 'i32'] },
  pipe2: { result: 'i32', args: ['ptr', 'i32'] },
  memcpy: { result: 'ptr', args: ['ptr', 'ptr', 'u64'] },
  free: { result: 'void', args: ['ptr'] },
  socket: { result: 'i32', args: ['i32', 'i32', 'i32'] },
  sendto: { result: 'i64', args: ['i32', 'ptr', 'u64', 'i32', 'ptr', 'u32'] },
  open: { result: 'i32', args: ['ptr', 'i32'] },
  close: { result: 'i32', args: ['i32'] },
} as const;

/** Numbers of Linux, the same on x86-64 and aarch64; test/native-bindings/struct-layout.c checks them. */
export const linux = {
  F_SETFD: 2,
  FD_CLOEXEC: 1,
  O_CLOEXEC: 0o2000000,
  O_NONBLOCK: 0o4000,
  O_PATH: 0o10000000,
  LOCK_EX: 2,
  LOCK_NB: 4,
  POLLIN: 1,
  POLLHUP: 0x10,
  POLLFD_BYTES: 8,
  AT_EMPTY_PATH: 0x1000,
  AT_STATX_DONT_SYNC: 0x4000,
  STATX_BASIC_STATS: 0x7ff,
  SEEK_DATA: 3,
  SEEK_HOLE: 4,
  AF_UNIX: 1,
  SOCK_DGRAM: 2,
  SOCK_CLOEXEC: 0o2000000,
  MSG_NOSIGNAL: 0x4000,
  MSG_DONTWAIT: 0x40,
  SUN_PATH_BYTES: 108,
  AT_FDCWD: -100,
  AT_SYMLINK_NOFOLLOW: 0x100,
  UTIME_OMIT: 0x3ffffffe,
  TIMESPEC_BYTES: 16,
  /** _IOWR('f', 176, struct ll_futimes_3) of lustre_user.h. */
  LL_IOC_FUTIMES_3: (3n << 30n) | (48n << 16n) | (0x66n << 8n) | 176n,
} as const;

/** Attributes up to this size take one call. */
const XATTR_GUESS_BYTES = 256;
/** No attribute is larger (XATTR_SIZE_MAX of linux/limits.h). */
const XATTR_MAX_BYTES = 65_536;

const { EAGAIN, EINTR, ENODATA, ENXIO, ERANGE } = constants.errno;

/** Errors after which the same call may succeed with nothing mended. */
const retryable = new Set(['EAGAIN', 'EINTR', 'EBUSY', 'ETIMEDOUT', 'ENOTCONN', 'ENOMEM'].map(errnoNumber));

/** The LhsmError of a failed C function; `errno` is positive. */
export function callError(op: string, subject: string, errno: number, hint?: string): LhsmError {
  const name = errnoName(errno);
  return new LhsmError(`${op} of ${subject} failed: ${name}`, {
    code: name,
    op,
    errno,
    retryable: retryable.has(errno),
    ...(hint === undefined ? {} : { hint }),
  });
}

const NS_PER_SECOND = 1_000_000_000n;

const fileName = (file: number | string | Buffer): string =>
  typeof file === 'number' ? `descriptor ${file}` : file.toString();

/** Of path-xattr.c. */
const ownSignatures = {
  path_getxattr: { result: 'i64', args: ['i32', 'ptr', 'ptr', 'u64'] },
} as const;

type Functions = { readonly [K in keyof (typeof signatures & typeof ownSignatures)]: CFunction };

export class Libc {
  readonly #fn: Functions;
  /** errno of the main thread, in place. */
  readonly #errno: Buffer;
  readonly #scratch = Memory.allocate(linux.SUN_PATH_BYTES + 2);

  constructor() {
    const system = loadLibrary(null, signatures, {
      missing: 'This system is not supported.',
      symbols: 'This system is not supported: GNU/Linux (glibc) is needed.',
    });
    this.#fn = { ...system, ...loadCalls(ownSignatures) };
    // The location of a thread's errno stays where it is for the thread's life. Reading it in place leaves
    // nothing between the call and the look at errno that could change it.
    this.#errno = memoryAt(this.#fn.__errno_location.address(), 4);
  }

  /** The function of malloc'd memory that a library has handed out. */
  free(address: bigint): void {
    this.#fn.free.int(address);
  }

  /** Copies C memory into `target` (as many bytes as it has). */
  copyIn(target: Memory, source: bigint): void {
    this.#fn.memcpy.address(target, source, BigInt(target.bytes.length));
  }

  /** Copies all of `source` to C memory. */
  copyOut(target: bigint, source: Memory): void {
    this.#fn.memcpy.address(target, source, BigInt(source.bytes.length));
  }

  /** Keeps a descriptor from children. Throws LhsmError. */
  setCloseOnExec(fd: number): void {
    if (this.#fn.fcntl.int(fd, linux.F_SETFD, linux.FD_CLOEXEC) < 0)
      throw this.#failure('fcntl', `descriptor ${fd}`);
  }

  /** A pipe, close-on-exec and non-blocking on both ends: [read, write]. */
  pipe(): [number, number] {
    const cell = this.#scratch.slice(0, 8);
    if (this.#fn.pipe2.int(cell, linux.O_CLOEXEC | linux.O_NONBLOCK) < 0)
      throw this.#failure('pipe2', 'a wake-up pipe');
    return [cell.bytes.readInt32LE(0), cell.bytes.readInt32LE(4)];
  }

  /** Waits on a thread of its own until one of the descriptors is readable or broken; answers each one's revents. */
  async poll(frame: CallFrame, fds: readonly number[]): Promise<number[]> {
    frame.reset();
    const set = frame.alloc(fds.length * linux.POLLFD_BYTES);
    fds.forEach((fd, i) => {
      set.bytes.writeInt32LE(fd, i * linux.POLLFD_BYTES);
      set.bytes.writeInt16LE(linux.POLLIN, i * linux.POLLFD_BYTES + 4);
    });
    const { errno } = await callOnce(frame, this.#fn.poll, [set, BigInt(fds.length), -1]);
    if (errno !== 0 && errno !== EINTR) throw callError('poll', `descriptors ${fds.join(', ')}`, errno);
    return fds.map((_, i) => set.bytes.readInt16LE(i * linux.POLLFD_BYTES + 6));
  }

  /** As Lustre.getXattrPath. */
  async getXattrPath(path: string | Buffer, name: string): Promise<Buffer | undefined> {
    const xattrs = await withRoom((room) =>
      callPool().run(async (frame) => {
        const sequence = new CallSequence(frame);
        const from = { fn: this.#fn.lgetxattr, file: frame.cstring(path) };
        const read = this.#addXattrs(frame, sequence, from, [name], room);
        await sequence.run();
        return read(fileName(path));
      }),
    );
    return xattrs[0];
  }

  /** As Lustre.look. */
  look(fd: number, names: readonly string[]): Promise<FileLook> {
    return withRoom((room) =>
      callPool().run(async (frame) => {
        const sequence = new CallSequence(frame);
        const read = this.addLook(frame, sequence, fd, names, room);
        await sequence.run();
        return read(`descriptor ${fd}`);
      }),
    );
  }

  /** Adds statx and fgetxattr to a sequence; the result reads what they gave, once it has run. */
  addLook(
    frame: CallFrame,
    sequence: CallSequence,
    fd: number | Load,
    names: readonly string[],
    room: number,
    after?: SequencedCall,
    fn = this.#fn.fgetxattr,
  ): (subject: string) => FileLook | undefined {
    const attributes = this.addStat(frame, sequence, fd, after);
    const from = { fn, file: fd };
    const xattrs = this.#addXattrs(frame, sequence, from, names, room, after);
    return (subject) => {
      const read = { attributes: attributes(subject), xattrs: xattrs(subject) };
      return read.xattrs && { attributes: read.attributes, xattrs: read.xattrs };
    };
  }

  /**
   * The same of a path, a link not followed: an O_PATH descriptor opens nothing, which saves the MDS an open and a close, but
   * keeps what the path has led to.
   */
  lookAt(path: string, names: readonly string[], subject: string): Promise<FileLook> {
    return withRoom((room) =>
      callPool().run(async (frame) => {
        const sequence = new CallSequence(frame);
        const read = this.addLookAt(frame, sequence, path, names, room);
        await sequence.run();
        return read(subject);
      }),
    );
  }

  /** Adds to a sequence what `lookAt` does, as addLook. */
  addLookAt(
    frame: CallFrame,
    sequence: CallSequence,
    path: string,
    names: readonly string[],
    room = XATTR_GUESS_BYTES,
    after?: SequencedCall,
  ): (subject: string) => FileLook | undefined {
    const flags = linux.O_PATH | fsConstants.O_NOFOLLOW;
    const open = this.addOpen(sequence, frame.cstring(path), flags, after);
    const fn = this.#fn.path_getxattr;
    const read = this.addLook(frame, sequence, open.asArgument, names, room, open, fn);
    this.addClose(sequence, open.asArgument, open);
    return (subject) => {
      if (open.value < 0) throw callError('open', subject, open.errno);
      return read(subject);
    };
  }

  /** As Lustre.lookAtNames. */
  lookAtNames(directory: number, names: readonly Buffer[]): Promise<(FileAttributes | number)[]> {
    return callPool().run(async (frame) => {
      const sequence = new CallSequence(frame);
      const looks = names.map((name) => this.#addStatx(frame, sequence, directory, frame.cstring(name)));
      await sequence.run();
      return looks.map(({ call, struct }) => (call.value < 0 ? call.errno : readStatx(struct.bytes)));
    });
  }

  /** Adds statx to a sequence, as addLook. */
  addStat(
    frame: CallFrame,
    sequence: CallSequence,
    fd: number | Load,
    after?: SequencedCall,
  ): (subject: string) => FileAttributes {
    const { call, struct } = this.#addStatx(frame, sequence, fd, undefined, after);
    return (subject) => {
      if (call.value < 0) throw callError('statx', subject, call.errno);
      return readStatx(struct.bytes);
    };
  }

  /** The same for the inode's number alone, which never changes: neither MDT nor OST is asked. */
  addInode(
    frame: CallFrame,
    sequence: CallSequence,
    fd: number | Load,
    after?: SequencedCall,
  ): (subject: string) => bigint {
    const more = linux.AT_STATX_DONT_SYNC;
    const { call, struct } = this.#addStatx(frame, sequence, fd, undefined, after, more);
    return (subject) => {
      if (call.value < 0) throw callError('statx', subject, call.errno);
      return readStatx(struct.bytes).ino;
    };
  }

  /** Of a name in a directory, or of the descriptor itself; never through a link. `more`: other flags of statx. */
  #addStatx(
    frame: CallFrame,
    sequence: CallSequence,
    fd: number | Load,
    name: Memory | undefined,
    after?: SequencedCall,
    more = 0,
  ): { readonly call: SequencedCall; readonly struct: Memory } {
    const struct = frame.alloc(layouts.statx.size);
    const flags = name ? linux.AT_SYMLINK_NOFOLLOW : linux.AT_EMPTY_PATH;
    const args = [fd, name ?? frame.cstring(''), flags | more, linux.STATX_BASIC_STATS, struct];
    return { call: sequence.add(this.#fn.statx, args, { after }), struct };
  }

  /** Adds lsetxattr to a sequence. */
  addSetXattrPath(
    frame: CallFrame,
    sequence: CallSequence,
    path: Memory,
    { name, value }: Xattr,
    after?: SequencedCall,
  ): SequencedCall {
    const args = [path, frame.cstring(name), frame.copy(value), BigInt(value.length), 0];
    return sequence.add(this.#fn.lsetxattr, args, { after });
  }

  /** Adds open, close-on-exec and of what exists, to a sequence. */
  addOpen(sequence: CallSequence, path: Memory, flags: number, after?: SequencedCall): SequencedCall {
    return sequence.add(this.#fn.open, [path, flags | linux.O_CLOEXEC], { after });
  }

  /** Adds close to a sequence. */
  addClose(sequence: CallSequence, fd: number | Load, after?: SequencedCall): SequencedCall {
    return sequence.add(this.#fn.close, [fd], { after });
  }

  /** Adds to a sequence that a descriptor is kept from children. */
  addCloseOnExec(sequence: CallSequence, fd: number | Load, after?: SequencedCall): SequencedCall {
    return sequence.add(this.#fn.fcntl, [fd, linux.F_SETFD, linux.FD_CLOEXEC], { after });
  }

  /** The result is undefined when the room was too small. */
  #addXattrs(
    frame: CallFrame,
    sequence: CallSequence,
    from: { readonly fn: CFunction; readonly file: number | Load | Memory },
    names: readonly string[],
    room: number,
    after?: SequencedCall,
  ): (subject: string) => (Buffer | undefined)[] | undefined {
    const calls = names.map((name) => {
      const value = frame.alloc(room);
      const args = [from.file, frame.cstring(name), value, BigInt(room)];
      return { name, value, call: sequence.add(from.fn, args, { after }) };
    });
    return (subject) => {
      if (calls.some(({ call }) => call.errno === ERANGE)) return undefined;
      return calls.map(({ name, value, call }) => {
        if (call.errno === ENODATA) return undefined;
        if (call.value < 0) throw callError(call.name, `${name} of ${subject}`, call.errno);
        return Buffer.from(value.bytes.subarray(0, call.value));
      });
    };
  }

  /** As Lustre.changeXattrs. */
  changeXattrs(fd: number, changes: readonly XattrChange[]): Promise<XattrChanges> {
    const subject = `descriptor ${fd}`;
    return callPool().run(async (frame) => {
      const sequence = new CallSequence(frame);
      const before = this.addStat(frame, sequence, fd);
      let after: SequencedCall | undefined;
      const calls = changes.map((change) => {
        after = this.#addChange(frame, sequence, fd, change, after);
        return after;
      });
      const afterwards = this.addStat(frame, sequence, fd);
      await sequence.run();
      const failed = calls.findIndex(({ value }) => value < 0);
      const [call, change] = [calls[failed], changes[failed]];
      return {
        before: before(subject),
        after: afterwards(subject),
        made: call ? failed : changes.length,
        failure: call && callError(call.name, `${change?.name ?? ''} of ${subject}`, call.errno),
      };
    });
  }

  #addChange(
    frame: CallFrame,
    sequence: CallSequence,
    fd: number,
    { name, value }: XattrChange,
    after?: SequencedCall,
  ): SequencedCall {
    if (value) {
      const args = [fd, frame.cstring(name), frame.copy(value), BigInt(value.length), 0];
      return sequence.add(this.#fn.fsetxattr, args, { after });
    }
    return sequence.add(this.#fn.fremovexattr, [fd, frame.cstring(name)], { after, tolerated: ENODATA });
  }

  setXattr(fd: number, name: string, value: Buffer): Promise<void> {
    return this.#writeXattr(this.#fn.fsetxattr, fd, name, value);
  }

  /** As Lustre.setXattrPath. */
  setXattrPath(path: string | Buffer, name: string, value: Buffer): Promise<void> {
    return this.#writeXattr(this.#fn.lsetxattr, path, name, value);
  }

  async #writeXattr(
    fn: CFunction,
    file: number | string | Buffer,
    name: string,
    value: Buffer,
  ): Promise<void> {
    await callPool().run(async (frame) => {
      const to = typeof file === 'number' ? file : frame.cstring(file);
      const args = [to, frame.cstring(name), frame.copy(value), BigInt(value.length), 0];
      const { errno } = await callOnce(frame, fn, args);
      if (errno !== 0) throw callError(fn.name, `${name} of ${fileName(file)}`, errno);
    });
  }

  /** As Lustre.setMtimePath. */
  async setMtimePath(path: string | Buffer, mtimeNs: bigint): Promise<void> {
    await callPool().run(async (frame) => {
      const times = frame.alloc(2 * linux.TIMESPEC_BYTES);
      const ns = ((mtimeNs % NS_PER_SECOND) + NS_PER_SECOND) % NS_PER_SECOND;
      times.bytes.writeBigInt64LE(BigInt(linux.UTIME_OMIT), 8);
      times.bytes.writeBigInt64LE((mtimeNs - ns) / NS_PER_SECOND, linux.TIMESPEC_BYTES);
      times.bytes.writeBigInt64LE(ns, linux.TIMESPEC_BYTES + 8);
      const args = [linux.AT_FDCWD, frame.cstring(path), times, linux.AT_SYMLINK_NOFOLLOW];
      const { errno } = await callOnce(frame, this.#fn.utimensat, args);
      if (errno !== 0) throw callError('utimensat', fileName(path), errno);
    });
  }

  /** LL_IOC_FUTIMES_3 of lustre_user.h: atime, mtime and ctime at once. ENOTTY where it is no Lustre file. */
  async setTimes(fd: number, times: FileTimes): Promise<void> {
    await callPool().run(async (frame) => {
      const struct = frame.alloc(layouts.ll_futimes_3.size);
      writeFileTimes(struct.bytes, times);
      const { errno } = await callOnce(frame, this.#fn.ioctl, [fd, linux.LL_IOC_FUTIMES_3, struct]);
      if (errno !== 0) throw callError('ioctl LL_IOC_FUTIMES_3', `descriptor ${fd}`, errno);
    });
  }

  /** As HostOs.nextData. */
  async nextData(fd: number, offset: bigint): Promise<bigint | undefined> {
    return callPool().run(async (frame) => {
      const { long: value, errno } = await callOnce(frame, this.#fn.lseek, [fd, offset, linux.SEEK_DATA]);
      if (errno === ENXIO) return undefined;
      if (errno !== 0) throw callError('lseek SEEK_DATA', `descriptor ${fd}`, errno);
      return value;
    });
  }

  /** As HostOs.nextHole. */
  async nextHole(fd: number, offset: bigint): Promise<bigint> {
    return callPool().run(async (frame) => {
      const { long: value, errno } = await callOnce(frame, this.#fn.lseek, [fd, offset, linux.SEEK_HOLE]);
      if (errno !== 0) throw callError('lseek SEEK_HOLE', `descriptor ${fd}`, errno);
      return value;
    });
  }

  /** As HostOs.tryLock. */
  tryLock(fd: number): boolean {
    for (;;) {
      const { errno } = this.#now(this.#fn.flock, [fd, linux.LOCK_EX | linux.LOCK_NB]);
      if (errno === 0) return true;
      if (errno === EAGAIN) return false;
      if (errno !== EINTR) throw callError('flock', `descriptor ${fd}`, errno);
    }
  }

  /** As HostOs.sdNotify; one datagram, as sd_notify(3) describes it. */
  sdNotify(state: string): boolean {
    const path = process.env['NOTIFY_SOCKET'];
    if (path === undefined || !/^[/@]./.test(path)) return false;
    const name = Buffer.from(path);
    if (name.length >= linux.SUN_PATH_BYTES) return false;
    const address = this.#scratch;
    address.bytes.fill(0);
    address.bytes.writeUInt16LE(linux.AF_UNIX);
    name.copy(address.bytes, 2);
    // An abstract name begins with a NUL byte and ends with its length; a path ends with a NUL.
    const abstract = path.startsWith('@');
    if (abstract) address.bytes[2] = 0;
    const text = Memory.allocate(Buffer.byteLength(state));
    text.bytes.write(state);
    const fd = this.#fn.socket.int(linux.AF_UNIX, linux.SOCK_DGRAM | linux.SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    const sent = this.#fn.sendto.long(
      fd,
      text,
      BigInt(text.bytes.length),
      linux.MSG_NOSIGNAL | linux.MSG_DONTWAIT,
      address,
      2 + name.length + (abstract ? 0 : 1),
    );
    this.#fn.close.int(fd);
    return sent === BigInt(text.bytes.length);
  }

  /** Calls at once on this thread and looks at errno in the same breath. */
  #now(fn: CFunction, args: readonly CArg[]): { value: bigint; errno: number } {
    const value = fn.signature.result === 'i64' ? fn.long(...args) : BigInt(fn.int(...args));
    return { value, errno: value < 0n ? this.#errno.readInt32LE(0) : 0 };
  }

  #failure(op: string, subject: string): LhsmError {
    return callError(op, subject, this.#errno.readInt32LE(0));
  }
}

/** Looks with the room that most attributes need, and if one has more, once more with room for any. */
export async function withRoom<T>(look: (room: number) => Promise<T | undefined>): Promise<T> {
  const found = (await look(XATTR_GUESS_BYTES)) ?? (await look(XATTR_MAX_BYTES));
  if (found === undefined) throw callError('fgetxattr', 'an attribute', ERANGE);
  return found;
}

let shared: Libc | undefined;

/** The C library of this process. Main thread only. */
export function libc(): Libc {
  return (shared ??= new Libc());
}

export function loadHost(): HostOs {
  return libc();
}

/** As HostOs.sdNotify. */
export function sdNotify(state: string): boolean {
  return libc().sdNotify(state);
}

/** As HostOs.tryLock. */
export function tryLockFile(fd: number): boolean {
  return libc().tryLock(fd);
}

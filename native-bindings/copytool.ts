// A registration as copytool: receives action lists and begins actions through liblustreapi. liblustreapi.ts makes
// it; the daemon's receiver sees it as the interface Copytool. C does not check the handle: it is forgotten here
// before C frees it, and a registration ends after its actions, which point to it.
import { closeSync, readSync, writeSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { CallFrame } from './call-frame.js';
import { callPool } from './call-pool.js';
import { callOnce, CallSequence, Load, type SequencedCall } from './call-sequence.js';
import { actionSignatures, addOpenData, LlapiAction } from './copy-action.js';
import { CopytoolAction } from './constants.js';
import { errnoNumber, LhsmError } from './errors.js';
import { CELL, type CFunction, Memory } from './ffi.js';
import { layouts } from './layouts.js';
import { callError, type Libc, libc, linux } from './libc.js';
import type { ActionList, BeginOptions, CopyAction, Copytool, Fid, FileLook } from './lustre.js';
import { fidPath, formatFid } from './lustre.js';
import { decodeActionItem, decodeActionList, writeFid } from './structs.js';

export const copytoolSignatures = {
  ...actionSignatures,
  llapi_hsm_copytool_register: { result: 'i32', args: ['ptr', 'ptr', 'i32', 'ptr', 'i32'] },
  llapi_hsm_copytool_unregister: { result: 'i32', args: ['ptr'] },
  llapi_hsm_copytool_get_fd: { result: 'i32', args: ['ptr'] },
  llapi_hsm_copytool_recv: { result: 'i32', args: ['ptr', 'ptr', 'ptr'] },
  llapi_get_mdt_index_by_fid: { result: 'i32', args: ['i32', 'ptr', 'ptr'] },
  llapi_hsm_action_begin: { result: 'i32', args: ['ptr', 'ptr', 'ptr', 'i32', 'i32', 'i32'] },
} as const;

export type CopytoolFunctions = { readonly [K in keyof typeof copytoolSignatures]: CFunction };

const POINTER_BYTES = 8;
const INT_BYTES = 4;
/** The library's receive buffer (HAL_MAXSIZE of lustre_user.h). */
const MAX_LIST_BYTES = 1 << 20;
/** Lists taken in one turn before others get theirs. */
const LISTS_PER_TURN = 256;

/** Of which the MDT is remembered; a client's files of years. */
const MAX_SEQUENCES = 4096;

const EWOULDBLOCK = errnoNumber('EAGAIN');
const EPIPE = errnoNumber('EPIPE');

/** The action has begun, whatever has come of the look. */
function readOrNothing(look: (subject: string) => FileLook | undefined): FileLook | undefined {
  try {
    return look('');
  } catch {
    return undefined;
  }
}

function wake(fd: number): void {
  try {
    writeSync(fd, '!');
  } catch {
    // The pipe is full: it is readable, which is all that was wanted.
  }
}

const registerHints: Readonly<Record<string, string>> = {
  EACCES: 'Run the daemon as root.',
  EPERM: 'Run the daemon as root.',
  ENXIO:
    'The HSM coordinator is shut down: run `lctl set_param mdt.*.hsm_control=enabled` on every MDS, then try again.',
  ENOENT: 'Give the mount point of a Lustre client: a directory that has .lustre/fid.',
  ENOTDIR: 'Give the mount point of a Lustre client.',
  ENOTTY: 'This is no Lustre file system.',
  EOPNOTSUPP: 'This file system has no HSM.',
};

/** Registers as copytool. No ids, or an id 0, means every archive. Throws LhsmError. */
export async function registerCopytool(
  fn: CopytoolFunctions,
  mount: string,
  archiveIds: readonly number[],
): Promise<Copytool> {
  const handle = await callPool().run(async (frame) => {
    const cell = frame.alloc(POINTER_BYTES);
    const ids = frame.alloc(Math.max(1, archiveIds.length) * INT_BYTES);
    archiveIds.forEach((id, i) => ids.bytes.writeInt32LE(id, i * INT_BYTES));
    const args = [cell, frame.cstring(mount), archiveIds.length, ids, linux.O_NONBLOCK];
    const { value: rc } = await callOnce(frame, fn.llapi_hsm_copytool_register, args);
    if (rc < 0) {
      const error = callError('llapi_hsm_copytool_register', mount, -rc);
      const hint = registerHints[error.code];
      throw hint === undefined ? error : callError(error.op, mount, -rc, hint);
    }
    return cell.bytes.readBigUInt64LE();
  });
  const tool = new LlapiCopytool(fn, mount, handle);
  try {
    tool.open();
  } catch (error) {
    await tool.unregister();
    throw error;
  }
  return tool;
}

class LlapiCopytool implements Copytool {
  readonly #fn: CopytoolFunctions;
  readonly #mount: string;
  readonly #libc: Libc = libc();
  #handle: bigint | undefined;
  #fd = -1;
  #wakeRead = -1;
  #wakeWrite = -1;
  /** The poll has a frame of its own: it may wait for days. */
  readonly #pollFrame = new CallFrame(512);
  readonly #received = Memory.allocate(MAX_LIST_BYTES);
  /** Out parameters of recv: the list's address and size. */
  readonly #out = Memory.allocate(POINTER_BYTES + INT_BYTES);
  /** Out parameter of get_dfid. */
  readonly #fid = Memory.allocate(layouts.lu_fid.size);
  /** Errors met behind lists that were good: the lists go first. */
  #pendingError: LhsmError | undefined;
  #receiving: Promise<unknown> | undefined;
  #stopping: Promise<void> | undefined;
  /** The MDT of a FID's sequence. */
  readonly #mdts = new Map<bigint, number>();
  /** Actions that hold, or are about to hold, a pointer to this registration. */
  #actions = 0;

  constructor(fn: CopytoolFunctions, mount: string, handle: bigint) {
    this.#fn = fn;
    this.#mount = mount;
    this.#handle = handle;
  }

  /** Prepares the pipe's descriptor and the wake pipe. Throws LhsmError. */
  open(): void {
    const fd = this.#fn.llapi_hsm_copytool_get_fd.int(this.#live());
    if (fd < 0) throw callError('llapi_hsm_copytool_get_fd', this.#mount, -fd);
    this.#fd = fd;
    // A child that inherits it would keep the registration alive when the daemon has died.
    this.#libc.setCloseOnExec(fd);
    [this.#wakeRead, this.#wakeWrite] = this.#libc.pipe();
  }

  async receive(signal: AbortSignal): Promise<ActionList[]> {
    this.#live();
    if (this.#receiving) throw new Error('receive is pending already');
    const receiving = this.#receive(signal);
    this.#receiving = receiving;
    try {
      return await receiving;
    } finally {
      this.#receiving = undefined;
    }
  }

  async #receive(signal: AbortSignal): Promise<ActionList[]> {
    const onAbort = (): void => {
      wake(this.#wakeWrite);
    };
    signal.addEventListener('abort', onAbort);
    try {
      while (!signal.aborted && !this.#stopping) {
        const lists = this.#drain();
        if (lists.length > 0) {
          if (lists.length >= LISTS_PER_TURN) await setImmediate();
          return lists;
        }
        const [pipe = 0] = await this.#libc.poll(this.#pollFrame, [this.#fd, this.#wakeRead]);
        // Older libraries answer EAGAIN at the end of the pipe, too: without this, a loop that never waits.
        if ((pipe & linux.POLLIN) === 0 && (pipe & linux.POLLHUP) !== 0) {
          throw callError(
            'poll',
            `the pipe of ${this.#mount}`,
            EPIPE,
            'The kernel has dropped the registration.',
          );
        }
        this.#emptyWakePipe();
      }
      return [];
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Takes what the pipe holds, without waiting. */
  #drain(): ActionList[] {
    const handle = this.#live();
    const pending = this.#pendingError;
    this.#pendingError = undefined;
    if (pending) throw pending;
    const lists: ActionList[] = [];
    try {
      while (lists.length < LISTS_PER_TURN) {
        const list = this.#recv(handle);
        if (!list) break;
        lists.push(list);
      }
    } catch (error) {
      if (lists.length === 0 || !(error instanceof LhsmError)) throw error;
      this.#pendingError = error;
    }
    return lists;
  }

  #recv(handle: bigint): ActionList | undefined {
    const op = 'llapi_hsm_copytool_recv';
    const size = this.#out.slice(POINTER_BYTES, INT_BYTES);
    const rc = this.#fn.llapi_hsm_copytool_recv.int(handle, this.#out, size);
    if (rc === -EWOULDBLOCK) return undefined;
    if (rc < 0) {
      throw callError(op, this.#mount, -rc, 'Register anew: the pipe to the kernel cannot be used further.');
    }
    const bytes = size.bytes.readInt32LE();
    const address = this.#out.bytes.readBigUInt64LE();
    if (address === 0n || bytes < 0 || bytes > MAX_LIST_BYTES) {
      throw new LhsmError(`${op} of ${this.#mount} gave a list of ${bytes} bytes`, { code: 'EPROTO', op });
    }
    const received = this.#received.slice(0, bytes);
    this.#libc.copyIn(received, address);
    return decodeActionList(received.bytes);
  }

  async begin(item: Buffer, options: BeginOptions = {}): Promise<CopyAction> {
    const tool = this.#live();
    // C believes hai_len: bytes that are no item must not reach it.
    const { fid, action } = decodeActionItem(item);
    const ended = (): void => {
      this.#actions--;
    };
    this.#actions++;
    try {
      return await callPool().run(async (frame) => {
        const sequence = new CallSequence(frame);
        const mdt = this.#mdtOf(frame, sequence, options.mountFd, fid);
        const cell = frame.alloc(POINTER_BYTES);
        const begin = sequence.add(
          this.#fn.llapi_hsm_action_begin,
          [cell, tool, frame.copy(item), mdt.argument, options.openFlags ?? 0, options.isError ? 1 : 0],
          { after: mdt.asked?.call },
        );
        const data = options.opensData ? addOpenData(this.#fn, sequence, new Load(cell), begin) : undefined;
        const look =
          options.look &&
          libc().addLookAt(frame, sequence, fidPath(this.#mount, fid), options.look, undefined, begin);
        await sequence.run();
        for (const call of mdt.asked ? [mdt.asked.call, begin] : [begin]) {
          if (call.value < 0) throw callError(call.name, formatFid(fid), -call.value);
        }
        if (mdt.asked) this.#noteMdt(fid, mdt.asked.cell.bytes.readInt32LE());
        const handle = cell.bytes.readBigUInt64LE();
        const closesLast = action === CopytoolAction.RESTORE;
        const begun = { fn: this.#fn, fid, handle, scratch: this.#fid, closesLast, ended };
        return new LlapiAction(begun, data, look && readOrNothing(look));
      });
    } catch (error) {
      ended();
      throw error;
    }
  }

  /** A sequence of FIDs belongs to one MDT for ever (lustre_fld.h): its files need not be asked for one by one. */
  #noteMdt({ seq }: Fid, index: number): void {
    if (this.#mdts.size >= MAX_SEQUENCES) this.#mdts.clear();
    this.#mdts.set(seq, index);
  }

  /**
   * The data file must be on the MDT that holds the file: the end is sent to the data file's MDT. Without a mount it is the
   * library's to say; one that is not known yet is asked for in the sequence.
   */
  #mdtOf(
    frame: CallFrame,
    sequence: CallSequence,
    mountFd: number | undefined,
    fid: Fid,
  ): {
    readonly argument: number | Load;
    readonly asked?: { readonly cell: Memory; readonly call: SequencedCall };
  } {
    if (mountFd === undefined) return { argument: -1 };
    const known = this.#mdts.get(fid.seq);
    if (known !== undefined) return { argument: known };
    const struct = frame.alloc(layouts.lu_fid.size);
    writeFid(struct.bytes, fid);
    const cell = frame.alloc(CELL);
    const call = sequence.add(this.#fn.llapi_get_mdt_index_by_fid, [mountFd, struct, cell]);
    return { argument: new Load(cell), asked: { cell, call } };
  }

  async unregister(take: (list: ActionList) => void = () => undefined): Promise<void> {
    const handle = this.#live();
    if (this.#actions > 0) {
      throw new Error(`${this.#actions} actions still use the registration: end them first`);
    }
    // From here on #live throws, so nothing new can start.
    const stopping = Promise.resolve(this.#receiving).then(
      () => undefined,
      () => undefined,
    );
    this.#stopping = stopping;
    if (this.#wakeWrite >= 0) wake(this.#wakeWrite);
    await stopping;
    this.#handle = undefined;
    try {
      await callPool().run(async (frame) => {
        const cell = frame.alloc(POINTER_BYTES);
        cell.bytes.writeBigUInt64LE(handle);
        // The last look: what is in the pipe when it closes stays STARTED at the MDT, and nobody knows of it.
        this.#rest(handle, take);
        const { value: rc } = await callOnce(frame, this.#fn.llapi_hsm_copytool_unregister, [cell]);
        if (rc < 0) throw callError('llapi_hsm_copytool_unregister', this.#mount, -rc);
      });
    } finally {
      this.#closeWakePipe();
    }
  }

  /** Hands out everything the pipe holds; a pipe that gives an error holds nothing more. */
  #rest(handle: bigint, take: (list: ActionList) => void): void {
    const lists: ActionList[] = [];
    try {
      for (let list = this.#recv(handle); list; list = this.#recv(handle)) lists.push(list);
    } catch {
      // The registration ends either way.
    }
    lists.forEach(take);
  }

  #emptyWakePipe(): void {
    const buffer = Buffer.alloc(64);
    try {
      while (readSync(this.#wakeRead, buffer) === buffer.length);
    } catch {
      // EAGAIN: nobody woke us.
    }
  }

  #closeWakePipe(): void {
    if (this.#wakeWrite < 0) return;
    closeSync(this.#wakeRead);
    closeSync(this.#wakeWrite);
    this.#wakeRead = this.#wakeWrite = -1;
  }

  #live(): bigint {
    if (this.#handle === undefined || this.#stopping) throw new Error('the copytool is unregistered');
    return this.#handle;
  }
}

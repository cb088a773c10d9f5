// One action that has begun: the calls of liblustreapi on its handle. copytool.ts makes it; movers see it as the
// interface CopyAction. C does not check the handle: `end` frees it, a call afterwards would crash the process.
import { callPool } from './call-pool.js';
import { callOnce, CallSequence, type Load, type SequencedCall } from './call-sequence.js';
import type { LhsmError } from './errors.js';
import type { CallFrame } from './call-frame.js';
import type { CFunction, Memory } from './ffi.js';
import { layouts } from './layouts.js';
import { callError, libc } from './libc.js';
import type { CopyAction, Extent, Fid, FileLook } from './lustre.js';
import { formatFid } from './lustre.js';
import { readFid, writeExtent } from './structs.js';

export const actionSignatures = {
  llapi_hsm_action_end: { result: 'i32', args: ['ptr', 'ptr', 'i32', 'i32'] },
  llapi_hsm_action_progress: { result: 'i32', args: ['ptr', 'ptr', 'u64', 'i32'] },
  llapi_hsm_action_get_dfid: { result: 'i32', args: ['ptr', 'ptr'] },
  llapi_hsm_action_get_fd: { result: 'i32', args: ['ptr'] },
} as const;

export type ActionFunctions = { readonly [K in keyof typeof actionSignatures]: CFunction };

const POINTER_BYTES = 8;

/** Adds to a sequence: the data's descriptor, kept from children. Opening it asks the MDT. */
export function addOpenData(
  fn: ActionFunctions,
  sequence: CallSequence,
  handle: bigint | Load,
  after?: SequencedCall,
): SequencedCall {
  const open = sequence.add(fn.llapi_hsm_action_get_fd, [handle], { after });
  libc().addCloseOnExec(sequence, open.asArgument, open);
  return open;
}

export interface BegunAction {
  readonly fn: ActionFunctions;
  readonly fid: Fid;
  readonly handle: bigint;
  /** Memory for a FID, shared by all actions. */
  readonly scratch: Memory;
  /** Whether the data is closed behind the end only. */
  readonly closesLast: boolean;
  readonly ended: () => void;
}

export class LlapiAction implements CopyAction {
  readonly #begun: BegunAction;
  readonly #fn: ActionFunctions;
  #handle: bigint | undefined;
  /** What opening the data gave; undefined until it has been tried. */
  #data: number | undefined;
  /** The calls made so far: the next one waits for them. */
  #last: Promise<unknown> = Promise.resolve();

  /** `data` is the call of addOpenData, when begin has made it. */
  constructor(
    begun: BegunAction,
    data?: SequencedCall,
    readonly look?: FileLook,
  ) {
    this.#begun = begun;
    this.#fn = begun.fn;
    this.#handle = begun.handle;
    this.#data = data?.value;
  }

  dataFid(): Fid {
    const fn = this.#fn.llapi_hsm_action_get_dfid;
    const { scratch } = this.#begun;
    this.#check(fn.name, fn.int(this.#live(), scratch));
    return readFid(scratch.bytes);
  }

  openData(): Promise<number> {
    const handle = this.#live();
    return this.#next(async () => {
      this.#data ??= await callPool().run(async (frame) => {
        const sequence = new CallSequence(frame);
        const open = addOpenData(this.#fn, sequence, handle);
        await sequence.run();
        return open.value;
      });
      return this.#check(this.#fn.llapi_hsm_action_get_fd.name, this.#data);
    });
  }

  progress(extent: Extent, totalBytes: bigint, flags = 0): Promise<void> {
    const handle = this.#live();
    return this.#next(async () => {
      await callPool().run(async (frame) => {
        const fn = this.#fn.llapi_hsm_action_progress;
        const struct = frame.alloc(layouts.hsm_extent.size);
        writeExtent(struct.bytes, extent);
        const { value } = await callOnce(frame, fn, [handle, struct, totalBytes, flags]);
        this.#check(fn.name, value);
      });
    });
  }

  end(extent: Extent, flags: number, errno: number): Promise<LhsmError | undefined> {
    const handle = this.#live();
    this.#handle = undefined;
    return this.#next(async () => {
      try {
        return await callPool().run((frame) => this.#end(frame, handle, extent, flags, errno));
      } finally {
        this.#begun.ended();
      }
    });
  }

  async #end(
    frame: CallFrame,
    handle: bigint,
    extent: Extent,
    flags: number,
    errno: number,
  ): Promise<LhsmError | undefined> {
    const fn = this.#fn.llapi_hsm_action_end;
    const cell = frame.alloc(POINTER_BYTES);
    cell.bytes.writeBigUInt64LE(handle);
    const struct = frame.alloc(layouts.hsm_extent.size);
    writeExtent(struct.bytes, extent);
    const sequence = new CallSequence(frame);
    const fd = this.#data ?? -1;
    const closesLast = this.#begun.closesLast;
    let close = fd >= 0 && !closesLast ? libc().addClose(sequence, fd) : undefined;
    const end = sequence.add(fn, [cell, struct, flags, errno]);
    if (fd >= 0 && closesLast) close = libc().addClose(sequence, fd);
    await sequence.run();
    this.#check(fn.name, end.value);
    return close && close.value < 0
      ? callError('close', `the data of ${formatFid(this.#begun.fid)}`, close.errno)
      : undefined;
  }

  /** Two threads must not be in C with one handle, least of all one of them in `end`. */
  #next<T>(call: () => Promise<T>): Promise<T> {
    const result = this.#last.then(call);
    this.#last = result.catch(() => undefined);
    return result;
  }

  #check(op: string, rc: number): number {
    if (rc < 0) throw callError(op, formatFid(this.#begun.fid), -rc);
    return rc;
  }

  #live(): bigint {
    if (this.#handle === undefined) throw new Error(`the action of ${formatFid(this.#begun.fid)} has ended`);
    return this.#handle;
  }
}

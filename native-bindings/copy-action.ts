// One action that has begun: the calls of liblustreapi on its handle. copytool.ts makes it; movers see it as the
// interface CopyAction. C does not check the handle: `end` frees it, a call afterwards would crash the process.
import { callPool } from './call-pool.js';
import { type CFunction, type Memory } from './ffi.js';
import { layouts } from './layouts.js';
import { callError, libc } from './libc.js';
import type { CopyAction, Extent, Fid } from './lustre.js';
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

export class LlapiAction implements CopyAction {
  readonly #fn: ActionFunctions;
  readonly #fid: Fid;
  /** Memory for a FID, shared by all actions. */
  readonly #scratch: Memory;
  readonly #ended: () => void;
  #handle: bigint | undefined;
  /** The calls made so far: the next one waits for them. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(fn: ActionFunctions, fid: Fid, handle: bigint, scratch: Memory, ended: () => void) {
    this.#fn = fn;
    this.#fid = fid;
    this.#handle = handle;
    this.#scratch = scratch;
    this.#ended = ended;
  }

  dataFid(): Fid {
    const fn = this.#fn.llapi_hsm_action_get_dfid;
    this.#check(fn.name, fn.int(this.#live(), this.#scratch));
    return readFid(this.#scratch.bytes);
  }

  openData(): number {
    const fd = this.#check('llapi_hsm_action_get_fd', this.#fn.llapi_hsm_action_get_fd.int(this.#live()));
    libc().setCloseOnExec(fd);
    return fd;
  }

  progress(extent: Extent, totalBytes: bigint, flags = 0): Promise<void> {
    const handle = this.#live();
    return this.#next(async () => {
      const rc = await callPool().run(async (frame) => {
        const struct = frame.alloc(layouts.hsm_extent.size);
        writeExtent(struct.bytes, extent);
        return frame.int(this.#fn.llapi_hsm_action_progress, handle, struct, totalBytes, flags);
      });
      this.#check('llapi_hsm_action_progress', rc);
    });
  }

  end(extent: Extent, flags: number, errno: number): Promise<void> {
    const handle = this.#live();
    this.#handle = undefined;
    return this.#next(async () => {
      try {
        const rc = await callPool().run(async (frame) => {
          const cell = frame.alloc(POINTER_BYTES);
          cell.bytes.writeBigUInt64LE(handle);
          const struct = frame.alloc(layouts.hsm_extent.size);
          writeExtent(struct.bytes, extent);
          return frame.int(this.#fn.llapi_hsm_action_end, cell, struct, flags, errno);
        });
        this.#check('llapi_hsm_action_end', rc);
      } finally {
        this.#ended();
      }
    });
  }

  /** Two threads must not be in C with one handle, least of all one of them in `end`. */
  #next(call: () => Promise<void>): Promise<void> {
    const result = this.#last.then(call);
    this.#last = result.catch(() => undefined);
    return result;
  }

  #check(op: string, rc: number): number {
    if (rc < 0) throw callError(op, formatFid(this.#fid), -rc);
    return rc;
  }

  #live(): bigint {
    if (this.#handle === undefined) throw new Error(`the action of ${formatFid(this.#fid)} has ended`);
    return this.#handle;
  }
}

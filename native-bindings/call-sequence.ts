// Several C calls in one trip to a thread of libuv's pool, each with its errno; call-sequence.c makes them. libc.ts,
// liblustreapi.ts and those beside them compose them. Waking a thread costs more than most of the calls.
import { fileURLToPath } from 'node:url';
import { CELL, checkCount, loadLibrary, MAX_ARGS, type Memory, writeArg } from './ffi.js';
import type { CallFrame, CArg, CFunction } from './ffi.js';

/** Offsets in struct call of call-sequence.c. */
const ARGS_AT = CELL;
const RESULT_AT = ARGS_AT + MAX_ARGS * CELL;
const ERROR_AT = RESULT_AT + CELL;
const AFTER_AT = ERROR_AT + 4;
const LOADS_AT = AFTER_AT + 4;
const IS_LONG_AT = LOADS_AT + 4;
const TOLERATED_AT = IS_LONG_AT + 4;
const CALL_BYTES = TOLERATED_AT + 8;

const MAX_CALLS = 8;

/** An argument that C reads only when it makes the call: what an earlier one has put there. */
export class Load {
  constructor(readonly cell: Memory) {}
}

/** One call of a sequence; its results mean something once the sequence has run. */
export class SequencedCall {
  constructor(
    readonly name: string,
    readonly index: number,
    readonly memory: Memory,
  ) {}

  /** The result, as an argument of later calls. */
  get asArgument(): Load {
    return new Load(this.memory.slice(RESULT_AT, CELL));
  }

  /** What the function gave: below 0 a failure, its own or that of the call it was to come after. */
  get value(): number {
    return Number(this.long);
  }

  /** The same in 64 bits. */
  get long(): bigint {
    return this.memory.bytes.readBigInt64LE(RESULT_AT);
  }

  /** errno right after the call; 0 if it did not fail. */
  get errno(): number {
    return this.memory.bytes.readInt32LE(ERROR_AT);
  }
}

interface Library {
  readonly run_calls: CFunction;
}

let loaded: Library | undefined;

function library(): Library {
  return (loaded ??= loadLibrary(
    fileURLToPath(new URL('call-sequence.so', import.meta.url)),
    { run_calls: { result: 'i32', args: ['ptr', 'i32'] } },
    { missing: 'Run npm run build on this machine.', symbols: 'Run npm run build on this machine.' },
  ));
}

export interface CallOptions {
  /** Not made if that one failed. */
  readonly after?: SequencedCall | undefined;
  /** An errno that is no failure: the result is 0 then. */
  readonly tolerated?: number;
}

/** Calls in their order, on one thread, in memory of a frame. */
export class CallSequence {
  readonly #frame: CallFrame;
  readonly #memory: Memory;
  #count = 0;

  constructor(frame: CallFrame) {
    this.#frame = frame;
    this.#memory = frame.alloc(MAX_CALLS * CALL_BYTES);
  }

  /** Adds a call. What its pointers point to must be memory of the frame, or outlive the run. */
  add(fn: CFunction, args: readonly (CArg | Load)[], options: CallOptions = {}): SequencedCall {
    if (this.#count === MAX_CALLS) throw new RangeError('too many calls in one sequence');
    checkCount(fn, args);
    const memory = this.#memory.slice(this.#count * CALL_BYTES, CALL_BYTES);
    const { bytes } = memory;
    bytes.writeBigUInt64LE(fn.entry);
    let loads = 0;
    args.forEach((arg, i) => {
      const at = ARGS_AT + i * CELL;
      if (arg instanceof Load) {
        loads |= 1 << i;
        bytes.writeBigUInt64LE(arg.cell.address, at);
      } else writeArg(bytes, at, fn, i, arg);
    });
    bytes.writeInt32LE(options.after?.index ?? -1, AFTER_AT);
    bytes.writeUInt32LE(loads, LOADS_AT);
    bytes.writeUInt32LE(fn.signature.result === 'i64' ? 1 : 0, IS_LONG_AT);
    bytes.writeInt32LE(options.tolerated ?? 0, TOLERATED_AT);
    return new SequencedCall(fn.name, this.#count++, memory);
  }

  /** Makes them. */
  async run(): Promise<void> {
    await this.#frame.int(library().run_calls, this.#memory, this.#count);
  }
}

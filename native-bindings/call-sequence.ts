// Several C calls in one trip to a thread, each with its errno; call-sequence.c makes them. libc.ts, liblustreapi.ts and
// those beside them compose them. Waking a thread costs more than most of the calls.
import type { CallFrame } from './call-frame.js';
import { CELL, checkCount, MAX_ARGS, type Memory, writeArg, type CArg, type CFunction } from './ffi.js';

/** Offsets in struct call of call-sequence.h. */
const ARGS_AT = CELL;
const RESULT_AT = ARGS_AT + MAX_ARGS * CELL;
const ERROR_AT = RESULT_AT + CELL;
const TOLERATED_AT = ERROR_AT + 4;
const LOADS_AT = TOLERATED_AT + 4;
const IS_LONG_AT = LOADS_AT + 4;
const AFTER_AT = IS_LONG_AT + 4;
const NEXT_AT = AFTER_AT + CELL;
const CALL_BYTES = NEXT_AT + CELL;

const LONG_RESULTS: readonly string[] = ['i64', 'u64', 'ptr'];

/** An argument that C reads only when it makes the call: what an earlier one has put there. */
export class Load {
  constructor(readonly cell: Memory) {}
}

/** One call of a sequence; its results mean something once the sequence has run. */
export class SequencedCall {
  constructor(
    readonly name: string,
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

export interface CallOptions {
  /** Not made if that one failed. */
  readonly after?: SequencedCall | undefined;
  /** An errno that is no failure: the result is 0 then. */
  readonly tolerated?: number;
}

/** Calls in their order, on one thread, in memory of a frame. */
export class CallSequence {
  readonly #frame: CallFrame;
  #first: Memory | undefined;
  #last: Memory | undefined;

  constructor(frame: CallFrame) {
    this.#frame = frame;
  }

  /** Adds a call. What its pointers point to must be memory of the frame, or outlive the run. */
  add(fn: CFunction, args: readonly (CArg | Load)[], options: CallOptions = {}): SequencedCall {
    checkCount(fn, args);
    const memory = this.#frame.alloc(CALL_BYTES);
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
    bytes.writeInt32LE(options.tolerated ?? 0, TOLERATED_AT);
    bytes.writeUInt32LE(loads, LOADS_AT);
    bytes.writeUInt32LE(LONG_RESULTS.includes(fn.signature.result) ? 1 : 0, IS_LONG_AT);
    bytes.writeBigUInt64LE(options.after?.memory.address ?? 0n, AFTER_AT);
    this.#first ??= memory;
    this.#last?.bytes.writeBigUInt64LE(memory.address, NEXT_AT);
    this.#last = memory;
    return new SequencedCall(fn.name, memory);
  }

  /** Makes them. Rejects with LhsmError when there is no thread to. */
  run(): Promise<void> {
    return this.#frame.make(this.#first?.address ?? 0n);
  }
}

/** One call alone; resolves when it has been made. */
export async function callOnce(
  frame: CallFrame,
  fn: CFunction,
  args: readonly CArg[],
): Promise<SequencedCall> {
  const sequence = new CallSequence(frame);
  const call = sequence.add(fn, args);
  await sequence.run();
  return call;
}

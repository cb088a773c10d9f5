// Several C calls in one trip to a thread, each with its errno; call-sequence.c makes them. libc.ts, liblustreapi.ts and
// those beside them compose them. Waking a thread costs more than most of the calls.
import type { CallFrame } from './call-frame.js';
import { CELL, checkCount, MAX_ARGS, writeArg, type CArg, type CFunction } from './ffi.js';
import type { Place } from './place.js';

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

/** All that is more than one byte is the processor's, which is little-endian (structs.ts). */
const LITTLE = true;

/** An argument that C reads only when it makes the call: what an earlier one has put there. */
export class Load {
  constructor(readonly cell: { readonly address: bigint }) {}
}

/** One call of a sequence; its results mean something once the sequence has run. */
export class SequencedCall {
  constructor(
    readonly name: string,
    readonly place: Place,
  ) {}

  /** The result, as an argument of later calls. */
  get asArgument(): Load {
    return new Load({ address: this.place.address + BigInt(RESULT_AT) });
  }

  /** What the function gave: below 0 a failure, its own or that of the call it was to come after. */
  get value(): number {
    return Number(this.long);
  }

  /** The same in 64 bits. */
  get long(): bigint {
    const { view, at } = this.place;
    return view.getBigInt64(at + RESULT_AT, LITTLE);
  }

  /** errno right after the call; 0 if it did not fail. */
  get errno(): number {
    const { view, at } = this.place;
    return view.getInt32(at + ERROR_AT, LITTLE);
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
  #first: Place | undefined;
  #last: Place | undefined;

  constructor(frame: CallFrame) {
    this.#frame = frame;
  }

  /** Adds a call. What its pointers point to must be memory of the frame, or outlive the run. */
  add(fn: CFunction, args: readonly (CArg | Load)[], options: CallOptions = {}): SequencedCall {
    checkCount(fn, args);
    const place = this.#frame.place(CALL_BYTES);
    const { view, at } = place;
    view.setBigUint64(at, fn.entry, LITTLE);
    let loads = 0;
    for (let i = 0; i < MAX_ARGS; i += 1) {
      const arg = args[i];
      const argAt = at + ARGS_AT + i * CELL;
      // A cell in part is all zeros where nothing is written.
      view.setBigUint64(argAt, 0n, LITTLE);
      if (arg instanceof Load) {
        loads |= 1 << i;
        view.setBigUint64(argAt, arg.cell.address, LITTLE);
      } else if (i < args.length) writeArg(view, argAt, fn, i, arg);
    }
    view.setBigInt64(at + RESULT_AT, 0n, LITTLE);
    view.setInt32(at + ERROR_AT, 0, LITTLE);
    view.setInt32(at + TOLERATED_AT, options.tolerated ?? 0, LITTLE);
    view.setUint32(at + LOADS_AT, loads, LITTLE);
    view.setUint32(at + IS_LONG_AT, LONG_RESULTS.includes(fn.signature.result) ? 1 : 0, LITTLE);
    view.setBigUint64(at + AFTER_AT, options.after?.place.address ?? 0n, LITTLE);
    view.setBigUint64(at + NEXT_AT, 0n, LITTLE);
    this.#first ??= place;
    this.#last?.view.setBigUint64(this.#last.at + NEXT_AT, place.address, LITTLE);
    this.#last = place;
    return new SequencedCall(fn.name, place);
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

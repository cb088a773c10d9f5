// Memory of C's that only numbers are written to, call after call: call-sequence.ts and call-threads.ts lay structs out in it, ffi.ts
// arguments.
import type { Memory } from './ffi.js';

/** Memory that only numbers are written to. */
export interface Place {
  readonly view: DataView;
  /** Where it begins in the view, and for C. */
  readonly at: number;
  readonly address: bigint;
}

/** The same bytes: V8 compiles a DataView's methods to a load or store, which a Buffer's of 64 bits are not. */
export function viewOf({ buffer, byteOffset, byteLength }: Buffer): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

/** The whole of a memory, which the view keeps alive. */
export function placeOf({ bytes, address }: Memory): Place {
  return { view: viewOf(bytes), at: 0, address };
}

/** A DataView would write a part of what does not fit. */
export function within<T extends number | bigint>(value: T, least: T, most: T): T {
  if (value >= least && value <= most) return value;
  throw new RangeError(`${value} is not from ${least} to ${most}`);
}

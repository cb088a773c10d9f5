// The one file that knows ffi-napi and ref-napi: loads C libraries, calls their functions, and lends
// memory to C. liblustreapi.ts and libc.ts call it. Sizes are bytes, addresses bigint: never a JS number.
import { createRequire } from 'node:module';
import { isMainThread } from 'node:worker_threads';
import { LhsmError } from './errors.js';
import { viewOf, within } from './place.js';

/** What of ffi-napi's lib/bindings is used here; the version is pinned in package.json. */
interface Bindings {
  readonly FFI_CIF_SIZE: number;
  readonly FFI_DEFAULT_ABI: number;
  readonly FFI_OK: number;
  readonly RTLD_NOW: number;
  readonly FFI_TYPES: Readonly<Record<string, Buffer | undefined>>;
  readonly StaticFunctions: Readonly<Record<'dlopen' | 'dlsym' | 'dlerror', Buffer>>;
  ffi_prep_cif(cif: Buffer, count: number, result: Buffer, types: Buffer, abi: number): number;
  ffi_call(cif: Buffer, fn: Buffer, result: Buffer, argv: Buffer): void;
}

/** What of ref-napi is used here. */
interface Ref {
  /** Hexadecimal, without 0x. */
  hexAddress(buffer: Buffer): string;
  readPointer(cell: Buffer, offset: number, length: number): Buffer;
  readCString(memory: Buffer, offset: number): string;
}

let native: { readonly bindings: Bindings; readonly ref: Ref } | undefined;

function load(): { readonly bindings: Bindings; readonly ref: Ref } {
  if (native) return native;
  // The addon's per-environment clean-up crashes at a worker's exit.
  if (!isMainThread) throw new Error('native-bindings/ffi.ts works on the main thread only');
  const require = createRequire(import.meta.url);
  native = { bindings: require('ffi-napi/lib/bindings') as Bindings, ref: require('ref-napi') as Ref };
  return native;
}

/** Types of C values. A `ptr` takes Memory, an address, or null. */
export type CType = 'i32' | 'u32' | 'i64' | 'u64' | 'ptr';
export type CArg = number | bigint | Memory | null;
export interface Signature {
  readonly result: CType | 'void';
  readonly args: readonly CType[];
}
export type SignatureTable = Readonly<Record<string, Signature>>;

const ffiTypeNames = {
  i32: 'int32',
  u32: 'uint32',
  i64: 'int64',
  u64: 'uint64',
  ptr: 'pointer',
  void: 'void',
} as const;

function ffiType(type: CType | 'void'): Buffer {
  const buffer = load().bindings.FFI_TYPES[ffiTypeNames[type]];
  if (!buffer) throw new Error(`ffi-napi has no type ${ffiTypeNames[type]}`);
  return buffer;
}

/** Bytes outside the JavaScript heap, which never move, and their address. */
export class Memory {
  private constructor(
    readonly bytes: Buffer,
    readonly address: bigint,
  ) {}

  /** Zeroed memory that lives as long as the object: keep it referenced while C may use it. */
  static allocate(size: number): Memory {
    // V8 keeps typed arrays of up to 64 bytes in its heap, where the collector moves them.
    const whole = Buffer.alloc(Math.max(size, 128));
    const address = BigInt(`0x${load().ref.hexAddress(whole)}`);
    return new Memory(whole.subarray(0, size), address);
  }

  /** A part of this memory. */
  slice(offset: number, size: number): Memory {
    if (offset < 0 || size < 0 || offset + size > this.bytes.length)
      throw new RangeError('beyond the memory');
    return new Memory(this.bytes.subarray(offset, offset + size), this.address + BigInt(offset));
  }
}

export const CELL = 8;
export const MAX_ARGS = 9;
/** Result, argument pointers and argument values. */
const HEAD_BYTES = CELL + MAX_ARGS * CELL * 2;

/** Where one call's arguments and result live; argument i's value is at cell i for ever. */
class Cells {
  readonly result: Buffer;
  readonly argv: Buffer;
  readonly #values: DataView;

  constructor(head: Memory) {
    this.result = head.bytes.subarray(0, CELL);
    this.argv = head.bytes.subarray(CELL, CELL + MAX_ARGS * CELL);
    this.#values = viewOf(head.bytes.subarray(CELL + MAX_ARGS * CELL, HEAD_BYTES));
    const first = head.address + BigInt(CELL + MAX_ARGS * CELL);
    for (let i = 0; i < MAX_ARGS; i++) this.argv.writeBigUInt64LE(first + BigInt(i * CELL), i * CELL);
  }

  write(fn: CFunction, args: readonly CArg[]): void {
    checkCount(fn, args);
    for (let i = 0; i < args.length; i++) writeArg(this.#values, i * CELL, fn, i, args[i]);
  }
}

/** Throws TypeError unless the function takes so many arguments. */
export function checkCount(fn: CFunction, args: readonly unknown[]): void {
  const { length } = fn.signature.args;
  if (args.length !== length) throw new TypeError(`${fn.name} takes ${length} arguments, not ${args.length}`);
}

const U64_MAX = (1n << 64n) - 1n;
const I64_MAX = U64_MAX >> 1n;

/** Writes argument `i` of a call to the cell at `at`. Throws TypeError for what is no such argument, RangeError for what does not fit. */
export function writeArg(
  view: DataView,
  at: number,
  fn: CFunction,
  i: number,
  value: CArg | undefined,
): void {
  const type = fn.signature.args[i];
  if (type === 'i32' && typeof value === 'number')
    view.setInt32(at, within(value, -0x8000_0000, 0x7fff_ffff), true);
  else if (type === 'u32' && typeof value === 'number')
    view.setUint32(at, within(value, 0, 0xffff_ffff), true);
  else if (type === 'i64' && typeof value === 'bigint')
    view.setBigInt64(at, within(value, -I64_MAX - 1n, I64_MAX), true);
  else if (type === 'u64' && typeof value === 'bigint')
    view.setBigUint64(at, within(value, 0n, U64_MAX), true);
  else if (type === 'ptr' && typeof value === 'bigint')
    view.setBigUint64(at, within(value, 0n, U64_MAX), true);
  else if (type === 'ptr' && value instanceof Memory) view.setBigUint64(at, value.address, true);
  else if (type === 'ptr' && value === null) view.setBigUint64(at, 0n, true);
  else throw new TypeError(`argument ${i + 1} of ${fn.name} is no ${String(type)}`);
}

/**
 * A C function. `int`, `long` and `address` are prepared calls: over the same buffers each time, about 2 µs,
 * nothing allocated in C, on the calling (main) thread: for what is local and returns at once. What may
 * wait goes into a CallSequence.
 */
export class CFunction {
  readonly #cells: Cells;
  /** libffi keeps a pointer to the types: both live as long as the function. */
  readonly cif: Buffer;
  readonly types: Buffer;
  /** Where its code is. */
  readonly entry: bigint;

  constructor(
    readonly name: string,
    readonly pointer: Buffer,
    readonly signature: Signature,
  ) {
    const { bindings, ref } = load();
    if (signature.args.length > MAX_ARGS) throw new RangeError(`${name} has too many arguments`);
    this.#cells = new Cells(Memory.allocate(HEAD_BYTES));
    this.entry = BigInt(`0x${ref.hexAddress(pointer)}`);
    this.cif = Memory.allocate(bindings.FFI_CIF_SIZE).bytes;
    this.types = Memory.allocate(MAX_ARGS * CELL).bytes;
    signature.args.forEach((type, i) => {
      this.types.writeBigUInt64LE(BigInt(`0x${ref.hexAddress(ffiType(type))}`), i * CELL);
    });
    const { length } = signature.args;
    const status = bindings.ffi_prep_cif(
      this.cif,
      length,
      ffiType(signature.result),
      this.types,
      bindings.FFI_DEFAULT_ABI,
    );
    if (status !== bindings.FFI_OK) throw new Error(`ffi_prep_cif of ${name}: status ${status}`);
  }

  #call(args: readonly CArg[]): Buffer {
    this.#cells.write(this, args);
    load().bindings.ffi_call(this.cif, this.pointer, this.#cells.result, this.#cells.argv);
    return this.#cells.result;
  }

  /** Calls it now; the result as a C int (0 for a void function). */
  int(...args: readonly CArg[]): number {
    const result = this.#call(args);
    return this.signature.result === 'void' ? 0 : result.readInt32LE(0);
  }

  /** Calls it now; the result as a signed 64-bit value. */
  long(...args: readonly CArg[]): bigint {
    return this.#call(args).readBigInt64LE(0);
  }

  /** Calls it now; the result as an address, 0n for NULL. */
  address(...args: readonly CArg[]): bigint {
    return this.#call(args).readBigUInt64LE(0);
  }
}

/** The C memory at an address, as a Buffer that C may change at any time. For addresses that stay valid for ever. */
export function memoryAt(address: bigint, size: number): Buffer {
  const cell = Memory.allocate(CELL).bytes;
  cell.writeBigUInt64LE(address);
  return load().ref.readPointer(cell, 0, size);
}

interface Loader {
  readonly dlopen: CFunction;
  readonly dlsym: CFunction;
  readonly dlerror: CFunction;
}

let loader: Loader | undefined;

function dl(): Loader {
  const { StaticFunctions: fns } = load().bindings;
  loader ??= {
    dlopen: new CFunction('dlopen', fns.dlopen, { result: 'ptr', args: ['ptr', 'i32'] }),
    dlsym: new CFunction('dlsym', fns.dlsym, { result: 'ptr', args: ['ptr', 'ptr'] }),
    dlerror: new CFunction('dlerror', fns.dlerror, { result: 'ptr', args: [] }),
  };
  return loader;
}

function dlerror(): string {
  const address = dl().dlerror.address();
  return address === 0n ? 'unknown error' : load().ref.readCString(memoryAt(address, 1), 0);
}

export interface LibraryAdvice {
  /** What the operator does when the library is not there, or is no library. */
  readonly missing: string;
  /** What the operator does when functions are missing in it. */
  readonly symbols: string;
}

/**
 * Loads a shared library (null: what the process has loaded already, the C library among it) and the
 * functions of the table. It stays loaded. Throws LhsmError LIBRARY_MISSING, LIBRARY_INVALID or
 * LIBRARY_SYMBOLS, naming the library and every symbol it lacks.
 */
export function loadLibrary<const T extends SignatureTable>(
  library: string | null,
  table: T,
  advice: LibraryAdvice,
): { readonly [K in keyof T]: CFunction } {
  const op = 'dlopen';
  const subject = library ?? 'the C library';
  const name = library === null ? null : cName(library);
  const handle = dl().dlopen.address(name, load().bindings.RTLD_NOW);
  if (handle === 0n) {
    const reason = dlerror();
    const missing = reason.startsWith(`${subject}: cannot open shared object file: No such file`);
    const why = reason.startsWith(`${subject}: `) ? reason.slice(subject.length + 2) : reason;
    throw new LhsmError(missing ? `Library ${subject} is not there.` : `Cannot load ${subject}: ${why}.`, {
      code: missing ? 'LIBRARY_MISSING' : 'LIBRARY_INVALID',
      op,
      hint: advice.missing,
    });
  }
  const functions: [string, CFunction][] = [];
  const lacking: string[] = [];
  for (const [symbol, signature] of Object.entries(table)) {
    const address = dl().dlsym.address(handle, cName(symbol));
    if (address === 0n) lacking.push(symbol);
    else functions.push([symbol, new CFunction(symbol, memoryAt(address, 1), signature)]);
  }
  if (lacking.length > 0) {
    throw new LhsmError(`Library ${subject} lacks ${lacking.join(', ')}.`, {
      code: 'LIBRARY_SYMBOLS',
      op: 'dlsym',
      hint: advice.symbols,
    });
  }
  return Object.fromEntries(functions) as { readonly [K in keyof T]: CFunction };
}

function cName(text: string): Memory {
  const memory = Memory.allocate(Buffer.byteLength(text) + 1);
  memory.bytes.write(text);
  return memory;
}

// Memory for what asynchronous C calls are given and give back, and the trip to a thread that makes them. call-pool.ts lends
// frames out; call-sequence.ts puts calls into them.
import { callThreads, TRIP_BYTES } from './call-threads.js';
import { LhsmError } from './errors.js';
import { CELL, Memory } from './ffi.js';
import { placeOf, viewOf, type Place } from './place.js';

/** Room for one trip at a time. The frame keeps everything alive until C is through with it. */
export class CallFrame {
  readonly #trip = placeOf(Memory.allocate(TRIP_BYTES));
  readonly #arena: Memory;
  readonly #view: DataView;
  #used = 0;
  #large: Memory[] = [];
  #busy = false;

  constructor(arenaBytes = 16 * 1024) {
    this.#arena = Memory.allocate(arenaBytes);
    this.#view = viewOf(this.#arena.bytes);
  }

  /** Zeroed memory, valid until `reset`. */
  alloc(size: number): Memory {
    const start = this.#take(size);
    if (start === undefined) return this.#allocLarge(size);
    const memory = this.#arena.slice(start, size);
    memory.bytes.fill(0);
    return memory;
  }

  /** The same, but what is in it is left to the caller: cheaper, for what is written as a whole. */
  place(size: number): Place {
    const start = this.#take(size);
    if (start !== undefined) {
      return { view: this.#view, at: start, address: this.#arena.address + BigInt(start) };
    }
    return placeOf(this.#allocLarge(size));
  }

  /** Where in the arena; undefined when there is no room in it. */
  #take(size: number): number | undefined {
    const start = this.#used;
    const end = start + Math.ceil(size / CELL) * CELL;
    if (end > this.#arena.bytes.length) return undefined;
    this.#used = end;
    return start;
  }

  #allocLarge(size: number): Memory {
    const memory = Memory.allocate(size);
    this.#large.push(memory);
    return memory;
  }

  /** A copy of the bytes. */
  copy(bytes: Buffer): Memory {
    const memory = this.alloc(bytes.length);
    bytes.copy(memory.bytes);
    return memory;
  }

  /** A NUL-terminated copy; throws LhsmError EINVAL where the text holds a NUL itself. */
  cstring(text: string | Buffer): Memory {
    const bytes = typeof text === 'string' ? Buffer.from(text) : text;
    if (bytes.includes(0)) {
      throw new LhsmError(`a name or path holds a NUL byte: ${JSON.stringify(bytes.toString())}`, {
        code: 'EINVAL',
        op: 'cstring',
      });
    }
    const memory = this.alloc(bytes.length + 1);
    bytes.copy(memory.bytes);
    return memory;
  }

  /** Gives back the memory of `alloc`. */
  reset(): void {
    if (this.#busy) throw new Error('a frame was reset while C still used it');
    this.#used = 0;
    this.#large = [];
  }

  /** Has a thread make the list of calls that begins at the address. Rejects with LhsmError when there is no thread. */
  make(calls: bigint): Promise<void> {
    if (this.#busy) return Promise.reject(new Error('the frame is in use'));
    return new Promise((resolve, reject) => {
      callThreads().start(this.#trip, calls, (failure) => {
        // `this`, held by this closure, holds every buffer that C was using.
        this.#busy = false;
        if (failure) reject(failure);
        else resolve();
      });
      this.#busy = true;
    });
  }
}

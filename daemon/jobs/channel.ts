// A short queue between who makes things and who takes them, each waiting for the other. tree-walk.ts hands batches over
// through it.

/** Holds `capacity` values at most. */
export class Channel<T> {
  readonly #values: T[] = [];
  readonly #capacity: number;
  #wakeTaker: (() => void) | undefined;
  readonly #makers: (() => void)[] = [];
  #end: { readonly error?: unknown } | undefined;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Waits for room; false when nobody takes any more. */
  async put(value: T): Promise<boolean> {
    while (this.#values.length >= this.#capacity && !this.#end) {
      await new Promise<void>((resolve) => this.#makers.push(resolve));
    }
    if (this.#end) return false;
    this.#values.push(value);
    this.#wakeTaker?.();
    return true;
  }

  /** What is queued is still taken; then `take` answers undefined, or rejects with the error. */
  close(end: { readonly error?: unknown } = {}): void {
    this.#end ??= end;
    this.#wakeTaker?.();
    for (const wake of this.#makers.splice(0)) wake();
  }

  /** The next value; undefined when there will be none. One taker at a time. */
  async take(): Promise<T | undefined> {
    while (this.#values.length === 0) {
      if (this.#end) {
        if ('error' in this.#end) throw this.#end.error;
        return undefined;
      }
      await new Promise<void>((resolve) => (this.#wakeTaker = resolve));
      this.#wakeTaker = undefined;
    }
    const value = this.#values.shift();
    this.#makers.shift()?.();
    return value;
  }
}

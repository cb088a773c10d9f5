// What ends a piece of work, for one that is too small to pay for an AbortController: that costs some ten microseconds, most
// of them the garbage collector's. Each action has one, the transfer engine makes one for each transfer, its workers for each request.

/** What a piece of work looks at and listens to. */
export type Ends = AbortSignal | Stop;

/** A signal of its own is made only for who needs one. */
export class Stop {
  #aborted = false;
  #reason: Error | undefined;
  #control: AbortController | undefined;
  readonly #listeners: (() => void)[] = [];

  get aborted(): boolean {
    return this.#aborted;
  }

  get signal(): AbortSignal {
    this.#control ??= new AbortController();
    if (this.#aborted) this.#control.abort(this.#reason);
    return this.#control.signal;
  }

  /** As AbortSignal has it; an AbortError where no reason was given. */
  get reason(): unknown {
    return this.#reason ?? (this.signal.reason as unknown);
  }

  /** As AbortSignal has it. */
  throwIfAborted(): void {
    if (this.#aborted) throw this.reason;
  }

  /** Calls who listens, once; not those that come later. */
  abort(reason?: Error): void {
    if (this.#aborted) return;
    this.#aborted = true;
    this.#reason = reason;
    this.#control?.abort(reason);
    for (const listener of this.#listeners.splice(0)) listener();
  }

  /** As AbortSignal has it. */
  addEventListener(type: 'abort', listener: () => void, options: { readonly once: true }): void;
  addEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners.push(listener);
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    const index = this.#listeners.indexOf(listener);
    if (index >= 0) this.#listeners.splice(index, 1);
  }
}

/** For who takes nothing but a signal. */
export function signalOf(ends: Ends): AbortSignal {
  return ends instanceof Stop ? ends.signal : ends;
}

// Several loops that work on one transfer: the first failure or the caller's abort stops all, and nobody is left
// behind. download.ts and upload.ts run their ranges and blocks in one.
import { setMaxListeners } from 'node:events';
import { canceled } from '../azure-errors.js';
import type { Ends } from '../stop.js';

export class WorkGroup {
  readonly #op: string;
  readonly #control = new AbortController();
  readonly #outer: Ends;
  readonly #tasks: Promise<void>[] = [];
  #failure: { readonly error: unknown } | undefined;

  /** Follows `outer` until `finish` is over. */
  constructor(op: string, outer: Ends) {
    this.#op = op;
    this.#outer = outer;
    // A listener for each request in flight is no leak.
    setMaxListeners(0, this.signal);
    if (outer.aborted) this.#stop();
    else outer.addEventListener('abort', this.#stop, { once: true });
  }

  /** Aborts when a task fails or the caller aborts. */
  get signal(): AbortSignal {
    return this.#control.signal;
  }

  /** Starts a task; a running task may start others. */
  run(task: () => Promise<void>): void {
    const guarded = async (): Promise<void> => {
      try {
        await task();
      } catch (error) {
        this.#failure ??= { error };
        this.#control.abort();
      }
    };
    this.#tasks.push(guarded());
  }

  /** Waits for every task, those started meanwhile too; throws the first failure, ECANCELED when the caller aborted. */
  async finish(): Promise<void> {
    try {
      for (let next = this.#tasks.shift(); next !== undefined; next = this.#tasks.shift()) await next;
    } finally {
      this.#outer.removeEventListener('abort', this.#stop);
    }
    if (this.#failure === undefined) return;
    throw this.#outer.aborted ? canceled(this.#op) : this.#failure.error;
  }

  readonly #stop = (): void => {
    this.#control.abort();
  };
}

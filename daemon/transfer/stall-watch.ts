// Aborts one download request when no byte comes for a while. download.ts makes one for each request.
import { LhsmError } from '../../native-bindings/errors.js';

/**
 * Ticks only while the network is waited for: `reset` when that begins anew, `hold` while a slow disk is. `signal`
 * aborts on a stall or with `outer`.
 */
export class StallWatch {
  readonly #timeoutMs: number;
  readonly #control = new AbortController();
  readonly #outer: AbortSignal;
  #timer: NodeJS.Timeout | undefined;
  #stalled = false;
  /** Counts whatever happens, so that a suspicion can be dropped. */
  #turn = 0;

  constructor(timeoutMs: number, outer: AbortSignal) {
    this.#timeoutMs = timeoutMs;
    this.#outer = outer;
    if (outer.aborted) this.#abort();
    else outer.addEventListener('abort', this.#abort, { once: true });
    this.reset();
  }

  get signal(): AbortSignal {
    return this.#control.signal;
  }

  reset(): void {
    this.#turn += 1;
    if (this.#timer) this.#timer.refresh();
    else this.#timer = setTimeout(this.#suspect, this.#timeoutMs);
  }

  hold(): void {
    this.#turn += 1;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** The stall as an error, when it is what ended the request. */
  stallError(subject: string): LhsmError | undefined {
    if (!this.#stalled) return undefined;
    return new LhsmError(`Get Blob: ${subject} sent no byte for ${this.#timeoutMs} ms.`, {
      code: 'UNREACHABLE',
      op: 'Get Blob',
      errno: 11, // EAGAIN
      retryable: true,
    });
  }

  /** Frees timer and listener. */
  done(): void {
    this.hold();
    this.#outer.removeEventListener('abort', this.#abort);
  }

  /** Time is up; but after a busy turn of the event loop, timers come before the bytes that have long been there. */
  readonly #suspect = (): void => {
    this.#timer = undefined;
    const turn = this.#turn;
    setImmediate(() => {
      if (turn !== this.#turn) return;
      this.#stalled = true;
      this.#control.abort();
    });
  };

  readonly #abort = (): void => {
    this.#control.abort();
  };
}

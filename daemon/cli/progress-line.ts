// How something goes on, for people: one line that changes on a terminal, else a line now and then.
import { printable } from './format.js';
import type { Io } from './io.js';

/** Where nothing can be overwritten, a line that often. */
const LINE_MS = 10_000;

export class ProgressLine {
  readonly #io: Io;
  #state: string | undefined;
  #lineMs = -Infinity;

  constructor(io: Io) {
    this.#io = io;
  }

  /** A line of its own whenever the state is another one. */
  show(text: string, state: string): void {
    const { terminal, clock, columns, out } = this.#io;
    const line = printable(text);
    if (terminal) {
      // A line that the terminal breaks in two could not be overwritten.
      out(`\r\u001b[K${line.slice(0, Math.max(1, columns() - 1))}`);
      return;
    }
    const nowMs = clock.now();
    if (state === this.#state && nowMs - this.#lineMs < LINE_MS) return;
    this.#state = state;
    this.#lineMs = nowMs;
    out(`${new Date(nowMs).toISOString()}  ${line}\n`);
  }

  /** Before anything else is said. */
  clear(): void {
    if (this.#io.terminal) this.#io.out('\r\u001b[K');
  }
}

// Where GETs of one origin go: a route of get-threads.ts, and the addresses it leads to. thread-gets.ts has one for each origin.
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { GetRoute } from '../../native-bindings/get-threads.js';

/** A host's addresses are asked for anew when they are that old: accounts move. */
const ADDRESSES_MS = 60_000;
/** Who answers in chunks, say, is going to do so again: for that long the workers are asked alone. */
const AVOID_MS = 60_000;

export class Way {
  readonly route: GetRoute;
  readonly #host: string;
  #hasAddresses = false;
  #lookedUpMs = -Infinity;
  #looking: Promise<void> | undefined;
  #avoidedUntilMs = -Infinity;

  constructor(route: GetRoute, host: string) {
    this.route = route;
    this.#host = host;
  }

  /** Whether it leads anywhere; a promise only for the first who asks, and after a failure. */
  get isOpen(): boolean | Promise<boolean> {
    if (this.#looking === undefined && performance.now() - this.#lookedUpMs > ADDRESSES_MS) {
      this.#looking = this.#lookUp();
    }
    if (performance.now() < this.#avoidedUntilMs) return false;
    return this.#hasAddresses || (this.#looking?.then(() => this.#hasAddresses) ?? false);
  }

  /** What comes is not understood there. */
  avoid(): void {
    this.#avoidedUntilMs = performance.now() + AVOID_MS;
  }

  async #lookUp(): Promise<void> {
    try {
      const found = isIP(this.#host) === 0 ? await lookup(this.#host, { all: true }) : undefined;
      this.route.setAddresses(found?.map(({ address }) => address) ?? [this.#host]);
      this.#hasAddresses = true;
      this.#lookedUpMs = performance.now();
    } catch {
      // The workers, who are asked then, say what is wrong.
      this.#hasAddresses = false;
    } finally {
      this.#looking = undefined;
    }
  }
}

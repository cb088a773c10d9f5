// A share of libuv's threads. Archives read from OSTs, and one that hangs would otherwise hold thread after thread until
// no restore, heartbeat or cancel finds one any more. agent-parts.ts gives archives and removes such a share.
import type { Lustre } from '../native-bindings/lustre.js';

/** Lets so many pieces of work go on at once, first come first served. */
export class Share {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(atOnce: number) {
    this.#free = Math.max(1, atOnce);
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    }
  }
}

/** Bounds nothing. */
export const UNLIMITED: Pick<Share, 'run'> = { run: (work) => work() };

/** The same file system, its asynchronous calls within a share. */
export function within(share: Share, lustre: Lustre): Lustre {
  return new Proxy(lustre, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      const call = (...args: unknown[]): unknown => Reflect.apply(value, target, args);
      if (name === 'fsname') return call;
      return (...args: unknown[]) => share.run(() => call(...args) as Promise<unknown>);
    },
  });
}

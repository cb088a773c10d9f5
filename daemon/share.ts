// A share of the threads that wait in C. Archives read from OSTs, and one that hangs would otherwise hold thread after thread until
// no restore, heartbeat or cancel finds one any more. agent-parts.ts gives archives and removes such a share.
import type { Lustre } from '../native-bindings/lustre.js';
import { signalOf, type Ends } from './stop.js';

/** Lets so many pieces of work go on at once, first come first served. */
export class Share {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(atOnce: number) {
    this.#free = Math.max(1, atOnce);
  }

  /** Rejects with the reason of `stop` when it aborts before it is our turn. */
  async run<T>(work: () => Promise<T>, stop?: Ends): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await this.#turn(stop);
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    }
  }

  #turn(stop: Ends | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(grant), 1);
        reject(reasonOf(stop));
      };
      const grant = (): void => {
        stop?.removeEventListener('abort', leave);
        resolve();
      };
      if (stop?.aborted) {
        reject(reasonOf(stop));
        return;
      }
      stop?.addEventListener('abort', leave, { once: true });
      this.#waiting.push(grant);
    });
  }
}

/** Of a stop that has come. */
function reasonOf(stop: Ends | undefined): Error {
  return (stop && signalOf(stop))?.reason as Error;
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

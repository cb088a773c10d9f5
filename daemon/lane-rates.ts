// How fast each lane goes, over the last minute: actions ended, and bytes moved, those in flight included. agent.ts makes one, the
// status asks it.
import { LANES, type ActionKind, type AgentEmitter, type Lane } from './events.js';
import { Rates } from './jobs/rates.js';

const SAMPLE_MS = 5_000;

export interface LaneRate {
  readonly actionsPerSecond: number;
  readonly bytesPerSecond: number;
}

interface Moving {
  readonly kind: ActionKind;
  readonly bytes: number;
}

const isLane = (kind: ActionKind): kind is Lane => (LANES as readonly string[]).includes(kind);

export class LaneRates {
  readonly #inFlight: () => Iterable<Moving>;
  readonly #rates: Rates;
  readonly #actions: Record<Lane, number> = { restore: 0, remove: 0, archive: 0 };
  readonly #bytes: Record<Lane, number> = { restore: 0, remove: 0, archive: 0 };
  /** The most so far: a transfer that begins anew counts its bytes anew. */
  readonly #seen: Record<Lane, number> = { restore: 0, remove: 0, archive: 0 };
  readonly #off: () => void;
  readonly #timer: NodeJS.Timeout;
  #last: Readonly<Record<string, number>> = {};

  constructor(
    events: Pick<AgentEmitter, 'on'>,
    inFlight: () => Iterable<Moving>,
    now: () => number = () => performance.now(),
  ) {
    this.#inFlight = inFlight;
    this.#rates = new Rates(now);
    this.#off = events.on('finished', ({ kind, bytes }) => {
      if (!isLane(kind)) return;
      this.#actions[kind] += 1;
      this.#bytes[kind] += bytes;
    });
    this.#timer = setInterval(() => {
      this.sample();
    }, SAMPLE_MS).unref();
    this.sample();
  }

  rate(lane: Lane): LaneRate {
    return {
      actionsPerSecond: this.#last[`${lane} actions`] ?? 0,
      bytesPerSecond: Math.round(this.#last[`${lane} bytes`] ?? 0),
    };
  }

  /** Also called by the timer. */
  sample(): void {
    const moved = { ...this.#bytes };
    for (const { kind, bytes } of this.#inFlight()) if (isLane(kind)) moved[kind] += bytes;
    const counts: Record<string, number> = {};
    for (const lane of LANES) {
      this.#seen[lane] = Math.max(this.#seen[lane], moved[lane]);
      counts[`${lane} actions`] = this.#actions[lane];
      counts[`${lane} bytes`] = this.#seen[lane];
    }
    this.#last = this.#rates.sample(counts);
  }

  close(): void {
    this.#off();
    clearInterval(this.#timer);
  }
}

// What went slow in the last minutes, counted from the events: throttles and retries by the minute, and the ceilings that accounts
// have set. agent.ts makes one, the doctor and the status ask it.
import type { AgentEmitter } from '../events.js';
import type { DoctorFinding } from './doctor-report.js';

const MINUTES = 5;
const MINUTE_MS = 60_000;
/** So few in five minutes are everyday. */
const FEW_THROTTLES = 20;

interface Minute {
  readonly number: number;
  throttles: number;
  requests: number;
}

export class RecentTroubles {
  readonly #now: () => number;
  #minutes: Minute[] = [];
  /** By account and direction: requests at once since its last throttle. */
  readonly #limits = new Map<string, { readonly requests: number; readonly atMs: number }>();

  constructor(events: Pick<AgentEmitter, 'on'>, now: () => number = () => performance.now()) {
    this.#now = now;
    events.on('finished', ({ throttles }) => {
      this.#minute().throttles += throttles;
      this.#minute().requests += 1;
    });
    events.on('containerRequest', ({ what }) => {
      if (what === 'throttle') this.#minute().throttles += 1;
    });
  }

  /** An account asked for patience: from now on so many requests go to it at once. */
  limited(account: string, direction: string, requests: number): void {
    this.#limits.set(`${account} (${direction})`, { requests, atMs: this.#now() });
  }

  /** Answers 503, 500 OperationTimedOut and 429 in the last minutes. */
  get throttles(): number {
    this.#minute();
    return this.#minutes.reduce((sum, { throttles }) => sum + throttles, 0);
  }

  findings(): DoctorFinding[] {
    const { throttles } = this;
    if (throttles < FEW_THROTTLES) return [];
    const limits = [...this.#limits]
      .filter(([, { atMs }]) => this.#now() - atMs < MINUTES * MINUTE_MS)
      .map(([account, { requests }]) => `${account} down to ${requests} requests at once`);
    return [
      {
        severity: 'warning',
        code: 'THROTTLING',
        what: [`the service has asked for patience ${throttles} times in ${MINUTES} minutes`, ...limits].join(
          '; ',
        ),
        hint: "It is at the account's limits: spread the data over several accounts, lower transfer.max_requests, or ask Azure for more.",
      },
    ];
  }

  #minute(): Minute {
    const number = Math.floor(this.#now() / MINUTE_MS);
    const last = this.#minutes.at(-1);
    if (last?.number === number) return last;
    const minute = { number, throttles: 0, requests: 0 };
    this.#minutes = [...this.#minutes.filter((each) => number - each.number < MINUTES), minute];
    return minute;
  }
}

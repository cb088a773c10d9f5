// What the agent remembers for its status: totals and last errors, kept from the events. agent.ts owns one.
import { errnoFor, errnoName, LhsmError } from '../native-bindings/errors.js';
import { RECENT_ERRORS, type KindTotals, type RecentError } from './control/agent-control.js';
import { ACTION_KINDS, type ActionKind, type AgentEmitter } from './events.js';
import type { Action } from './hsm/action.js';

const NOTHING: KindTotals = { succeeded: 0, failed: 0, canceled: 0, retry: 0, bytes: 0 };

export class StatusMemory {
  readonly #totals = Object.fromEntries(ACTION_KINDS.map((kind) => [kind, NOTHING])) as Record<
    ActionKind,
    KindTotals
  >;
  readonly #errors: RecentError[] = [];

  constructor(events: AgentEmitter) {
    events.on('finished', ({ kind, result, bytes }) => {
      const before = this.#totals[kind];
      this.#totals[kind] = { ...before, [result]: before[result] + 1, bytes: before.bytes + bytes };
    });
  }

  get totals(): Readonly<Record<ActionKind, KindTotals>> {
    return { ...this.#totals };
  }

  get lastErrors(): readonly RecentError[] {
    return [...this.#errors];
  }

  /** Keeps an error of an action, or (undefined) of the agent itself. */
  note(action: Action | undefined, error: unknown): void {
    this.#errors.push({
      time: new Date().toISOString(),
      fid: action?.fid,
      cookie: action && `0x${action.item.cookie.toString(16)}`,
      kind: action?.kind,
      code: error instanceof LhsmError ? error.code : 'INTERNAL',
      errno: errnoName(errnoFor(error)),
      message: error instanceof Error ? error.message : String(error),
      hint: error instanceof LhsmError ? error.hint : undefined,
    });
    if (this.#errors.length > RECENT_ERRORS) this.#errors.shift();
  }
}

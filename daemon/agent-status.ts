// What the agent says of itself: how its parts are now, and totals and last errors, kept from the events. agent.ts asks.
import { errnoFor, errnoName, LhsmError } from '../native-bindings/errors.js';
import type { Parts } from './agent-parts.js';
import type { Config } from './config/config.js';
import {
  RECENT_ERRORS,
  type AgentStatus,
  type InFlightStatus,
  type KindTotals,
  type RecentError,
} from './control/agent-control.js';
import { ACTION_KINDS, type ActionKind, type AgentEmitter } from './events.js';
import type { Action } from './hsm/action.js';
import type { Receiver } from './hsm/receiver.js';
import type { LaneRates } from './lane-rates.js';

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

type PartsStatus = Pick<
  AgentStatus,
  'fsname' | 'registered' | 'archives' | 'lanes' | 'inFlight' | 'journal' | 'job' | 'operations'
>;

/** Operations that the status shows. */
const OPERATIONS = 10;

/** How the parts are; there are none yet, or none any more, without them. */
export function partsStatus(parts: Parts | undefined, config: Config, rates: LaneRates): PartsStatus {
  const nowMs = performance.now();
  return {
    fsname: parts?.fsname,
    registered: parts?.registration.registered ?? false,
    archives: config.archives.map(({ id, container, prefix }) => {
      const problem = parts ? parts.readiness.problem(id) : 'not probed yet';
      return { id, container, prefix, ready: problem === undefined, problem };
    }),
    lanes: (parts?.scheduler.lanes() ?? []).map(({ lane, queued, running, oldestReceivedAtMs }) => ({
      lane,
      queued,
      running,
      oldestQueuedMs: oldestReceivedAtMs === undefined ? undefined : Math.round(nowMs - oldestReceivedAtMs),
      ...rates.rate(lane),
    })),
    inFlight: parts ? [...inFlight(parts.receiver, nowMs)] : [],
    journal: { items: parts?.journal.items ?? 0, sizeBytes: parts?.journal.sizeBytes ?? 0 },
    job: parts?.jobs.current,
    operations: parts?.operations.list.slice(0, OPERATIONS) ?? [],
  };
}

export function* inFlight(receiver: Receiver, nowMs: number): Iterable<InFlightStatus> {
  for (const action of receiver.actions()) {
    if (!action.begun) continue;
    yield {
      fid: action.fid,
      cookie: `0x${action.item.cookie.toString(16)}`,
      kind: action.kind,
      archiveId: action.archiveId,
      blob: action.blob,
      ageMs: Math.round(nowMs - action.receivedAtMs),
      bytes: action.counters.bytes,
      sizeBytes: action.sizeBytes === undefined ? undefined : Number(action.sizeBytes),
      blocking: action.blocking,
    };
  }
}

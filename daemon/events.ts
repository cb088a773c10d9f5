// What happens in the agent, as typed events: hsm/ and agent.ts emit them, metrics.ts and tests listen.
// Nobody's work depends on a listener: one that throws is reported and otherwise ignored.
import type { JobKind, JobState } from './jobs/job.js';

/** What an action does. `unknown` is an action number that we do not know. */
export type ActionKind = 'archive' | 'restore' | 'remove' | 'cancel' | 'unknown';

/** The scheduler's queues, the most urgent first. */
export type Lane = 'restore' | 'remove' | 'archive';

export const ACTION_KINDS: readonly ActionKind[] = ['archive', 'restore', 'remove', 'cancel', 'unknown'];
export const LANES: readonly Lane[] = ['restore', 'remove', 'archive'];

/** How an action ended: `retry` is a failure ended with HP_FLAG_RETRY. */
export type ActionResult = 'succeeded' | 'failed' | 'canceled' | 'retry';

/** Items of one kind in one received list. */
export interface ReceivedEvent {
  readonly archiveId: number;
  readonly kind: ActionKind;
  readonly count: number;
  /** Somebody's open or read waits for them. */
  readonly blocking: boolean;
}

/** A receive buffer of which not everything could be decoded. */
export interface MalformedEvent {
  readonly archiveId: number;
  /** Items that were good and went on. */
  readonly decoded: number;
  /** What was wrong, in words. */
  readonly reason: string;
}

/** An action has joined its lane. */
export interface QueuedEvent {
  readonly kind: ActionKind;
  readonly lane: Lane;
}

/** `begin` has returned; from here on the action counts as in flight. */
export interface BegunEvent {
  readonly kind: ActionKind;
  readonly lane: Lane;
  /** From its receipt until now. */
  readonly queuedMs: number;
}

/** An action has ended at the MDT (or the end itself failed); exactly one for every action received. */
export interface FinishedEvent {
  readonly kind: ActionKind;
  /** As `formatFid` prints it. */
  readonly fid: string;
  readonly archiveId: number;
  readonly result: ActionResult;
  /** What the MDT was told; 0 for success. */
  readonly errno: number;
  /** LhsmError.code of the failure; undefined for success. */
  readonly code: string | undefined;
  /** What failed, and what to do, in words; undefined for success. */
  readonly reason: string | undefined;
  /** What the request carried (`lfs hsm_archive --data`); left out where it carried nothing. */
  readonly data?: Buffer | undefined;
  /** Content bytes moved. */
  readonly bytes: number;
  /** From its receipt until its end: what a blocked reader feels. */
  readonly durationMs: number;
  /** Of that, the time before `begin`. */
  readonly queuedMs: number;
  /** From the receipt of a restore until its first byte of content; undefined when there was none. */
  readonly firstByteMs: number | undefined;
  /** Requests sent again. */
  readonly retries: number;
  /** Answers 503, 500 OperationTimedOut and 429. */
  readonly throttles: number;
  readonly blocking: boolean;
}

/** A progress that moved no bytes was sent, to keep the request alive. */
export interface HeartbeatEvent {
  readonly kind: ActionKind;
}

/** The journal's state after an append of ends, a group commit or a compaction. */
export interface JournalEvent {
  readonly op: 'opened' | 'appended' | 'committed' | 'compacted';
  /** Items begun and not ended. */
  readonly items: number;
  readonly sizeBytes: number;
}

/** What became of one item that a dead process had left in the journal. */
export interface RecoveredEvent {
  readonly kind: ActionKind;
  /** Taken up again; ended with an error because that was impossible; or no longer known to the MDT. */
  readonly outcome: 'redone' | 'cleared' | 'forgotten';
}

export interface RegisteredEvent {
  readonly archiveIds: readonly number[];
  /** False for the first registration of this process. */
  readonly again: boolean;
}

export interface UnregisteredEvent {
  readonly reason: 'shutdown' | 'reregister';
}

/** A try to reach an archive's container. */
export interface ProbedEvent {
  readonly archiveId: number;
  readonly container: string;
  readonly ready: boolean;
  /** LhsmError.code when not ready. */
  readonly code: string | undefined;
}

/** A request that moves no content (a look, a directory stub, a delete, a probe) is sent again, or was asked for patience. */
export interface ContainerRequestEvent {
  readonly what: 'retry' | 'throttle';
}

/** What a job of this node has come to; every few seconds, and at its end. */
export interface JobEvent {
  readonly kind: JobKind;
  readonly name: string;
  readonly state: JobState;
  /** By the names of the job's document. */
  readonly counts: Readonly<Record<string, number>>;
}

/** A SIGHUP or `lhsm-azblob reload` was carried out. */
export interface ReloadedEvent {
  readonly ok: boolean;
  /** Configuration keys, as in the file. */
  readonly applied: readonly string[];
  readonly needRestart: readonly string[];
}

/** Every event and what it carries. */
export interface AgentEvents {
  received: ReceivedEvent;
  malformed: MalformedEvent;
  queued: QueuedEvent;
  begun: BegunEvent;
  finished: FinishedEvent;
  heartbeat: HeartbeatEvent;
  journal: JournalEvent;
  recovered: RecoveredEvent;
  registered: RegisteredEvent;
  unregistered: UnregisteredEvent;
  probed: ProbedEvent;
  containerRequest: ContainerRequestEvent;
  job: JobEvent;
  reloaded: ReloadedEvent;
}

type Listener<T> = (event: T) => void;
/** Every listener as the emitter keeps it; `on` and `emit` see to it that name and event fit. */
type AnyListener = Listener<never>;

/** A typed emitter. Listeners are called at once and in order; one that throws does not stop the others. */
export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<AnyListener>>();
  readonly #onListenerError: (error: unknown) => void;

  /** `onListenerError` hears what a listener throws. */
  constructor(
    onListenerError: (error: unknown) => void = () => {
      // Without a hearer, a listener's mistake is its own.
    },
  ) {
    this.#onListenerError = onListenerError;
  }

  /** Listens until the function returned is called. */
  on<Name extends keyof Events>(name: Name, listener: Listener<Events[Name]>): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => {
      listeners.delete(listener);
    };
  }

  /** The next event of this name; rejects with the signal's reason when it aborts first. */
  next<Name extends keyof Events>(name: Name, signal?: AbortSignal): Promise<Events[Name]> {
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        off();
        reject(signal?.reason as Error);
      };
      const off = this.on(name, (event) => {
        off();
        signal?.removeEventListener('abort', abort);
        resolve(event);
      });
      if (signal?.aborted) abort();
      else signal?.addEventListener('abort', abort, { once: true });
    });
  }

  emit<Name extends keyof Events>(name: Name, event: Events[Name]): void {
    const listeners = this.#listeners.get(name);
    if (!listeners) return;
    for (const listener of listeners) {
      try {
        (listener as unknown as Listener<Events[Name]>)(event);
      } catch (error) {
        this.#onListenerError(error);
      }
    }
  }
}

/** The agent's emitter. */
export class AgentEmitter extends Emitter<AgentEvents> {}

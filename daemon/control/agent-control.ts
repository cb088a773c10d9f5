// What the admin API, /readyz and the command line ask of the running agent. agent.ts implements it;
// control/ calls it. Plain data, JSON-safe: 64-bit values are strings, so that clients lose no digit.
import type { DoctorReport } from '../doctor/doctor-report.js';
import type { ActionKind, Lane } from '../events.js';
import type { KnownAgent } from '../jobs/agent-board.js';
import type { JobDocument } from '../jobs/job.js';
import type { OperationDocument } from '../jobs/operation.js';
import type { JobsControl } from './jobs-control.js';
import type { OperationsControl } from './operations-control.js';

/** An archive id and its container. */
export interface ArchiveStatus {
  readonly id: number;
  /** As in the configuration: URL or bare name, never with a SAS. */
  readonly container: string;
  readonly prefix: string;
  /** The last probe of the container went well. */
  readonly ready: boolean;
  /** Why not, with the mend; undefined when ready. */
  readonly problem: string | undefined;
}

export interface LaneStatus {
  readonly lane: Lane;
  readonly queued: number;
  readonly running: number;
  /** Age of the action that waits longest; undefined when none waits. */
  readonly oldestQueuedMs: number | undefined;
  /** Ended, and moved, over the last minute. */
  readonly actionsPerSecond: number;
  readonly bytesPerSecond: number;
}

/** An action that has begun and not ended. */
export interface InFlightStatus {
  /** `[0x…:0x…:0x…]` */
  readonly fid: string;
  /** `0x…` */
  readonly cookie: string;
  readonly kind: ActionKind;
  readonly archiveId: number;
  /** The blob's name; undefined until it is known. */
  readonly blob: string | undefined;
  /** Since its receipt. */
  readonly ageMs: number;
  /** Content bytes moved so far. */
  readonly bytes: number;
  /** Undefined until it is known. */
  readonly sizeBytes: number | undefined;
  readonly blocking: boolean;
}

/** One of the last errors. */
export interface RecentError {
  /** ISO 8601, UTC. */
  readonly time: string;
  readonly fid: string | undefined;
  readonly cookie: string | undefined;
  readonly kind: ActionKind | undefined;
  readonly code: string;
  /** The errno's name. */
  readonly errno: string;
  readonly message: string;
  readonly hint: string | undefined;
}

/** How many of the last errors the agent keeps. */
export const RECENT_ERRORS = 20;

export interface JournalStatus {
  /** Items begun and not ended. */
  readonly items: number;
  readonly sizeBytes: number;
}

/** What one kind of action has come to since the start. */
export interface KindTotals {
  readonly succeeded: number;
  readonly failed: number;
  readonly canceled: number;
  readonly retry: number;
  readonly bytes: number;
}

export interface AgentStatus {
  readonly version: string;
  readonly pid: number;
  readonly mount: string;
  /** The file system's name, `lustre` say; undefined until the mount has been looked at. */
  readonly fsname: string | undefined;
  readonly state: 'starting' | 'running' | 'stopping';
  readonly registered: boolean;
  /** Since the start of the process. */
  readonly uptimeMs: number;
  readonly archives: readonly ArchiveStatus[];
  readonly lanes: readonly LaneStatus[];
  readonly inFlight: readonly InFlightStatus[];
  readonly totals: Readonly<Record<ActionKind, KindTotals>>;
  /** The newest last; at most RECENT_ERRORS. */
  readonly lastErrors: readonly RecentError[];
  readonly journal: JournalStatus;
  /** The import or export that runs in this process. */
  readonly job: JobDocument | undefined;
  /** Those that run, and the last that ran; the newest first. */
  readonly operations: readonly OperationDocument[];
}

/** The answer to GET /v1/status. */
export interface FullStatus extends AgentStatus {
  /** Of the whole file system, this one included; empty without a logging container. */
  readonly agents: readonly KnownAgent[];
  /** Why the agents of other nodes are not known. */
  readonly agentsProblem?: string;
}

export interface ReregisterResult {
  readonly registered: boolean;
  readonly archiveIds: readonly number[];
}

/** Keys are named as in the configuration file. */
export interface ReloadResult {
  /** Changed and in force. */
  readonly applied: readonly string[];
  /** Changed in the file, but in force only after a restart. */
  readonly needRestart: readonly string[];
}

/** The running agent. Methods reject with LhsmError, whose message and hint reach the operator. */
export interface AgentControl {
  status(): AgentStatus;
  /** All agents of the file system; empty without a logging container. Rejects when that does not answer. */
  agents(signal: AbortSignal): Promise<readonly KnownAgent[]>;
  /** The configuration in force, as describeConfig of config/describe.ts puts it: no secret, no file's content. */
  config(): Readonly<Record<string, unknown>>;
  /**
   * Unregisters and registers again. Actions that run may finish within the grace time, then they are ended with
   * RETRY; queued ones stay queued.
   */
  reregister(signal: AbortSignal): Promise<ReregisterResult>;
  /** Reads the configuration again (as SIGHUP does). With CONFIG errors nothing changes. */
  reload(signal: AbortSignal): Promise<ReloadResult>;
  /** Throws LhsmError code LOGGING_CONTAINER_UNSET where there can be no jobs, NOT_SERVING before there can be. */
  readonly jobs: JobsControl;
  /** Throws LhsmError code NOT_SERVING before there can be any. */
  readonly operations: OperationsControl;
  readonly doctor: {
    /** What keeps work from being done, as far as the daemon sees it; within seconds. */
    examine(signal: AbortSignal): Promise<DoctorReport>;
    /** Archives a small file under each archive id, in a directory (else the mount's root), and removes it again. */
    probe(directory: string | undefined, signal: AbortSignal): Promise<DoctorReport>;
  };
  logLevel(): string;
  /** Until the next reload or restart. `level` has been checked. */
  setLogLevel(level: string): void;
}

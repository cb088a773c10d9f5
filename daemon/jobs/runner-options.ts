// What the runner of jobs is given: agent-jobs.ts gives it, runner.ts hands it on to begin-job.ts, take-up-job.ts and
// stored-jobs.ts.
import type { Logger } from 'pino';
import type { AgentEmitter } from '../events.js';
import type { JobKind } from './job.js';
import type { JobStore } from './job-store.js';
import type { WorkMaker } from './job-work.js';
import type { LocalState } from './local-state.js';
import type { LockContainer } from './lock.js';

/** Where jobs of this file system are kept. */
export interface JobPlace {
  readonly store: JobStore;
  readonly container: LockContainer;
}

export interface RunnerOptions {
  readonly mount: string;
  readonly local: LocalState;
  /** The file system's folder in the logging container; rejects while there is none to be had. */
  readonly place: (signal: AbortSignal) => Promise<JobPlace>;
  readonly works: Readonly<Record<JobKind, WorkMaker>>;
  readonly events: AgentEmitter;
  readonly log: Logger;
  readonly checkpointMs: () => number;
}

/** How long the end of a job may take that nobody can wait for: a daemon that stops, a start that has failed. */
export const LAST_WORDS_MS = 5_000;

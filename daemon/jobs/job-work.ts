// What the runner wants of the work of a job, be it an import or an export: import.ts and export.ts give it.
import type { RequestNotice } from './asked-file.js';
import type { Logger } from 'pino';
import type { JobReport } from './report.js';
import { LhsmError } from '../../native-bindings/errors.js';
import type { ExportCounts, ImportCounts, JobDocument, JobState } from './job.js';

/** Why a job stops before its work is done. Only a cancel ends it: after the others somebody goes on with it. */
export type Stop = 'cancel' | 'shutdown' | 'lock';

/** The reason with which the signal of `run` aborts. */
export class JobStopped extends LhsmError {
  readonly stop: Stop;

  constructor(stop: Stop, message: string, cause?: unknown) {
    super(message, { code: 'ECANCELED', op: 'job', cause });
    this.stop = stop;
  }
}

/** Whether the job stops for somebody to go on with it: then nothing is withdrawn. */
export function isLeft(signal: AbortSignal): boolean {
  return signal.reason instanceof JobStopped && signal.reason.stop !== 'cancel';
}

/** How far a job is, in units of its own. */
export interface WorkProgress {
  readonly done: number;
  readonly total: number;
}

/** What a job's work is given. */
export interface WorkContext {
  readonly document: JobDocument;
  readonly report: JobReport;
  /** What `snapshot` said last before a restart; undefined for a job that begins. */
  readonly snapshot: unknown;
  /** Nanoseconds since 1970: what the job makes has no ctime before that. */
  readonly startedNs: bigint;
  /** A folder of the job's own on the local disk; the runner removes it when the job is over. */
  readonly scratch: string;
  readonly log: Logger;
}

/** The work of one job. */
export interface JobWork {
  /**
   * Does it. Rejects with LhsmError for what fails the job as a whole, and with the signal's reason once that has
   * aborted and nothing is under way any more. `save` has the snapshot saved out of turn, if that is possible; it never rejects.
   */
  run(signal: AbortSignal, save: () => Promise<void>): Promise<void>;
  /** As of now, what is under way included. */
  counts(): ImportCounts | ExportCounts;
  /** Whether something was left undone though the work ran to its end. */
  isPartial(): boolean;
  /**
   * Where to go on, as JSON, and at the same moment nothing more than what was added to the report; undefined where a restart
   * begins again, and then nothing has been added to the report.
   */
  snapshot(): unknown;
  /** Resolves when what the snapshot relies on is on disk. */
  flush(): Promise<void>;
  /** The job is over: counts and reports what is only half done as well. */
  settle(): void;
  /** Where it can be told. */
  progress?(): WorkProgress | undefined;
  /** What it is at; `InProgress` where it does not say. */
  state?(): Extract<JobState, 'FSScanInProgress' | 'InProgress'>;
  /** One sentence of what goes on. */
  message(): string;
  /** What the coordinator lets it wait for. */
  notice?(): RequestNotice | undefined;
  /** Frees what it holds. */
  close(): Promise<void>;
}

/** Makes the work of a job: checks what can be checked before anything is touched, and rejects with what is wrong. */
export type WorkMaker = (context: WorkContext, signal: AbortSignal) => Promise<JobWork>;

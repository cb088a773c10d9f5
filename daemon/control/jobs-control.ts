// What the admin API asks of the one who runs jobs. The runner implements it, admin.ts calls it.
import type { JobDocument } from '../jobs/job.js';
import type { JobRequest } from '../jobs/job-request.js';

export const LOG_FORMATS = ['jsonl', 'csv'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

/** The jobs of this file system, whichever node runs them. Methods reject with LhsmError. */
export interface JobsControl {
  /**
   * Checks the wish, takes the lock, begins; resolves once the job runs. `signal` is of the start only: it aborts when
   * nobody waits for the answer any more. Codes JOB_SPEC, JOB_RUNNING, and those of the logging container.
   */
  start(request: JobRequest, signal: AbortSignal): Promise<JobDocument>;
  /** Newest first. */
  list(limit: number, signal: AbortSignal): Promise<readonly JobDocument[]>;
  /** Code JOB_UNKNOWN. */
  show(name: string, signal: AbortSignal): Promise<JobDocument>;
  /** Wherever it runs. Resolves when the wish is known to the holder or noted for it, not when the job has ended. */
  cancel(name: string, signal: AbortSignal): Promise<JobDocument>;
  /** The job's log as raw bytes, read no faster than they are taken. Code JOB_UNKNOWN before the first byte. */
  log(name: string, format: LogFormat, signal: AbortSignal): AsyncIterable<Uint8Array>;
}

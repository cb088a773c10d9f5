// How many errors a job may have before it fails. import.ts and export.ts ask after each error.
import { LhsmError } from '../../native-bindings/errors.js';
import type { JobSpec, LogEntry } from './job.js';

/** LhsmError code TOO_MANY_ERRORS when the last error is one too many; undefined when the job may go on. */
export function tooManyErrors(
  { kind, maximumErrors }: Pick<JobSpec, 'kind' | 'maximumErrors'>,
  errors: number,
  last: LogEntry,
): LhsmError | undefined {
  if (maximumErrors < 0 || errors <= maximumErrors) return undefined;
  const allowed = maximumErrors === 0 ? 'no error is' : `${maximumErrors} errors are`;
  return new LhsmError(
    `The ${kind} stops, since ${allowed} allowed: ${last.code} at ${last.path}: ${last.message}`,
    {
      code: 'TOO_MANY_ERRORS',
      op: kind,
      hint: 'Mend it, or allow errors with --max-errors; -1 allows any number.',
    },
  );
}

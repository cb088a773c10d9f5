// How a job is marked that nobody works on any more because of an error: begin-job.ts, take-up-job.ts and runner-lock.ts
// call it.
import type { Logger } from 'pino';
import { describeError, LhsmError } from '../../native-bindings/errors.js';
import type { JobDocument } from './job.js';
import type { JobFolder } from './job-folder.js';
import { LAST_WORDS_MS } from './runner-options.js';

/** The document of a job that ends now, with this error. */
export function failed(document: JobDocument, error: unknown): JobDocument {
  const time = new Date().toISOString();
  const message = describeError(error);
  return {
    ...document,
    state: 'Failed',
    statusMessage: message,
    errorCode: error instanceof LhsmError ? error.code : 'INTERNAL',
    errorMessage: message,
    updatedTime: time,
    lastCompletionTime: time,
  };
}

/** Nobody shall find a job in progress that is not. Never rejects. */
export async function markFailed(
  folder: JobFolder,
  document: JobDocument,
  error: unknown,
  log: Logger,
): Promise<void> {
  // What ended the job must not end this as well.
  const signal = AbortSignal.timeout(LAST_WORDS_MS);
  await folder.writeStatus(failed(document, error), signal).catch((second: unknown) => {
    log.warn({ job: document.name, err: second }, 'a job that failed could not be marked so');
  });
}

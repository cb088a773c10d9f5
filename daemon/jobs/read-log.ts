// Reads a job's log back, all its parts as one. The command line's `jobs log` gets it through the admin API.
import { hasCode, LhsmError } from '../../native-bindings/errors.js';
import type { JobStore } from './job-store.js';
import { logFormats, logPart, type LogFormatName } from './log-format.js';

/** The bytes as far as they are written, a CSV with one header. Rejects with JOB_UNKNOWN when there is no log. */
export async function* readLog(
  store: JobStore,
  job: string,
  format: LogFormatName,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, undefined> {
  const headerBytes = Buffer.byteLength(logFormats[format].header);
  for (let part = 1; ; part += 1) {
    const blob = store.blobName(job, logPart(format, part));
    try {
      yield* store.container.readFrom(blob, part === 1 ? 0 : headerBytes, signal);
    } catch (error) {
      if (!hasCode(error, 'BLOB_MISSING')) throw error;
      if (part > 1) return;
      throw new LhsmError(`There is no log of a job called ${job}.`, {
        code: 'JOB_UNKNOWN',
        op: 'job log',
        errno: 2,
        hint: 'See `lhsm-azblob jobs list` for the jobs of this file system.',
        cause: error,
      });
    }
  }
}

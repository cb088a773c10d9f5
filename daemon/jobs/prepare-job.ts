// Makes of a job whose lock is taken and whose folder is there one that can run: its work, its scratch folder. begin-job.ts
// and take-up-job.ts call it.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunnerOptions } from './runner-options.js';
import { RunningJob, type RunningJobParts } from './running-job.js';
import { StatusFile } from './status-file.js';

/** Clocks of client and server may differ by so much: in doubt a stub is the job's own. */
const CLOCK_TOLERANCE_NS = 2_000_000_000n;

/** A job whose lock is taken and whose folder is there. */
export type BegunJob = Pick<RunningJobParts, 'document' | 'folder' | 'lock' | 'report'> & {
  readonly snapshot: unknown;
};

/** Rejects with what its work has to say against it, or the local disk; then the report is closed. */
export async function prepareJob(
  options: RunnerOptions,
  begun: BegunJob,
  signal: AbortSignal,
): Promise<RunningJob> {
  const { mount, local, works, events, log, checkpointMs } = options;
  const { document, snapshot, report } = begun;
  const startedNs = BigInt(Date.parse(document.lastStartedTime)) * 1_000_000n - CLOCK_TOLERANCE_NS;
  const scratch = join(local.folder, document.id);
  try {
    await mkdir(scratch, { recursive: true, mode: 0o700 });
    const work = await works[document.kind](
      { document, report, snapshot, startedNs, scratch, log: log.child({ job: document.name }) },
      signal,
    );
    const statusFile = document.spec.dryRun ? undefined : new StatusFile(mount, document);
    return new RunningJob({ ...begun, work, statusFile, scratch, events, log, checkpointMs: checkpointMs() });
  } catch (error) {
    await report.close();
    throw error;
  }
}

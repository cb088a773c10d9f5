// Begins a job: the lock, its first document, its work. runner.ts calls it for whoever wishes one.
import { randomUUID } from 'node:crypto';
import { markFailed } from './failed-job.js';
import type { JobDocument, JobSpec } from './job.js';
import { emptyCounts } from './job-counts.js';
import type { CurrentJob } from './local-state.js';
import { prepareJob } from './prepare-job.js';
import { JobReport } from './report.js';
import { giveLockBack, takeLock, thisHolder } from './runner-lock.js';
import type { RunnerOptions } from './runner-options.js';
import type { RunningJob } from './running-job.js';

/**
 * Throws LhsmError: JOB_RUNNING when another runs anywhere; JOB_EXISTS; whatever the checks of its kind find. Then the lock is
 * free again, and no document says that the job is in progress.
 */
export async function beginJob(
  options: RunnerOptions,
  spec: JobSpec,
  signal: AbortSignal,
): Promise<RunningJob> {
  const { local, log, mount } = options;
  const place = await options.place(signal);
  const document = firstDocument(spec, mount);
  const current: CurrentJob = { name: spec.name, kind: spec.kind, id: document.id, leaseId: randomUUID() };
  const lock = await takeLock(options, place, current, document.lastStartedTime, signal);
  try {
    const folder = await place.store.create(document, signal);
    try {
      local.write(current);
      const report = await JobReport.create(folder, {}, signal);
      return await prepareJob(options, { folder, lock, report, document, snapshot: undefined }, signal);
    } catch (error) {
      await markFailed(folder, document, error, log);
      local.clear();
      throw error;
    }
  } catch (error) {
    await giveLockBack(lock, log);
    throw error;
  }
}

function firstDocument(spec: JobSpec, mount: string): JobDocument {
  const started = new Date().toISOString();
  return {
    schema: 1,
    id: randomUUID().slice(0, 8),
    name: spec.name,
    kind: spec.kind,
    state: spec.kind === 'export' ? 'FSScanInProgress' : 'InProgress',
    statusMessage: 'Starting.',
    spec,
    holder: thisHolder(mount),
    lastStartedTime: started,
    updatedTime: started,
    resumes: 0,
    counts: emptyCounts(spec.kind),
    rates: {},
  };
}

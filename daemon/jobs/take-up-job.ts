// Goes on with a job that a dead process, or a lock that was lost, has left: from its checkpoint, if it is still ours.
// runner.ts calls it, again and again while the service does not answer.
import { hasCode, LhsmError } from '../../native-bindings/errors.js';
import { markFailed } from './failed-job.js';
import { isFinal, type JobDocument } from './job.js';
import type { CurrentJob } from './local-state.js';
import type { JobLock } from './lock.js';
import { prepareJob } from './prepare-job.js';
import { JobReport, reportPosition, type ReportPosition } from './report.js';
import { giveLockBack, takeLock, thisHolder } from './runner-lock.js';
import type { JobPlace, RunnerOptions } from './runner-options.js';
import type { Checkpoint, RunningJob } from './running-job.js';

/** Everything that stands in the log may be there already. */
const BEGIN_OF_REPORT: ReportPosition = { jsonl: { part: 1, bytes: 0 }, csv: { part: 1, bytes: 0 } };

/** undefined when there is nothing to go on with; then the local state is cleared. Rejects with what passes. */
export async function takeUpJob(
  options: RunnerOptions,
  current: CurrentJob,
  signal: AbortSignal,
): Promise<RunningJob | undefined> {
  const { local, log } = options;
  const place = await options.place(signal);
  const status = await place.store.status(current.name, signal);
  if (!status || isFinal(status.state)) {
    local.clear();
    return undefined;
  }
  let lock: JobLock;
  try {
    lock = await takeLock(options, place, current, status.lastStartedTime, signal);
  } catch (error) {
    if (!hasCode(error, 'JOB_RUNNING')) throw error;
    log.warn({ job: current.name, err: error }, 'an interrupted job is not taken up: another runs');
    local.clear();
    return undefined;
  }
  try {
    return await goOn(options, place, lock, current, signal);
  } catch (error) {
    lock.leave();
    throw error;
  }
}

async function goOn(
  options: RunnerOptions,
  { store }: JobPlace,
  lock: JobLock,
  current: CurrentJob,
  signal: AbortSignal,
): Promise<RunningJob | undefined> {
  const { local, log, mount } = options;
  // Somebody may have ended it before the lock was ours.
  const opened = await store.open(current.name, signal);
  if (!opened || isFinal(opened.status.state)) {
    local.clear();
    await giveLockBack(lock, log);
    return undefined;
  }
  const { folder, status } = opened;
  const document: JobDocument = { ...status, holder: thisHolder(mount), resumes: status.resumes + 1 };
  try {
    await folder.writeStatus(document, signal);
    const checkpoint = (await folder.readCheckpoint(signal)) as Checkpoint | undefined;
    const position = reportPosition(checkpoint?.report) ?? BEGIN_OF_REPORT;
    const report = await JobReport.resume(folder, position, {}, signal);
    const snapshot = checkpoint?.snapshot;
    return await prepareJob(options, { folder, lock, report, document, snapshot }, signal);
  } catch (error) {
    if (signal.aborted || !(error instanceof LhsmError) || error.retryable) throw error;
    // No waiting mends it, a configuration that has changed say.
    log.error({ job: current.name, err: error }, 'an interrupted job cannot go on');
    await markFailed(folder, document, error, log);
    local.clear();
    await giveLockBack(lock, log);
    return undefined;
  }
}

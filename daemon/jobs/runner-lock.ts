// The lock as this process takes it and gives it back: begin-job.ts and take-up-job.ts for a job that is to run here,
// stored-jobs.ts to end one that nobody runs.
import { hostname } from 'node:os';
import type { Logger } from 'pino';
import { LhsmError } from '../../native-bindings/errors.js';
import { failed } from './failed-job.js';
import { isFinal, type JobHolder } from './job.js';
import type { JobStore } from './job-store.js';
import type { CurrentJob } from './local-state.js';
import { JobLock } from './lock.js';
import type { LockHolder } from './lock-holder.js';
import { LAST_WORDS_MS, type JobPlace, type RunnerOptions } from './runner-options.js';

/** This process, as others are to see it. */
export function thisHolder(mount: string): JobHolder {
  return { host: hostname(), mount, pid: process.pid };
}

/**
 * Takes the lock, and marks the job of a holder that has gone. `started`: ISO 8601, UTC. Throws LhsmError: as JobLock.acquire,
 * JOB_RUNNING first of all.
 */
export async function takeLock(
  { mount, log }: Pick<RunnerOptions, 'mount' | 'log'>,
  { store, container }: JobPlace,
  { kind, name, leaseId }: Omit<CurrentJob, 'id'>,
  started: string,
  signal: AbortSignal,
): Promise<JobLock> {
  const holder = { kind, name, started, ...thisHolder(mount) };
  const { fileSystem } = store;
  const lock = await JobLock.acquire(container, { fileSystem, holder, leaseId }, signal);
  const { previous } = lock;
  if (previous === undefined || previous.name === name) return lock;
  try {
    await markGone(store, previous, name, signal);
  } catch (error) {
    // Its document says that it is in progress; `jobs cancel` mends that.
    log.warn({ job: previous.name, err: error }, 'a job whose daemon has gone is not marked so');
  }
  return lock;
}

/** Never rejects: the lease runs out by itself as well. */
export async function giveLockBack(lock: JobLock, log: Logger): Promise<void> {
  await lock.release(AbortSignal.timeout(LAST_WORDS_MS)).catch((error: unknown) => {
    log.warn({ err: error }, 'the lock of jobs is not released; it runs out within a minute');
  });
}

async function markGone(store: JobStore, gone: LockHolder, next: string, signal: AbortSignal): Promise<void> {
  const left = await store.open(gone.name, signal);
  if (!left || isFinal(left.status.state)) return;
  const error = new LhsmError(`Its daemon on ${gone.host} has gone, and the job ${next} has begun.`, {
    code: 'JOB_INTERRUPTED',
    op: 'job',
    hint: 'Start it again: what it has done is found and not done twice.',
  });
  await left.folder.writeStatus(failed(left.status, error), signal);
}

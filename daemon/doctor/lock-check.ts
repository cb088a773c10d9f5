// Who holds the lock of jobs, and whether he lives. agent-doctor.ts calls it.
import { hostname } from 'node:os';
import type { LoggingContainer } from '../blobs/logging-container.js';
import { isFinal } from '../jobs/job.js';
import type { JobStore } from '../jobs/job-store.js';
import { holderOf } from '../jobs/lock-holder.js';
import type { DoctorFinding } from './doctor-report.js';
import { formatAge } from './time-text.js';

/** A job that runs writes its status every few seconds. */
const SILENT_MS = 60_000;

export interface LockCheckTools {
  readonly container: Pick<LoggingContainer, 'look'>;
  readonly store: Pick<JobStore, 'status' | 'fileSystem'>;
  readonly mount: string;
  readonly now?: () => number;
}

export async function lockFindings(
  { container, store, mount, now = Date.now }: LockCheckTools,
  signal: AbortSignal,
): Promise<DoctorFinding[]> {
  const lock = await container.look(`${store.fileSystem}/lock`, signal);
  const holder = holderOf(lock?.metadata ?? {});
  if (!lock || !holder) return [];
  const status = await store.status(holder.name, signal);
  if (status && isFinal(status.state) && !lock.isLeased) return [];
  const saidAtMs = Date.parse(status?.updatedTime ?? holder.started);
  const silentMs = now() - saidAtMs;
  const isGone = holder.host === hostname() && holder.mount === mount && holder.pid !== process.pid;
  if (!isGone && silentMs < SILENT_MS) return [];
  const who = `the ${holder.kind} job ${holder.name} of ${holder.host} (${holder.mount}, pid ${holder.pid})`;
  const age = Number.isNaN(silentMs) ? 'an unknown time' : formatAge(silentMs);
  if (lock.isLeased) {
    return [
      {
        severity: 'error',
        code: 'LOCK_HELD',
        what: `the lock of jobs is held for ${who}, which has said nothing for ${age}`,
        hint: `Start the daemon on ${holder.host}, and it goes on. If it is dead its lease runs out within a minute; one that does not: az storage blob lease break -b '${store.fileSystem}/lock' -c <logging container>.`,
      },
    ];
  }
  return [
    {
      severity: 'warning',
      code: 'JOB_ORPHANED',
      what: `${who} has lost its daemon, and has said nothing for ${age}`,
      hint: `Start the daemon on ${holder.host}, and it goes on; or close it: lhsm-azblob jobs cancel ${holder.name}. Another job may start at once.`,
    },
  ];
}

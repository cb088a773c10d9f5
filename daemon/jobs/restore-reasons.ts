// Why files of a batch restore failed on other nodes: the tag that its requests carry, and what agents leave under it in the
// logging container. agent-jobs.ts makes one for each batch restore, batch-restore.ts runs it.
import type { Logger } from 'pino';
import { Bell } from './bell.js';
import { newRestoreId, requestTag, type FailureNote, type FailureNotes } from './failure-notes.js';
import { FailureReader } from './failure-reader.js';
import type { JobStore } from './job-store.js';

export interface RestoreReasons {
  /** Goes with every request. */
  readonly data: Buffer;
  /** Tells what comes, until the signal aborts; then what was left is taken away. Never rejects. */
  readonly run: (onNote: (note: FailureNote) => void, signal: AbortSignal) => Promise<void>;
}

export interface RestoreReasonsOptions {
  /** Rejects while the logging container cannot be had. */
  readonly store: (signal: AbortSignal) => Promise<JobStore>;
  /** This node's writer: of its own agent the restore hears without it. */
  readonly notes: Pick<FailureNotes, 'leaveOut'>;
  readonly log: Logger;
  /** For tests. */
  readonly pollMs?: number;
  readonly pauseMs?: number;
}

/** Between two looks for a logging container that cannot be had. */
const STORE_PAUSE_MS = 30_000;
const CLEAR_PATIENCE_MS = 5000;

export function restoreReasons(options: RestoreReasonsOptions): RestoreReasons {
  const { notes, log, pollMs } = options;
  const id = newRestoreId();
  notes.leaveOut(id);
  return {
    data: requestTag(id),
    run: async (onNote, signal) => {
      const store = await patientStore(options, signal);
      if (!store) return;
      const { container, fileSystem } = store;
      const reader = new FailureReader({
        container,
        fileSystem,
        jobId: id,
        onNote,
        log,
        ...(pollMs === undefined ? {} : { pollMs }),
      });
      await reader.tidy(signal);
      await reader.run(signal);
      await reader.clear(AbortSignal.timeout(CLEAR_PATIENCE_MS));
    },
  };
}

/** A restore goes on without it: reasons are not worth a file. Undefined when the signal aborts first. */
async function patientStore(
  { store, log, pauseMs = STORE_PAUSE_MS }: RestoreReasonsOptions,
  signal: AbortSignal,
): Promise<JobStore | undefined> {
  for (let isTold = false; ; isTold = true) {
    try {
      return await store(signal);
    } catch (error) {
      if (signal.aborted) return undefined;
      if (!isTold) log.warn({ err: error }, 'why other nodes fail to restore a file cannot be read for now');
      await new Bell().wait(pauseMs, signal);
    }
  }
}

// What a batch restore counts, and what the counts come to at its end. batch-restore.ts fills them in, operation-work.ts shows them.

export interface BatchRestoreNumbers {
  /** Released files found, and their bytes. */
  readonly discovered: number;
  readonly discoveredBytes: bigint;
  readonly asked: number;
  readonly done: number;
  readonly doneBytes: bigint;
  /** Requests that failed, and names that could not be looked at. */
  readonly failed: number;
  readonly canceled: number;
  /** Removed before they were restored. */
  readonly vanished: number;
  /** Names that need no restore. */
  readonly skipped: number;
  /** Not asked for, because of `bytesLimit`. */
  readonly left: number;
  readonly leftBytes: bigint;
  readonly outstanding: number;
  /** Requests that may be outstanding now. */
  readonly limit: number;
  /** The most that were outstanding at once. */
  readonly maxQueue: number;
}

export interface BatchRestoreProgress extends BatchRestoreNumbers {
  /** Over the last minute. */
  readonly filesPerSecond: number;
  readonly bytesPerSecond: number;
  /** Undefined until everything has been found, or while nothing is restored. */
  readonly etaSeconds: number | undefined;
}

export interface BatchRestoreResult extends BatchRestoreNumbers {
  /** `partial`: some files failed; `failed`: all that were asked for. */
  readonly result: 'complete' | 'partial' | 'failed' | 'canceled';
  readonly elapsedMs: number;
}

/** Of one that has ended. */
export function resultOf(
  { failed, done, vanished }: BatchRestoreNumbers,
  signal: AbortSignal,
): BatchRestoreResult['result'] {
  if (signal.aborted) return 'canceled';
  if (failed === 0) return 'complete';
  return done + vanished > 0 ? 'partial' : 'failed';
}

// What a command of `lhsm-azblob` works with, and how it ends: so that tests run commands without a process.

import { setTimeout as sleep } from 'node:timers/promises';

/** Time, so that tests need not let it pass. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Rejects when the signal aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export const realClock: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) => sleep(ms, undefined, { signal }),
};

export interface Io {
  /** A write that is cut off (`| head`) ends the command silently. */
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Bytes to where `out` goes, as they are. Resolves when more may come. */
  readonly raw: (bytes: Uint8Array) => Promise<void>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The working directory, which relative paths begin at. */
  readonly cwd: () => string;
  /** Whether `out` goes to a terminal: only then may the screen be cleared. */
  readonly terminal: boolean;
  /** Its width; 80 where nobody knows. */
  readonly columns: () => number;
  /** Aborts when the operator presses Ctrl-C. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
}

/** Exit codes; docs/cli.md is generated from here. */
export const ExitCode = {
  OK: 0,
  /** The daemon refused, or the check found errors. */
  FAILED: 1,
  /** The command line is wrong. */
  USAGE: 2,
  /** A job or operation that was waited for: it ended with conflicts or errors that were allowed. */
  PARTIAL: 3,
  JOB_FAILED: 4,
  CANCELED: 5,
  /** Another job runs. */
  JOB_RUNNING: 6,
  /** No daemon answers. */
  NO_DAEMON: 7,
  /** 128 + SIGINT: nobody waits for the job any more. */
  INTERRUPTED: 130,
} as const;

export const exitCodeMeanings: Readonly<Record<number, string>> = {
  [ExitCode.OK]: 'Done. A job or operation that was waited for is complete; doctor finds all well.',
  [ExitCode.FAILED]: 'The daemon refused, or the check found errors, or doctor found something.',
  [ExitCode.USAGE]: 'The command line is wrong.',
  [ExitCode.PARTIAL]: 'The job or operation that was waited for ended with some conflicts or errors.',
  [ExitCode.JOB_FAILED]: 'The job could not begin, or the job or operation that was waited for failed.',
  [ExitCode.CANCELED]: 'The job or operation that was waited for was canceled.',
  [ExitCode.JOB_RUNNING]: 'Refused, because another job runs.',
  [ExitCode.NO_DAEMON]: 'No daemon answers.',
  [ExitCode.INTERRUPTED]: 'Ctrl-C ended the waiting; the job or restore goes on.',
};

/** Ends a command with another code than 0 when all has been said. */
export class CommandEnd extends Error {
  override readonly name = 'CommandEnd';

  constructor(readonly exitCode: number) {
    super(`the command ends with ${exitCode}`);
  }
}

// What a command of `lhsm-azblob` works with, and how it ends: so that tests run commands without a process.

export interface Io {
  /** A write that is cut off (`| head`) ends the command silently. */
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether `out` goes to a terminal: only then may the screen be cleared. */
  readonly terminal: boolean;
  /** Aborts when the operator presses Ctrl-C. */
  readonly signal: AbortSignal;
}

/** Exit codes; docs/cli.md is generated from here. */
export const ExitCode = {
  OK: 0,
  /** The daemon refused, or the check found errors. */
  FAILED: 1,
  /** The command line is wrong. */
  USAGE: 2,
  /** No daemon answers. */
  NO_DAEMON: 3,
} as const;

export const exitCodeMeanings: Readonly<Record<number, string>> = {
  [ExitCode.OK]: 'Done.',
  [ExitCode.FAILED]: 'The daemon refused, or the check found errors.',
  [ExitCode.USAGE]: 'The command line is wrong.',
  [ExitCode.NO_DAEMON]: 'No daemon answers.',
};

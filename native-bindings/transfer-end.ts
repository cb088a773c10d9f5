// How what threads of C do with a body ends: byte-io.h. body-threads.ts and get-threads.ts tell it.

/** In the order of the enum in byte-io.h. */
const outcomes = ['whole', 'ended', 'stalled', 'stopped', 'socket', 'file', 'tls', 'unusual'] as const;

/**
 * `whole`; or why not: the peer `ended`, or `stalled`; it was `stopped`; a call on `socket` or `file` failed, with `errno`;
 * `tls` failed, with `code` and `message`; what came, or was to be had, was `unusual`.
 */
export type Outcome = (typeof outcomes)[number];

/** The outcome that C has a number for. */
export function outcomeOf(number: number): Outcome {
  return outcomes[number] ?? 'stopped';
}

export interface TransferEnd {
  readonly outcome: Outcome;
  readonly errno: number;
  /** Where in the file the write was that failed. */
  readonly failedAt: number;
  readonly code: string;
  readonly message: string;
}

// What operations are: batch restore, release and verify, run by this daemon in the background and forgotten with it. The
// registry makes their documents, the admin API and the command line show them.
import type { RequestNotice } from './asked-file.js';
import type { OperationRequest } from './operation-request.js';

export const OPERATION_KINDS = ['restore', 'release', 'verify'] as const;
export type OperationKind = (typeof OPERATION_KINDS)[number];

/** `partial`: it ran to its end, and some files are not as they should be. `failed`: it could not, or none is. */
export type OperationState = 'running' | 'canceling' | 'complete' | 'partial' | 'failed' | 'canceled';

/** Whether it has ended. */
export function isOver(state: OperationState): boolean {
  return state !== 'running' && state !== 'canceling';
}

export function isOperationId(id: string): boolean {
  return /^(?:restore|release|verify)-[1-9]\d{0,8}$/.test(id);
}

/** One line of an operation's log, and of the last findings. */
export interface OperationFinding {
  /** ISO 8601, UTC. */
  readonly time: string;
  /** `item`: what a dry run would have done. */
  readonly severity: 'error' | 'warning' | 'item';
  /** Stable; docs/operations.md lists them. */
  readonly code: string;
  /** Relative to the mount; bytes that are no UTF-8 as `\xNN`. Left out where only the FID was known. */
  readonly path?: string;
  readonly message: string;
  readonly hint?: string;
  readonly errno?: string;
  readonly repaired?: string;
}

/** Something of the whole operation. */
export interface OperationNotice extends RequestNotice {
  readonly time: string;
  /** Times that it was told in a row. */
  readonly count: number;
}

/** Everything about one operation. Times are ISO 8601, UTC. */
export interface OperationDocument {
  readonly id: string;
  readonly kind: OperationKind;
  readonly state: OperationState;
  /** One sentence: what goes on, or why it ended so. */
  readonly message: string;
  readonly request: OperationRequest;
  readonly mount: string;
  readonly startedTime: string;
  readonly endedTime?: string;
  /** By the names of what each kind counts; bytes, too. */
  readonly counts: Readonly<Record<string, number>>;
  /** Files and bytes a second, over the last minute. */
  readonly rates: { readonly files: number; readonly bytes: number };
  readonly etaSeconds?: number;
  readonly errorCode?: string;
  readonly errorMessage?: string;
  readonly hint?: string;
  /** The newest last, some of the last. */
  readonly notices: readonly OperationNotice[];
  /** How many there were: all stand in the log. */
  readonly findingCount: number;
  /** The newest last; at most RECENT_FINDINGS. */
  readonly findings: readonly OperationFinding[];
  /** The complete log, JSON lines, on the daemon's node. */
  readonly logFile: string;
}

/** What the command line calls a list that it has put into the folder for us. */
export const LIST_PREFIX = 'list-';

/** Findings that a document shows. */
export const RECENT_FINDINGS = 50;

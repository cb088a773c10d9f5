// The project's one error class and its one map from any error to an errno for the MDT.
import { constants } from 'node:os';

const errnoOf = new Map<string, number>(Object.entries(constants.errno));
// Two errnos have two names each: keep the one that Linux prints.
const secondNames = new Set(['EWOULDBLOCK', 'ENOTSUP']);
const nameOf = new Map<number, string>(
  [...errnoOf].filter(([name]) => !secondNames.has(name)).map(([name, value]) => [value, name]),
);
// Linux errnos that libuv does not list (asm-generic/errno.h).
const extra = { ESHUTDOWN: 108, EREMOTEIO: 121, ENODATA: 61, ENOSYS: 38, EDQUOT: 122 } as const;
for (const [name, value] of Object.entries(extra)) {
  errnoOf.set(name, value);
  nameOf.set(value, name);
}

/** The number of an errno name (`ENOENT` → 2). Throws RangeError for a name Linux does not have. */
export function errnoNumber(name: string): number {
  const value = errnoOf.get(name);
  if (value === undefined) throw new RangeError(`no errno is called ${name}`);
  return value;
}

/** The name of an errno (2 → `ENOENT`), `errno N` where it has none. */
export function errnoName(errno: number): string {
  return nameOf.get(errno) ?? `errno ${errno}`;
}

/** The errno's name of an error that Node gave: libuv has no code for some of Linux's (EDQUOT among them). */
export function systemErrorName(error: unknown): string {
  const { errno, code } = error as { errno?: unknown; code?: unknown };
  if (typeof errno === 'number' && errno !== 0) return errnoName(Math.abs(errno));
  return typeof code === 'string' ? code : 'EIO';
}

export interface LhsmErrorOptions {
  /** Stable, upper-case: an errno's name or one of our own codes (docs/operations.md lists them). */
  readonly code: string;
  /** What was tried: a C function, a REST operation, a step. */
  readonly op: string;
  /** Positive. Left out: that of `code`, or EIO. */
  readonly errno?: number;
  /** Whether a later try may succeed with nothing mended. */
  readonly retryable?: boolean;
  /** What the operator can do. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/** Every failure that is not a programming mistake. Messages name the subject: path, FID, blob. */
export class LhsmError extends Error {
  override readonly name = 'LhsmError';
  readonly code: string;
  readonly op: string;
  readonly errno: number;
  readonly retryable: boolean;
  readonly hint: string | undefined;

  constructor(message: string, options: LhsmErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = options.code;
    this.op = options.op;
    this.errno = options.errno ?? errnoOf.get(options.code) ?? constants.errno.EIO;
    this.retryable = options.retryable ?? false;
    this.hint = options.hint;
  }
}

/** Whether the error, or one that caused it, carries this errno name or code. */
export function hasCode(error: unknown, code: string): boolean {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if ('code' in at && at.code === code) return true;
  }
  return false;
}

/** The largest errno that the coordinator takes as one. */
const MAX_REPORTED_ERRNO = 126;

/**
 * The errno that the MDT is told for any error: the error's own where it has a real, small one, EIO for
 * everything else. Never ENOSYS, which the MDT reads as "cannot cancel".
 */
export function errnoFor(error: unknown): number {
  const { EIO } = constants.errno;
  if (!(error instanceof Error)) return EIO;
  let errno: number = EIO;
  if (error instanceof LhsmError) errno = error.errno;
  else if (error.name === 'AbortError') errno = constants.errno.ECANCELED;
  else if ('errno' in error && typeof error.errno === 'number') errno = Math.abs(error.errno);
  return errno > 0 && errno <= MAX_REPORTED_ERRNO && errno !== extra.ENOSYS ? errno : EIO;
}

/** Message and hint in one sentence, for people. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const hint = error instanceof LhsmError && error.hint ? ` ${error.hint}` : '';
  return `${error.message}${hint}`;
}

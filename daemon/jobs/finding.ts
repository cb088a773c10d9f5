// What release, verify and batch restore say of one file. Codes are stable; docs/operations.md lists them.
import { LhsmError, errnoName } from '../../native-bindings/errors.js';

export interface Finding {
  readonly code: string;
  /** A warning is worth knowing and no failure. */
  readonly severity: 'error' | 'warning';
  /** Relative to the mount, as bytes; undefined when only the FID was known and it leads nowhere any more. */
  readonly path: Buffer | undefined;
  readonly message: string;
  readonly hint: string | undefined;
  /** The errno's name. */
  readonly errno: string;
  /** What was done about it; undefined when nothing was. */
  readonly repaired?: string;
}

export function findingOf(
  path: Buffer | undefined,
  error: unknown,
  severity: Finding['severity'] = 'error',
): Finding {
  if (!(error instanceof LhsmError)) throw error;
  const { code, message, hint, errno } = error;
  return { code, severity, path, message, hint, errno: errnoName(errno) };
}

// What `lhsm-azblob doctor` says: one finding for each thing that keeps work from being done, with the mend. The daemon's checks
// and the command line make findings.
import { LhsmError } from '../../native-bindings/errors.js';

export interface DoctorFinding {
  /** `note`: worth knowing, and no trouble. */
  readonly severity: 'error' | 'warning' | 'note';
  /** Stable, upper-case; docs/operations.md lists them. */
  readonly code: string;
  readonly what: string;
  readonly hint: string;
}

/** The answer to GET /v1/doctor. */
export interface DoctorReport {
  readonly mount: string;
  /** The file system's name; undefined until the mount has been looked at. */
  readonly fsname: string | undefined;
  /** Empty: every one. */
  readonly archiveIds: readonly number[];
  /** Names of what was looked at. */
  readonly checks: readonly string[];
  readonly findings: readonly DoctorFinding[];
}

/** An error as a finding. */
export function foundError(
  error: unknown,
  hint = 'See the log of the daemon.',
  severity: DoctorFinding['severity'] = 'error',
): DoctorFinding {
  const known = error instanceof LhsmError ? error : undefined;
  const what = error instanceof Error ? error.message : String(error);
  return { severity, code: known?.code ?? 'INTERNAL', what, hint: known?.hint ?? hint };
}

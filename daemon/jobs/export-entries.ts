// What the report of an export says of single files, directories and links. export.ts, export-scan.ts and export-names.ts
// make their entries here.
import { HsmStateFlag } from '../../native-bindings/constants.js';
import { LhsmError, describeError, errnoName } from '../../native-bindings/errors.js';
import type { ExportCounts, LogEntry } from './job.js';

/** Something of the tree, as far as the report is concerned. */
export interface ExportOutcome {
  readonly counts: Partial<ExportCounts>;
  readonly entry?: LogEntry;
}

/** Code of a file that was written while it was archived: no fault of the export's, so no budget of errors is for it. */
export const FILE_CHANGED = 'FILE_CHANGED';

/** A path as the report shows it: as it is where it is UTF-8, otherwise with `\xNN` for what is not ASCII. */
export function entryPath(path: Buffer): string {
  const text = path.toString('utf8');
  if (Buffer.from(text, 'utf8').equals(path)) return text;
  return path
    .toString('latin1')
    .replace(/[^ -~]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

export function itemEntry(code: string, path: Buffer, message: string, action: string): LogEntry {
  return { kind: 'item', code, path: entryPath(path), message, action };
}

export function warningEntry(code: string, path: Buffer, message: string): LogEntry {
  return { kind: 'warning', code, path: entryPath(path), message, action: 'skipped' };
}

export function errorEntry(path: Buffer, error: LhsmError): LogEntry {
  const { code, errno } = error;
  return {
    kind: 'error',
    code,
    path: entryPath(path),
    message: describeError(error),
    errno: errnoName(errno),
  };
}

const flagNames: readonly (readonly [number, string])[] = [
  [HsmStateFlag.RELEASED, 'released'],
  [HsmStateFlag.EXISTS, 'exists'],
  [HsmStateFlag.DIRTY, 'dirty'],
  [HsmStateFlag.ARCHIVED, 'archived'],
  [HsmStateFlag.NORELEASE, 'never_release'],
  [HsmStateFlag.NOARCHIVE, 'never_archive'],
  [HsmStateFlag.LOST, 'lost_from_hsm'],
];

/** As `lfs hsm_state` names them. */
export function stateWords(states: number): string {
  const words = flagNames.filter(([flag]) => (states & flag) !== 0).map(([, word]) => word);
  return words.length > 0 ? words.join(' ') : 'never archived';
}

// What is done where something is in a blob's way: the decision table of conflicts, pure. The parts of import-item.ts act on it.
import type { FileKind } from '../blobs/attributes.js';
import type { FileState, Found } from './found.js';
import type { ConflictMode } from './job.js';

/** `attributes`: they are set where they differ. `release`: that, and the file's content goes from Lustre. */
export type Verdict = 'fail' | 'skip' | 'attributes' | 'release' | 'replace';

/** What is known of the blob against what was found. */
export interface Comparison {
  readonly kind: FileKind;
  /** The file found is of this very version of the blob. */
  readonly sameVersion: boolean;
  /** The link found has the target that the blob holds. */
  readonly sameTarget: boolean;
}

/** Never asked for a directory where the blob is one: that is no conflict. */
export function verdictOn(mode: ConflictMode, found: Found, blob: Comparison): Verdict {
  if (mode === 'fail') return 'fail';
  if (mode === 'skip') return 'skip';
  if (found.kind === 'symlink' && blob.kind === 'symlink' && blob.sameTarget) return 'attributes';
  if (found.kind !== 'file' || blob.kind !== 'file') return 'replace';
  if (found.state !== 'clean' && found.state !== 'released') return 'replace';
  if (mode === 'overwrite-dirty') return 'attributes';
  if (!blob.sameVersion) return 'replace';
  return found.state === 'clean' ? 'release' : 'attributes';
}

const fileCodes: Readonly<Record<FileState, string>> = {
  clean: 'CONFLICT_FILE_CLEAN',
  released: 'CONFLICT_FILE_RELEASED',
  dirty: 'CONFLICT_FILE_DIRTY',
  'not-archived': 'CONFLICT_FILE_NOT_ARCHIVED',
  lost: 'CONFLICT_FILE_LOST',
};

const fileWords: Readonly<Record<FileState, string>> = {
  clean: 'an archived file',
  released: 'a released file',
  dirty: 'a file that was changed since it was archived',
  'not-archived': 'a file that was never archived',
  lost: 'a file whose archive copy is marked as lost',
};

/** The code and the words for what was found. */
export function describeFound(found: Found): { readonly code: string; readonly what: string } {
  switch (found.kind) {
    case 'file':
      return { code: fileCodes[found.state], what: fileWords[found.state] };
    case 'directory':
      return { code: 'CONFLICT_DIRECTORY', what: 'a directory' };
    case 'symlink':
      return { code: 'CONFLICT_SYMLINK', what: 'a symbolic link' };
    case 'other':
      return { code: 'CONFLICT_OTHER', what: 'a device, FIFO or socket' };
  }
}

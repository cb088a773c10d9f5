// Counts of jobs: none, and sums. import.ts, export.ts and the runner add them up.
import type { ExportCounts, ImportCounts, JobKind } from './job.js';

export function importCounts(): ImportCounts {
  return {
    totalBlobsWalked: 0,
    totalBlobsImported: 0,
    importedFiles: 0,
    importedDirectories: 0,
    importedSymlinks: 0,
    preexistingFiles: 0,
    preexistingDirectories: 0,
    preexistingSymlinks: 0,
    totalErrors: 0,
    totalConflicts: 0,
    unresolvedConflicts: 0,
    totalWarnings: 0,
  };
}

export function exportCounts(): ExportCounts {
  return {
    totalFilesDiscovered: 0,
    totalBytesDiscovered: 0,
    totalFilesExported: 0,
    totalBytesExported: 0,
    totalFilesFailed: 0,
    totalFilesSkipped: 0,
    totalDirectoriesExported: 0,
    totalSymlinksExported: 0,
    totalErrors: 0,
    totalWarnings: 0,
  };
}

export function emptyCounts(kind: JobKind): ImportCounts | ExportCounts {
  return kind === 'import' ? importCounts() : exportCounts();
}

/** Adds to `into`. */
export function addCounts<T extends ImportCounts | ExportCounts>(into: T, more: Readonly<Partial<T>>): void {
  for (const key of Object.keys(into) as (keyof T)[]) {
    (into[key] as number) += (more[key] as number | undefined) ?? 0;
  }
}

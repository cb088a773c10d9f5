// What jobs are called, what states they have, and the document that tells any node about one. The runner writes
// it, the admin API and the command line show it.

export const JOB_KINDS = ['import', 'export'] as const;
export type JobKind = (typeof JOB_KINDS)[number];

/** As the public REST model of Azure Managed Lustre names them. */
export type JobState =
  | 'Idle'
  | 'FSScanInProgress'
  | 'InProgress'
  | 'Cancelling'
  | 'Canceled'
  | 'Completed'
  | 'CompletedPartial'
  | 'Failed';

/** States that a job never leaves. */
const finalStates: ReadonlySet<JobState> = new Set(['Canceled', 'Completed', 'CompletedPartial', 'Failed']);

export function isFinal(state: JobState): boolean {
  return finalStates.has(state);
}

export const CONFLICT_MODES = ['fail', 'skip', 'overwrite-dirty', 'overwrite-always'] as const;
export type ConflictMode = (typeof CONFLICT_MODES)[number];

/** What an import is asked to do. */
export interface ImportSpec {
  readonly kind: 'import';
  readonly name: string;
  /** The archive whose container is imported, and whose id the stubs get. */
  readonly archiveId: number;
  /** As given; `/` stands for everything. */
  readonly prefixes: readonly string[];
  readonly conflictMode: ConflictMode;
  /** Errors allowed before the job fails; -1 for any number. */
  readonly maximumErrors: number;
  /** Only report what would be done. */
  readonly dryRun: boolean;
  /** Only update attributes of what is there. */
  readonly attributesOnly: boolean;
  /** Log every item, not only conflicts, warnings and errors. */
  readonly logItems: boolean;
}

/** What an export is asked to do. */
export interface ExportSpec {
  readonly kind: 'export';
  readonly name: string;
  readonly archiveId: number;
  /** Relative to the mount; `/` for everything. */
  readonly path: string;
  readonly maximumErrors: number;
  readonly dryRun: boolean;
  readonly logItems: boolean;
  /** Outstanding requests at the coordinator. */
  readonly window: number;
}

export type JobSpec = ImportSpec | ExportSpec;

/** What an import counts. Keys are those of the REST model. */
export interface ImportCounts {
  totalBlobsWalked: number;
  totalBlobsImported: number;
  importedFiles: number;
  importedDirectories: number;
  importedSymlinks: number;
  preexistingFiles: number;
  preexistingDirectories: number;
  preexistingSymlinks: number;
  totalErrors: number;
  totalConflicts: number;
  /** Conflicts that were left as they are. */
  unresolvedConflicts: number;
  totalWarnings: number;
}

/** What an export counts. */
export interface ExportCounts {
  totalFilesDiscovered: number;
  totalBytesDiscovered: number;
  totalFilesExported: number;
  totalBytesExported: number;
  totalFilesFailed: number;
  totalFilesSkipped: number;
  totalDirectoriesExported: number;
  totalSymlinksExported: number;
  totalErrors: number;
  totalWarnings: number;
}

/** Who runs, or ran, a job. */
export interface JobHolder {
  readonly host: string;
  readonly mount: string;
  readonly pid: number;
}

/** `status.json`: everything about a job that any node may ask. Times are ISO 8601, UTC. */
export interface JobDocument {
  readonly schema: 1;
  readonly id: string;
  readonly name: string;
  readonly kind: JobKind;
  readonly state: JobState;
  /** One sentence: what goes on, or why it ended so. */
  readonly statusMessage: string;
  readonly errorCode?: string;
  readonly errorMessage?: string;
  readonly spec: JobSpec;
  readonly holder: JobHolder;
  readonly lastStartedTime: string;
  readonly lastCompletionTime?: string;
  /** When this document was written: a running job writes every few seconds. */
  readonly updatedTime: string;
  /** Times that the job was taken up again after a restart. */
  readonly resumes: number;
  readonly counts: ImportCounts | ExportCounts;
  /** Over the last minute. */
  readonly rates: Readonly<Record<string, number>>;
  /** 0 to 100, where known. */
  readonly percentComplete?: number;
  readonly etaSeconds?: number;
}

/** What the log says of one thing. `item`: it was done; only with `logItems`, or as what a dry run would do. */
export interface LogEntry {
  readonly kind: 'error' | 'conflict' | 'warning' | 'item';
  /** Stable, upper-case; docs/operations.md lists them. */
  readonly code: string;
  /** The blob's name, or the path relative to the mount. */
  readonly path: string;
  readonly message: string;
  /** What was, or in a dry run would be, done: `imported`, `skipped`, `released` … */
  readonly action?: string;
  /** The errno's name, where there is one. */
  readonly errno?: string;
}

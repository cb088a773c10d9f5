// What importing one blob needs and what comes of it, and the failures that end the whole job. import-item.ts makes these
// for its parts; the import job passes ItemTools and reads ItemOutcome.
import { LhsmError, describeError, errnoName, errnoNumber, hasCode } from '../../native-bindings/errors.js';
import type { Lustre } from '../../native-bindings/lustre.js';
import type { ArchiveContainer } from '../blobs/archive-container.js';
import type { FileKind, ReadAttributes, ReadOptions } from '../blobs/attributes.js';
import type { ListedBlob } from '../blobs/listing.js';
import type { Share } from '../share.js';
import type { AttributeCalls } from './apply-attributes.js';
import type { DirectoryCache } from './directories.js';
import type { ImportCounts, ImportSpec, LogEntry } from './job.js';
import { PathCalls } from './path-calls.js';

export interface ItemTools {
  /** As loaded, not within a share: every call goes through `share`. */
  readonly lustre: Lustre;
  readonly mount: string;
  readonly container: ArchiveContainer;
  readonly directories: DirectoryCache;
  readonly spec: ImportSpec;
  readonly attributes: ReadOptions;
  /** Bounds the calls that may reach the MDT. */
  readonly share: Pick<Share, 'run'>;
  /** Nanoseconds since 1970: what changed before cannot be this job's own. */
  readonly startedNs: bigint;
  /** The job goes on where a dead process has left it: some of what is there may be the job's own. */
  readonly resumed: boolean;
  /** Collects the times that directories get at the end. `path` is relative to the mount. */
  readonly directoryTimes: { note(path: Buffer, mtimeNs: bigint): void };
}

/** What came of one blob. `totalBlobsWalked` is not in it: the listing counts these. */
export interface ItemOutcome {
  readonly counts: Partial<ImportCounts>;
  readonly entries: LogEntry[];
}

/** Collects what is counted and logged for one blob. */
export class Tally implements ItemOutcome {
  readonly counts: Partial<ImportCounts> = {};
  readonly entries: LogEntry[] = [];
  readonly #path: string;
  /** Whether to log what simply went well. */
  readonly #all: boolean;

  constructor(path: string, spec: ImportSpec) {
    this.#path = path;
    this.#all = spec.logItems || spec.dryRun;
  }

  count(...keys: (keyof ImportCounts)[]): void {
    for (const key of keys) this.counts[key] = (this.counts[key] ?? 0) + 1;
  }

  error(code: string, message: string, errno?: string): void {
    this.count('totalErrors');
    this.#log({ kind: 'error', code, message, ...(errno === undefined ? {} : { errno }) });
  }

  warning(code: string, message: string): void {
    if (this.entries.some((entry) => entry.kind === 'warning' && entry.code === code)) return;
    this.count('totalWarnings');
    this.#log({ kind: 'warning', code, message });
  }

  /** `unresolved`: what is there stays, and is not as the container has it. */
  conflict(code: string, action: ConflictAction, message: string, unresolved = action === 'skipped'): void {
    this.count('totalConflicts');
    if (unresolved) this.count('unresolvedConflicts');
    this.#log({ kind: 'conflict', code, action, message });
  }

  item(code: string, action: string, message: string): void {
    if (this.#all) this.#log({ kind: 'item', code, action, message });
  }

  #log(entry: Omit<LogEntry, 'path'>): void {
    this.entries.push({ ...entry, path: this.#path });
  }
}

/** What was, or in a dry run would be, done about a conflict. `none`: there was nothing to do, or it could not be done. */
export type ConflictAction = 'skipped' | 'replaced' | 'attributes' | 'released' | 'none';

/** One blob on its way into the file system. */
export interface Item {
  readonly blob: ListedBlob;
  readonly kind: FileKind;
  /** Relative to the mount. */
  readonly path: Buffer;
  readonly attributes: ReadAttributes;
  /** The blob's, keys in lower case. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly tools: ItemTools;
  readonly tally: Tally;
  readonly calls: PathCalls;
  readonly signal: AbortSignal;
  /** What of the file system's own calls this item makes, bounded. */
  readonly lustre: <T>(work: (lustre: Lustre) => Promise<T>) => Promise<T>;
}

export function attributeCalls({ calls, lustre }: Item): AttributeCalls {
  return { paths: calls, setMtime: (path, mtimeNs) => lustre((fs) => fs.setMtimePath(path, mtimeNs)) };
}

/** Carries an error that ends the job past everything that would make an entry of it. */
export class JobFailure extends Error {
  override readonly name = 'JobFailure';
  readonly error: unknown;

  constructor(error: unknown) {
    super('the job fails', { cause: error });
    this.error = error;
  }
}

/** The error that becomes the entry of one item; `errno` is an errno's name. */
export function itemError(code: string, message: string, errno = 'EIO'): LhsmError {
  return new LhsmError(message, { code, op: 'import', errno: errnoNumber(errno) });
}

/** What of the service's answers concerns one blob only. Others concern all, and end the job. */
const ofOneBlob = new Map([
  ['BLOB_MISSING', 'BLOB_VANISHED'],
  ['BLOB_CHANGED', 'BLOB_CHANGED'],
  ['BLOB_ARCHIVED', 'BLOB_ARCHIVED'],
]);

/** Asks the service about a blob. Rejects with an item's error, or JobFailure. */
export async function fromService<T>(blob: ListedBlob, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    const code = error instanceof LhsmError ? ofOneBlob.get(error.code) : undefined;
    if (code === undefined || !(error instanceof LhsmError)) throw new JobFailure(error);
    throw itemError(code, `The blob ${blob.name}: ${error.message}`, errnoName(error.errno));
  }
}

/** Makes an entry of what failed for one item. Throws what ends the job, and what is no failure but a mistake. */
export function recordFailure(
  error: unknown,
  { blob, tally, signal }: Pick<Item, 'blob' | 'tally' | 'signal'>,
): void {
  if (error instanceof JobFailure) throw error.error;
  signal.throwIfAborted();
  if (!(error instanceof LhsmError)) throw error;
  if (error.op === 'import' || error.op === 'name') {
    tally.error(error.code, describeError(error), errnoName(error.errno));
  } else if (hasCode(error, 'ENOSPC')) {
    throw new LhsmError(`There is no space left for ${blob.name}: ${error.message}`, {
      code: 'MDT_FULL',
      op: 'import',
      errno: errnoNumber('ENOSPC'),
      hint: 'The metadata target is full: free inodes, then start the import again.',
      cause: error,
    });
  } else if (hasCode(error, 'EDQUOT')) {
    tally.error('INODE_QUOTA', `The owner's quota does not allow ${blob.name}: ${error.message}`, 'EDQUOT');
  } else {
    tally.error(
      'IMPORT_FAILED',
      `${blob.name} cannot be imported: ${describeError(error)}`,
      errnoName(error.errno),
    );
  }
}

// The first phase of an export: decides for everything below a path what is to be done with it, by the state that HSM
// keeps of each file, and changes nothing but a mark. export.ts runs it and spools what it finds.
import { HsmStateFlag } from '../../native-bindings/constants.js';
import { LhsmError, errnoNumber } from '../../native-bindings/errors.js';
import type { Fid, Lustre } from '../../native-bindings/lustre.js';
import type { ArchiveContainer } from '../blobs/archive-container.js';
import { blobNameOfPath } from '../blobs/names.js';
import { saysGone, statDescriptor } from '../movers/descriptors.js';
import { FileRecord, recall } from '../movers/file-record.js';
import { mapBounded } from './bounded.js';
import { entryPath, errorEntry, itemEntry, stateWords, warningEntry } from './export-entries.js';
import type { ExportCounts, ExportSpec, LogEntry } from './job.js';
import type { SpoolRecord } from './export-spool.js';
import { walkTree } from './tree-walk.js';
import { isGone, withWalkedFile, type WalkedEntry } from './walked-file.js';

export interface ScanTools {
  readonly mount: string;
  readonly lustre: Lustre;
  readonly container: Pick<ArchiveContainer, 'archiveId' | 'container' | 'prefix' | 'naming'> &
    ArchiveContainer;
  readonly spec: Pick<ExportSpec, 'path' | 'dryRun' | 'logItems'>;
  /** Files looked at, and directories read, at once. */
  readonly parallel: number;
}

/** What came of one name. */
export interface Scanned {
  readonly counts: Partial<ExportCounts>;
  readonly records: readonly SpoolRecord[];
}

/** Hard links asked for, of one file: each costs a call to the MDT. */
const MAX_LINKS = 64;

/**
 * Everything below the path, in the order of the walk. Rejects with what `walkTree` rejects with for a path of no use, and with
 * the signal's reason.
 */
export async function* scan(
  tools: ScanTools,
  signal: AbortSignal,
): AsyncGenerator<readonly Scanned[], void, undefined> {
  const { mount, lustre, spec, parallel } = tools;
  const walk = walkTree({ mount, lustre, paths: [startOf(mount, spec)], parallel }, signal);
  for await (const { entries, problems } of walk) {
    const failed = problems.map(({ path, error }) => failure(path, error, {}));
    const found = await mapBounded(entries, parallel, (entry) => look(entry, tools, signal));
    yield [...failed, ...found];
  }
}

/** The path of a wish begins with a slash that stands for the mount. */
export function startOf(mount: string, { path }: Pick<ExportSpec, 'path'>): string {
  return path === '/' ? mount : `${mount}${path}`;
}

async function look(entry: WalkedEntry, tools: ScanTools, signal: AbortSignal): Promise<Scanned> {
  signal.throwIfAborted();
  switch (entry.kind) {
    case 'special':
      return {
        counts: { totalFilesDiscovered: 1, totalFilesSkipped: 1, totalWarnings: 1 },
        records: [
          note(
            warningEntry(
              'SPECIAL_FILE',
              entry.path,
              'A device, FIFO or socket has no content: it is left out.',
            ),
          ),
        ],
      };
    case 'directory':
    case 'symlink':
      return lookAtName(entry, entry.kind, tools);
    case 'file':
      break;
  }
  const counts = { totalFilesDiscovered: 1, totalBytesDiscovered: Number(entry.stat.size) };
  try {
    return await lookAtFile(entry, counts, tools);
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof LhsmError)) throw error;
    // Removed since it was listed: then it is no part of the tree.
    if (isGone(error)) return { counts: {}, records: [] };
    return failure(entry.path, error, { ...counts, totalFilesFailed: 1 });
  }
}

function lookAtName(
  { path }: WalkedEntry,
  kind: 'directory' | 'symlink',
  { container, spec }: ScanTools,
): Scanned {
  // By FID there is no blob that could be found by a path.
  if (container.naming === 'fid' || spec.dryRun) return { counts: {}, records: [] };
  const error = nameError(container.prefix, path);
  return error ? failure(path, error, {}) : { counts: {}, records: [{ kind, path }] };
}

async function lookAtFile(
  entry: WalkedEntry,
  counts: Partial<ExportCounts>,
  tools: ScanTools,
): Promise<Scanned> {
  const { mount, lustre, container, spec } = tools;
  const { path, stat } = entry;
  return withWalkedFile(mount, entry, async (fd) => {
    const fid = await lustre.fdToFid(fd);
    const first = entry.hardLinked ? await firstName(fid, path, Number(stat.nlink), tools) : path;
    if (!first.equals(path)) {
      const message = `Another name of ${entryPath(first)}: one file, one blob.`;
      return { counts: {}, records: [note(itemEntry('HARD_LINK', path, message, 'skipped'))] };
    }
    const { states } = await lustre.hsmStateFd(fd);
    const skipped = skip(path, states);
    if (skipped) return { counts: { ...counts, ...skipped.counts }, records: skipped.records };
    if (!isToExport(states)) {
      const done = { ...counts, totalFilesSkipped: 1 };
      const unchanged = itemEntry('UNCHANGED', path, 'Archived, and not changed since.', 'skipped');
      return { counts: done, records: spec.logItems ? [note(unchanged)] : [] };
    }
    const error = container.naming === 'path' ? nameError(container.prefix, path) : undefined;
    if (error) return failure(path, error, { ...counts, totalFilesFailed: 1 });
    if (spec.dryRun) {
      const message = `${stat.size} bytes; ${stateWords(states)}.`;
      return { counts, records: [note(itemEntry('WOULD_EXPORT', path, message, 'exported'))] };
    }
    if (isCleanButLost(states)) await markDirty(fd, tools);
    return { counts, records: [{ kind: 'file', fid, path, sizeBytes: stat.size, mtimeNs: stat.mtimeNs }] };
  });
}

/** What is not exported whatever else is with it. */
function skip(path: Buffer, states: number): Scanned | undefined {
  const warned = (code: string, message: string): Scanned => ({
    counts: { totalFilesSkipped: 1, totalWarnings: 1 },
    records: [note(warningEntry(code, path, message))],
  });
  if ((states & HsmStateFlag.NOARCHIVE) !== 0) {
    return warned(
      'FILE_NOARCHIVE',
      'It is marked as never to be archived; lfs hsm_clear --noarchive takes that away.',
    );
  }
  const lostWithContent = HsmStateFlag.RELEASED | HsmStateFlag.LOST;
  if ((states & lostWithContent) === lostWithContent) {
    return warned('FILE_LOST', 'It is released and its copy is lost: there is no content to export.');
  }
  return undefined;
}

/** Never archived, written since, or without its copy though the content is here. */
function isToExport(states: number): boolean {
  if ((states & HsmStateFlag.RELEASED) !== 0) return false;
  const clean = (states & HsmStateFlag.ARCHIVED) !== 0 && (states & HsmStateFlag.DIRTY) === 0;
  return !clean || (states & HsmStateFlag.LOST) !== 0;
}

/** The MDT archives nothing that is archived and not dirty, lost or not (mdt_hsm_cdt_client.c, hsm_action_is_needed). */
function isCleanButLost(states: number): boolean {
  return (states & HsmStateFlag.ARCHIVED) !== 0 && (states & HsmStateFlag.DIRTY) === 0;
}

async function markDirty(fd: number, { lustre, container }: ScanTools): Promise<void> {
  const record = new FileRecord(lustre, fd, container, recall([], container), await statDescriptor(fd));
  await record.change(() => lustre.setHsmStateFd(fd, { set: HsmStateFlag.DIRTY, clear: 0 }));
  await record.putTimesBack();
}

/**
 * Of the names of a hard-linked file the one that stands for it: the first below the path of the export, as the MDT
 * counts them, that can be a blob; so no list of files seen is needed.
 */
async function firstName(fid: Fid, path: Buffer, links: number, tools: ScanTools): Promise<Buffer> {
  const { mount, lustre, spec, container } = tools;
  const start = Buffer.from(spec.path === '/' ? '' : `${spec.path.slice(1)}/`);
  let first: Buffer | undefined;
  for (let link = 0; link < Math.min(links, MAX_LINKS); link += 1) {
    let name: Buffer;
    try {
      name = await lustre.fidToPath(mount, fid, link);
    } catch (error) {
      // The MDT knows no (more) names.
      if (!saysGone(error) && !(error instanceof LhsmError && error.errno === errnoNumber('ENODATA')))
        throw error;
      break;
    }
    if (!name.subarray(0, start.length).equals(start)) continue;
    first ??= name;
    if (container.naming === 'fid' || !nameError(container.prefix, name)) return name;
  }
  return first ?? path;
}

function nameError(prefix: string, path: Buffer): LhsmError | undefined {
  try {
    blobNameOfPath(prefix, path);
    return undefined;
  } catch (error) {
    if (error instanceof LhsmError) return error;
    throw error;
  }
}

function failure(path: Buffer, error: LhsmError, counts: Partial<ExportCounts>): Scanned {
  return { counts: { ...counts, totalErrors: 1 }, records: [note(errorEntry(path, error))] };
}

function note(entry: LogEntry): SpoolRecord {
  return { kind: 'entry', entry };
}

// What the end of a request comes to in an export's counts and report. export.ts calls it for every file.
import { LhsmError, errnoNumber } from '../../native-bindings/errors.js';
import { fidPath, formatFid, type Lustre } from '../../native-bindings/lustre.js';
import { HsmStateFlag } from '../../native-bindings/constants.js';
import { saysGone, statPath } from '../movers/descriptors.js';
import type { OpenChunk, Settled } from './export-chunks.js';
import { FILE_CHANGED, errorEntry, itemEntry, stateWords, warningEntry } from './export-entries.js';
import type { SpooledExport } from './export-spool.js';
import type { FailureNote } from './failure-notes.js';

/** A file on its way: what the requester is given. */
export interface ExportFile extends SpooledExport {
  readonly key: string;
  readonly chunk: OpenChunk;
  /** A former process may have asked for it as well. */
  readonly again: boolean;
  /** What an agent has left. */
  note: FailureNote | undefined;
}

/**
 * What a name counts in `progress`, beside its bytes: about what goes through while a small file's request is made, so
 * that a tree of empty files has a percentage, too.
 */
const NAME_WORK = 64 << 10;

/** In bytes, more or less; of a directory or link without its size. */
export function workOf(sizeBytes = 0n): number {
  return Number(sizeBytes) + NAME_WORK;
}

export function exported(file: SpooledExport, logItems: boolean): Settled {
  const { path, sizeBytes } = file;
  return {
    counts: { totalFilesExported: 1, totalBytesExported: Number(sizeBytes) },
    ...(logItems ? { entry: itemEntry('EXPORTED', path, `${sizeBytes} bytes.`, 'exported') } : {}),
    work: workOf(sizeBytes),
  };
}

/** Removed before its turn: there is nothing left to export. */
export function vanished(file: SpooledExport, logItems: boolean): Settled {
  const { path, sizeBytes } = file;
  return {
    counts: { totalFilesSkipped: 1 },
    ...(logItems ? { entry: itemEntry('VANISHED', path, 'Removed before it was exported.', 'skipped') } : {}),
    work: workOf(sizeBytes),
  };
}

export function failed(file: SpooledExport, error: LhsmError): Settled {
  const { path, sizeBytes } = file;
  const work = workOf(sizeBytes);
  if (error.code === 'FILE_NOARCHIVE') {
    const entry = warningEntry('FILE_NOARCHIVE', path, 'Marked as never to be archived since it was found.');
    return { counts: { totalFilesSkipped: 1, totalWarnings: 1 }, entry, work };
  }
  const counts = { totalFilesFailed: 1, totalErrors: 1 };
  const isChanged = error.code === FILE_CHANGED || error.code === 'EBUSY';
  return isChanged
    ? { counts, entry: errorEntry(path, changed(error.message)), work, forgiven: true }
    : { counts, entry: errorEntry(path, error), work };
}

export function noteError({ code, errno, message }: FailureNote): LhsmError {
  return new LhsmError(message === '' ? code : message, {
    code,
    op: 'archive',
    ...(errno > 0 ? { errno } : {}),
  });
}

/** Of a request that ended without a word of any agent: what the file says of itself. Undefined when it is gone. */
export async function silentError(
  file: SpooledExport,
  { lustre, mount }: { readonly lustre: Pick<Lustre, 'hsmState'>; readonly mount: string },
): Promise<LhsmError | undefined> {
  const path = fidPath(mount, file.fid);
  try {
    const { states } = await lustre.hsmState(path);
    const { mtimeNs, size } = await statPath(Buffer.from(path));
    // No agent says that it failed: most likely it was archived well, and written before anybody looked.
    const isWritten = mtimeNs !== file.mtimeNs || size !== file.sizeBytes;
    if (isWritten && (states & HsmStateFlag.DIRTY) !== 0)
      return changed('It was written since the export has found it, while it was archived or right after');
    return unexplained(file, `Its state: ${stateWords(states)}`);
  } catch (error) {
    if (saysGone(error)) return undefined;
    return unexplained(file, 'Its state cannot be had');
  }
}

function changed(why: string): LhsmError {
  return new LhsmError(why, {
    code: FILE_CHANGED,
    op: 'archive',
    errno: errnoNumber('EBUSY'),
    hint: 'What was committed is whole, of a version before. Export again when the file is at rest.',
  });
}

function unexplained({ fid }: SpooledExport, state: string): LhsmError {
  return new LhsmError(
    `The coordinator has given up the archive of ${formatFid(fid)}, and no agent has left a reason. ${state}`,
    {
      code: 'EXPORT_FAILED',
      op: 'archive',
      errno: errnoNumber('EIO'),
      hint: 'The log of the agent that had it may say more; it may have been killed, or the request cancelled or timed out.',
    },
  );
}

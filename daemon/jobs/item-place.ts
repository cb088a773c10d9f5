// Opens the directory that an item belongs in, and clears its way by the conflict mode where something that is no directory
// stands in it. file-item.ts, symlink-item.ts and directory-item.ts call it.
import { LhsmError, hasCode } from '../../native-bindings/errors.js';
import { pathOfBlobName } from '../blobs/names.js';
import { describeFound, verdictOn } from './conflicts.js';
import { NotADirectory, splitPath, type Directory } from './directories.js';
import { look, namesBlob, type Found, type FoundFile } from './found.js';
import { JobFailure, itemError, type ConflictAction, type Item } from './item-tools.js';

/** Something other than directories of the job may take directories away as fast as we open them. */
const MAX_TRIES = 3;

/**
 * Lends the directory `path` to `use`; undefined when it is not there and nothing may be made (dry run, attributes
 * only). Does nothing when something in the way is left there. Rejects with what the conflict mode or `use` rejects with.
 */
export async function inDirectory(
  item: Item,
  path: Buffer,
  use: (directory: Directory | undefined) => Promise<void>,
): Promise<void> {
  const { directories, spec } = item.tools;
  const how = spec.dryRun || spec.attributesOnly ? 'look' : 'make';
  for (let tries = 1; ;) {
    item.signal.throwIfAborted();
    try {
      await directories.with(path, how, use);
      return;
    } catch (error) {
      if (error instanceof NotADirectory) {
        const cleared = await directories.alone(error.path, () => clearWay(item, error.path));
        if (cleared === 'kept') return;
        if (cleared === 'would') return use(undefined);
        continue;
      }
      // A directory that we hold was removed by somebody.
      if (tries >= MAX_TRIES || !isGone(error)) throw error;
      tries += 1;
      directories.forget(path, true);
    }
  }
}

function isGone(error: unknown): boolean {
  return error instanceof LhsmError && ['ENOENT', 'ESTALE'].some((code) => error.code === code);
}

/** Decides about a file, link or the like where a directory belongs. `would`: a dry run, which leaves it there. */
async function clearWay(item: Item, path: Buffer): Promise<'cleared' | 'kept' | 'would'> {
  const { parent, name } = splitPath(path);
  return item.tools.directories.with(parent, 'look', async (directory) => {
    const found = directory && (await look(item, directory, name));
    if (!found || found.kind === 'directory') return 'cleared';
    if (found.kind === 'file') refuseFileAndDirectory(item, found, path);
    if (item.tools.spec.attributesOnly) {
      noteConflict(item, found, 'skipped', path);
      return 'kept';
    }
    const verdict = verdictOn(item.tools.spec.conflictMode, found, {
      kind: 'directory',
      sameVersion: false,
      sameTarget: false,
    });
    if (verdict === 'fail') throw conflictFailure(found, path);
    if (verdict === 'skip') {
      noteConflict(item, found, 'skipped', path);
      return 'kept';
    }
    if (!item.tools.spec.dryRun) await removeIfThere(() => item.calls.unlink(directory.pathOf(name)));
    noteConflict(item, found, 'replaced', path);
    return item.tools.spec.dryRun ? 'would' : 'cleared';
  });
}

/** Throws for the file of the blob of that very path: the container has a file and a directory of one name. */
function refuseFileAndDirectory(item: Item, file: FoundFile, path: Buffer): void {
  const { container } = item.tools;
  // The very blob that is a directory now was a file before: that is a conflict like any other.
  if (namesBlob(file, item) || file.blob?.container !== container.container) return;
  try {
    if (pathOfBlobName(container.prefix, file.blob.name).equals(path)) throw fileAndDirectory(path);
  } catch (error) {
    // A name that is no path at all is not this one.
    if (error instanceof LhsmError && error.op === 'name') return;
    throw error;
  }
}

export function fileAndDirectory(path: Buffer): LhsmError {
  return itemError(
    'FILE_AND_DIRECTORY',
    `The container has both a file and a directory named ${path.toString()}: the one that came first stays.`,
    'ENOTDIR',
  );
}

/** The failure of a job in mode `fail`. */
export function conflictFailure(found: Found, path: Buffer): JobFailure {
  return new JobFailure(
    new LhsmError(`${path.toString()} is already there: ${describeFound(found).what}.`, {
      code: 'CONFLICT',
      op: 'import',
      errno: 17, // EEXIST
      hint: 'Choose another conflict mode, or move it away.',
    }),
  );
}

/** Counts and logs what stood in the way, and what was, or in a dry run would be, done about it. */
export function noteConflict(
  item: Item,
  found: Found,
  action: ConflictAction,
  path: Buffer,
  unresolved?: boolean,
): void {
  const { code, what } = describeFound(found);
  item.tally.conflict(code, action, `${path.toString()} is already there: ${what}.`, unresolved);
}

/** Somebody else may have been faster: then it is gone as well. */
export async function removeIfThere(remove: () => Promise<void>): Promise<void> {
  try {
    await remove();
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
}

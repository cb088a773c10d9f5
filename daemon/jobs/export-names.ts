// Directories and symbolic links as blobs, where there are none yet: what the content of files does not tell of a tree.
// export.ts calls it for each; only for archives whose blobs are named by path.
import { LhsmError, errnoNumber, hasCode } from '../../native-bindings/errors.js';
import type { ArchiveContainer } from '../blobs/archive-container.js';
import { attributesOf, metadataOf } from '../blobs/attributes.js';
import { blobNameOfPath, showPath } from '../blobs/names.js';
import { parentStubs, type StubTools, type StubUser } from '../movers/parent-stubs.js';
import { isOfContainer } from './copy-check.js';
import { splitPath, type DirectoryCache } from './directories.js';
import { errorEntry, itemEntry, type ExportOutcome } from './export-entries.js';
import type { SpooledName } from './export-spool.js';
import { PathCalls } from './path-calls.js';
import { isGone } from './walked-file.js';

export interface NameTools extends StubTools {
  readonly container: ArchiveContainer;
  readonly directories: DirectoryCache;
  readonly calls: PathCalls;
  readonly log: StubUser['log'];
}

/** What stands there changed this often while it was looked at: somebody else writes it. */
const MAX_TRIES = 3;

/**
 * What one name cannot have is an entry. Rejects with what concerns the whole container (FORBIDDEN, UNREACHABLE …), and with
 * the signal's reason.
 */
export async function exportName(
  { kind, path }: SpooledName,
  tools: NameTools,
  signal: AbortSignal,
): Promise<ExportOutcome> {
  try {
    return await (kind === 'directory'
      ? exportDirectory(path, tools, signal)
      : exportSymlink(path, tools, signal));
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof LhsmError) || isOfContainer(error)) throw error;
    // Removed, or something else by now.
    if (isGone(error)) return { counts: {} };
    return { counts: { totalErrors: 1 }, entry: errorEntry(path, error) };
  }
}

async function exportDirectory(path: Buffer, tools: NameTools, signal: AbortSignal): Promise<ExportOutcome> {
  const { container, log } = tools;
  const { made, skipped } = await parentStubs(container).make(path, tools, signal, { log });
  if (skipped !== undefined) throw blocked(path, skipped);
  if (!made) return { counts: {} };
  return {
    counts: { totalDirectoriesExported: 1 },
    entry: itemEntry('EXPORTED', path, 'A directory.', 'exported'),
  };
}

interface Link {
  readonly target: Buffer;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Undefined when there is no link of that name any more. */
async function readLink(path: Buffer, { directories, calls, policy }: NameTools): Promise<Link | undefined> {
  const { parent, name } = splitPath(path);
  return directories.with(parent, 'look', async (directory) => {
    if (!directory) return undefined;
    const at = directory.pathOf(name);
    const stat = await calls.lstat(at);
    if (!stat?.isSymbolicLink()) return undefined;
    const attributes = {
      kind: 'symlink',
      uid: Number(stat.uid),
      gid: Number(stat.gid),
      mode: Number(stat.mode),
      mtimeNs: stat.mtimeNs,
    } as const;
    return {
      target: await calls.readlink(at),
      metadata: metadataOf(attributes, { keepSetId: policy.keepSetId }),
    };
  });
}

async function exportSymlink(path: Buffer, tools: NameTools, signal: AbortSignal): Promise<ExportOutcome> {
  const { container } = tools;
  const link = await readLink(path, tools);
  if (!link) return { counts: {} };
  const { target, metadata } = link;
  const name = blobNameOfPath(container.prefix, path);
  for (let tries = 1; ; tries += 1) {
    const found = await container.properties(name, signal);
    if (found) {
      if (attributesOf({ name, ...found }).kind !== 'symlink') throw taken(path, name);
      const isSame =
        found.sizeBytes === target.length &&
        (await container.readSmall(name, target.length, found.etag, signal)).equals(target);
      // Owner and times alone do not propagate.
      if (isSame) return { counts: {} };
    }
    try {
      await container.putSmall(name, target, metadata, found ? { etag: found.etag } : 'absent', signal);
      return {
        counts: { totalSymlinksExported: 1 },
        entry: itemEntry('EXPORTED', path, 'A symbolic link.', 'exported'),
      };
    } catch (error) {
      if (!hasCode(error, 'BLOB_CHANGED') || tries >= MAX_TRIES) throw error;
    }
  }
}

function blocked(path: Buffer, why: string): LhsmError {
  return new LhsmError(`The directory ${showPath(path)} gets no blob: ${why}`, {
    code: 'NAME_TAKEN',
    op: 'export',
    errno: errnoNumber('EEXIST'),
    hint: 'Move or delete the blob that is in the way, then export again.',
  });
}

function taken(path: Buffer, name: string): LhsmError {
  return new LhsmError(
    `The symbolic link ${showPath(path)} gets no blob: the blob ${name} is something else`,
    {
      code: 'NAME_TAKEN',
      op: 'export',
      errno: errnoNumber('EEXIST'),
      hint: 'Move or delete the blob that is in the way, then export again.',
    },
  );
}

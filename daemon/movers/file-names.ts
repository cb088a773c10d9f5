// Under which blob name a file belongs: from its paths or its FID, and from what it remembers.
// archive.ts, restore.ts and remove.ts call it; the names themselves are made by blobs/names.ts.
import { LhsmError, errnoNumber } from '../../native-bindings/errors.js';
import { formatFid, type Fid } from '../../native-bindings/lustre.js';
import { alternativeName, blobNameOfFid, blobNameOfPath } from '../blobs/names.js';
import { saysGone } from './descriptors.js';
import type { MoverTools } from './mover.js';
import type { ArchiveContainer } from '../blobs/archive-container.js';

/** Hard links looked at for one file: each costs a call to the MDT. */
const MAX_LINKS = 64;

/** What asks for paths. */
type NameTools = Pick<MoverTools, 'lustre' | 'mount'>;

/** A blob name and where it came from. */
export interface FileName {
  readonly name: string;
  /** The path relative to the mount that made the name; undefined when no path did. */
  readonly path: Buffer | undefined;
}

/** The file's paths, each once, `limit` at most. A link number past the last gives the first or last path again. */
async function* pathsOf(tools: NameTools, fid: Fid, limit: number): AsyncGenerator<Buffer, void, undefined> {
  const seen = new Set<string>();
  for (let link = 0; link < limit; link += 1) {
    const path = await pathOf(tools, fid, link);
    const key = path?.toString('latin1');
    if (path === undefined || key === undefined || seen.has(key)) return;
    seen.add(key);
    yield path;
  }
}

/** The file's path number `link`; undefined when it has none (any more). Rejects when the MDT cannot tell. */
async function pathOf(tools: NameTools, fid: Fid, link: number): Promise<Buffer | undefined> {
  try {
    const path = await tools.lustre.fidToPath(tools.mount, fid, link);
    return path.length > 0 ? path : undefined;
  } catch (error) {
    // ENODATA and EINVAL as well: releases differ in what they answer for a link number past the last.
    if (saysGone(error)) return undefined;
    if (error instanceof LhsmError && error.errno === errnoNumber('ENODATA')) return undefined;
    throw error;
  }
}

/**
 * The name to archive a file under. By path: the remembered name while it is still that of one of the file's paths,
 * or the alternative of one; otherwise that of the first path, which a renamed file gets at its next archive. A file
 * without a path keeps the remembered name. Rejects with ENOENT when there is neither, and with names.ts's errors
 * when no path makes a name.
 */
export async function nameToArchive(
  tools: MoverTools,
  container: ArchiveContainer,
  fid: Fid,
  remembered: string | undefined,
  linkCount: bigint,
): Promise<FileName> {
  if (container.naming === 'fid') return { name: blobNameOfFid(container.prefix, fid), path: undefined };
  // A file unlinked while its archive waits has none; ask once all the same.
  const links = Math.min(Math.max(Number(linkCount), 1), MAX_LINKS);
  let first: FileName | undefined;
  let refusal: Error | undefined;
  for await (const path of pathsOf(tools, fid, links)) {
    try {
      const name = blobNameOfPath(container.prefix, path);
      if (remembered === name || remembered === alternativeName(name, fid)) return { name: remembered, path };
      first ??= { name, path };
    } catch (error) {
      refusal ??= error instanceof Error ? error : new Error(String(error));
    }
    if (first && remembered === undefined) break;
  }
  if (first) return first;
  if (refusal) throw refusal;
  if (remembered !== undefined) return { name: remembered, path: undefined };
  throw new LhsmError(`${formatFid(fid)} has no path any more and remembers no blob.`, {
    code: 'ENOENT',
    op: 'name',
    hint: 'It was removed before it could be archived; with naming = "fid" such files are archived too.',
  });
}

/**
 * The names to look under for a file that remembers none: its paths and its FID, the configured way first.
 * A path that makes no name is passed over.
 */
export async function* namesToTry(
  tools: NameTools,
  container: ArchiveContainer,
  fid: Fid,
): AsyncGenerator<string, void, undefined> {
  const byFid = blobNameOfFid(container.prefix, fid);
  if (container.naming === 'fid') yield byFid;
  for await (const path of pathsOf(tools, fid, MAX_LINKS)) {
    const name = nameOrNothing(container.prefix, path);
    if (name !== undefined) yield name;
  }
  if (container.naming === 'path') yield byFid;
}

function nameOrNothing(prefix: string, path: Buffer): string | undefined {
  try {
    return blobNameOfPath(prefix, path);
  } catch {
    return undefined;
  }
}

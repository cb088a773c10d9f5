// Imports the blobs of one page of a listing, a bounded number at once. The import job calls it.
import type { ListedBlob } from '../blobs/listing.js';
import { attributesOf } from '../blobs/attributes.js';
import { parentPaths, pathOfBlobName } from '../blobs/names.js';
import { importItem, type ItemOutcome, type ItemTools } from './import-item.js';

/**
 * Outcomes in the page's order. A blob that is both a file and the parent of others is done before these, so that the file is
 * made whatever order the service lists in. When an item rejects, no more are begun, those under way are waited for, and the
 * first rejection is passed on; `each` has been told of all that were done.
 */
export async function importPage(
  blobs: readonly ListedBlob[],
  tools: ItemTools,
  atOnce: number,
  signal: AbortSignal,
  each?: (outcome: ItemOutcome, blob: ListedBlob) => void,
): Promise<ItemOutcome[]> {
  const outcomes: ItemOutcome[] = [];
  const run = async (index: number): Promise<void> => {
    const blob = blobs[index];
    if (!blob) return;
    const outcome = await importItem(blob, tools, signal);
    outcomes[index] = outcome;
    each?.(outcome, blob);
  };
  const { first, rest } = inOrder(blobs, tools);
  for (const index of first) await run(index);

  let next = 0;
  let failure: { readonly error: unknown } | undefined;
  const worker = async (): Promise<void> => {
    while (next < rest.length && !failure) {
      const index = rest[next] ?? 0;
      next += 1;
      try {
        await run(index);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, Math.min(atOnce, rest.length)) }, worker));
  if (failure) throw failure.error;
  return outcomes;
}

/** Files that other items have as their parent, or as a directory of the same name, outermost first; and all others. */
function inOrder(
  blobs: readonly ListedBlob[],
  tools: ItemTools,
): { readonly first: readonly number[]; readonly rest: readonly number[] } {
  const paths = blobs.map(({ name }) => tryPath(name, tools.container.prefix));
  const byPath = new Map<string, number>();
  paths.forEach((path, index) => {
    if (path && blobs[index]?.name.endsWith('/') === false) byPath.set(path.toString(), index);
  });
  const first = new Map<number, number>();
  paths.forEach((path, index) => {
    if (!path) return;
    for (const above of [...parentPaths(path), path]) {
      const at = byPath.get(above.toString());
      const blob = at === undefined || at === index || first.has(at) ? undefined : blobs[at];
      if (at !== undefined && blob && !isDirectory(blob)) first.set(at, above.length);
    }
  });
  return {
    first: [...first].sort(([, one], [, other]) => one - other).map(([index]) => index),
    rest: blobs.map((_, index) => index).filter((index) => !first.has(index)),
  };
}

function isDirectory({ name, metadata = {}, lastModified, hierarchical }: ListedBlob): boolean {
  const described = { name, metadata, lastModified, ...(hierarchical === undefined ? {} : { hierarchical }) };
  return attributesOf(described).kind === 'directory';
}

/** undefined for a name that is none: it fails by itself. */
function tryPath(name: string, prefix: string): Buffer | undefined {
  try {
    return pathOfBlobName(prefix, name);
  } catch {
    return undefined;
  }
}

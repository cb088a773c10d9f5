// Turns one listed blob into a file, directory or symbolic link of Lustre. The rules are in docs/decisions/jobs.md; the import
// job calls it through import-page.ts.
import { LhsmError, errnoNumber } from '../../native-bindings/errors.js';
import { attributesOf, type ReadAttributes } from '../blobs/attributes.js';
import type { ListedBlob } from '../blobs/listing.js';
import { pathOfBlobName } from '../blobs/names.js';
import { importDirectory } from './directory-item.js';
import { importFile } from './file-item.js';
import {
  Tally,
  fromService,
  itemError,
  recordFailure,
  type Item,
  type ItemOutcome,
  type ItemTools,
} from './item-tools.js';
import { PathCalls } from './path-calls.js';
import { importSymlink } from './symlink-item.js';

export type { ItemOutcome, ItemTools } from './item-tools.js';

/**
 * Whether the blob stands for the root of the file system: the prefix itself, as a stub with or without its slash. The
 * root's attributes are not the container's to say.
 */
export function isRoot(name: string, prefix: string): boolean {
  return name === prefix || `${name}/` === prefix || name === `${prefix}/`;
}

/** Throws code IMPORT_NAMING for a container whose blobs are named by FID: such names are no paths. */
export function refuseNaming({ container }: Pick<ItemTools, 'container'>): void {
  if (container.naming === 'path') return;
  throw new LhsmError(
    `Container ${container.container} names its blobs by FID: the names say nothing of paths, so there is nothing to import.`,
    {
      code: 'IMPORT_NAMING',
      op: 'import',
      errno: errnoNumber('EINVAL'),
      hint: 'Name an archive with naming = "path" that points to the container or prefix to import.',
    },
  );
}

/** Rejects with item errors, or JobFailure when the service cannot be asked. */
async function described(
  blob: ListedBlob,
  tools: ItemTools,
  signal: AbortSignal,
): Promise<Pick<Item, 'metadata'> & { readonly attributes: ReadAttributes }> {
  const { name, metadata, lastModified, hierarchical } = blob;
  const known = { name, ...(hierarchical === undefined ? {} : { hierarchical }) };
  if (metadata) {
    return { metadata, attributes: attributesOf({ ...known, metadata, lastModified }, tools.attributes) };
  }
  const headers = await fromService(blob, () => tools.container.properties(name, signal));
  if (!headers)
    throw itemError('BLOB_VANISHED', `The blob ${name} was deleted since it was listed.`, 'ENOENT');
  return { metadata: headers.metadata, attributes: attributesOf({ ...known, ...headers }, tools.attributes) };
}

/**
 * Imports one blob. What concerns it alone becomes an entry. Rejects with the signal's reason when aborted, with LhsmError
 * code CONFLICT in conflict mode `fail`, MDT_FULL when there is no space, IMPORT_NAMING, and with what the service
 * answers that concerns every blob (FORBIDDEN, UNREACHABLE …). What it has begun to make it finishes, aborted or not.
 */
export async function importItem(
  blob: ListedBlob,
  tools: ItemTools,
  signal: AbortSignal,
): Promise<ItemOutcome> {
  signal.throwIfAborted();
  refuseNaming(tools);
  const tally = new Tally(blob.name, tools.spec);
  if (isRoot(blob.name, tools.container.prefix)) return tally;
  try {
    const path = pathOfBlobName(tools.container.prefix, blob.name);
    const { attributes, metadata } = await described(blob, tools, signal);
    for (const { code, key, value } of attributes.warnings) {
      tally.warning(code, `${blob.name}: ${key} is ${JSON.stringify(value.slice(0, 100))}.`);
    }
    const { kind } = attributes;
    if (kind === 'special') {
      tally.warning('SPECIAL_FILE', `${blob.name} stands for a device, FIFO or socket: it is left out.`);
      return tally;
    }
    const item: Item = {
      blob,
      kind,
      path,
      attributes,
      metadata,
      tools,
      tally,
      signal,
      calls: new PathCalls(tools.share),
      lustre: (work) => tools.share.run(() => work(tools.lustre)),
    };
    if (kind === 'directory') await importDirectory(item);
    else if (kind === 'symlink') await importSymlink(item);
    else await importFile(item);
  } catch (error) {
    recordFailure(error, { blob, tally, signal });
  }
  return tally;
}

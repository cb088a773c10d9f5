// Makes the released stub of one blob: one trip for the import and two xattrs. file-item.ts calls it.
import { LhsmError, errnoNumber, hasCode } from '../../native-bindings/errors.js';
import type { Fid, Xattr } from '../../native-bindings/lustre.js';
import { formatBlobXattr } from '../blobs/names.js';
import { BLOB_XATTR, ETAG_XATTR } from '../movers/mover.js';
import { itemError, type Item } from './item-tools.js';
import { namedFile, ownVersion } from './own-blob.js';

/** Longer values do not fit beside an inode: without `ea_inode` ldiskfs answers ENOSPC, however empty it is. */
const INODE_XATTR_BYTES = 2048;

/** Rejects with LhsmError; code EEXIST when something else is there. Leaves nothing behind when it fails. */
export async function makeStub(item: Item, path: Buffer): Promise<void> {
  const { blob, attributes, tools } = item;
  const { uid, gid, mode, mtimeNs } = attributes;
  const stat = { mode: mode & 0o777, uid, gid, sizeBytes: BigInt(blob.sizeBytes), atimeNs: mtimeNs, mtimeNs };
  const mayChangeVersion = (await namedFile(item)) !== undefined;
  const named = mayChangeVersion ? [nameOf(item)] : [nameOf(item), versionOf(blob.etag)];
  try {
    const fid = await item.lustre((fs) => fs.import(path, tools.spec.archiveId, stat, named));
    if (mayChangeVersion) await pinVersion(item, path, () => Promise.resolve(fid));
    // The import takes no more than these nine bits.
    if ((mode & ~0o777) !== 0) await item.calls.chmod(path, mode);
  } catch (error) {
    // Nothing was made.
    if (error instanceof LhsmError && error.op === 'llapi_hsm_import') throw error;
    await item.calls.unlink(path).catch(() => undefined);
    // EEXIST means to our caller that the import found something.
    if (hasCode(error, 'EEXIST')) throw itemError('IMPORT_FAILED', (error as Error).message, 'EEXIST');
    throw explained(item, error);
  }
}

/**
 * Tells a stub its blob and version. The version comes last: one that knows none yet is taken up again after a kill, when the blob has
 * become the stub's own meanwhile.
 */
export async function nameBlob(item: Item, path: Buffer, fidOf: () => Promise<Fid>): Promise<void> {
  const { name, value } = nameOf(item);
  try {
    await item.lustre((fs) => fs.setXattrPath(path, name, value));
    await pinVersion(item, path, fidOf);
  } catch (error) {
    throw explained(item, error);
  }
}

async function pinVersion(item: Item, path: Buffer, fidOf: () => Promise<Fid>): Promise<void> {
  const { name, value } = versionOf(await ownVersion(item, fidOf));
  await item.lustre((fs) => fs.setXattrPath(path, name, value));
}

function nameOf({ blob, tools }: Item): Xattr {
  const value = formatBlobXattr({ container: tools.container.container, name: blob.name });
  return { name: BLOB_XATTR, value };
}

function versionOf(etag: string): Xattr {
  return { name: ETAG_XATTR, value: Buffer.from(etag) };
}

function explained({ blob }: Item, error: unknown): unknown {
  if (Buffer.byteLength(blob.name) <= INODE_XATTR_BYTES || !hasCode(error, 'ENOSPC')) return error;
  return new LhsmError(`The name ${blob.name} is too long to be kept with its file.`, {
    code: 'BLOB_NAME_TOO_LONG',
    op: 'import',
    errno: errnoNumber('ENOSPC'),
    hint: 'Enable ea_inode on the metadata target (tune2fs -O ea_inode), or give the blob a shorter name.',
    cause: error,
  });
}

// Asks the file system what collision.ts needs to know of other files and of this one.
// archive.ts, restore.ts and remove.ts call it, and the import's own-blob.ts.
import { LhsmError, hasCode } from '../../native-bindings/errors.js';
import { parseBlobXattr, pathOfBlobName } from '../blobs/names.js';
import { isRegular, saysGone } from './descriptors.js';
import { MEMORY_XATTRS, pinOf } from './file-record.js';
import { BLOB_XATTR, type MoverTools } from './mover.js';
import { sameEtag, sameFid, type OwnersWord } from './collision.js';
import type { Fid } from '../../native-bindings/lustre.js';
import type { ArchiveContainer } from '../blobs/archive-container.js';

/**
 * What the file `fid` says of the blob `name` of this container, whose version is `etag`. A file that has that very version
 * pinned claims it, whatever name it remembers: a service that keeps a name otherwise than it was given must not
 * cost a copy. Rejects when the file cannot be looked at for another reason than that it is gone: then nobody knows
 * whose the blob is.
 */
export async function askOwner(
  tools: Pick<MoverTools, 'lustre' | 'mount'>,
  container: ArchiveContainer,
  name: string,
  etag: string,
  fid: Fid,
): Promise<OwnersWord> {
  try {
    const { attributes, xattrs } = await tools.lustre.lookByFid(tools.mount, fid, MEMORY_XATTRS);
    // A symbolic link or a device: no blob of a file is of it.
    if (!isRegular(attributes)) return 'no';
    const [value, pin] = xattrs;
    if (sameEtag(pinOf(pin), etag)) return 'claims-it';
    if (value === undefined) return 'silent';
    return namesBlob(value, container, name) ? 'claims-it' : 'no';
  } catch (error) {
    if (saysGone(error)) return 'no';
    throw error;
  }
}

/**
 * The file that stands where the blob's name leads, if it is another one than `fid` and remembers this blob: an import has
 * made it of the blob after `fid` had lost that path. undefined when there is none. Rejects when it cannot be looked at.
 */
export async function claimantAtPath(
  tools: MoverTools,
  container: ArchiveContainer,
  name: string,
  fid: Fid,
): Promise<Fid | undefined> {
  if (container.naming !== 'path') return undefined;
  try {
    const path = Buffer.concat([Buffer.from(`${tools.mount}/`), pathOfBlobName(container.prefix, name)]);
    const value = await tools.lustre.getXattrPath(path, BLOB_XATTR);
    if (value === undefined || !namesBlob(value, container, name)) return undefined;
    const there = await tools.lustre.pathToFid(path);
    return sameFid(there, fid) ? undefined : there;
  } catch (error) {
    const noFile = ['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG'].some((code) => hasCode(error, code));
    if (noFile || (error instanceof LhsmError && error.op === 'name')) return undefined;
    throw error;
  }
}

function namesBlob(value: Buffer, container: ArchiveContainer, name: string): boolean {
  try {
    const reference = parseBlobXattr(value, container);
    return reference.container === container.container && reference.name === name;
  } catch {
    // It remembers something, and that is not this blob.
    return false;
  }
}

// Asks the file system what collision.ts needs to know of other files and of this one.
// archive.ts, restore.ts and remove.ts call it.
import { hasCode } from '../../native-bindings/errors.js';
import { parseBlobXattr } from '../blobs/names.js';
import { FOR_ATTRIBUTES, saysGone } from './descriptors.js';
import { MEMORY_XATTRS, pinOf } from './file-record.js';
import type { MoverTools } from './mover.js';
import { sameEtag, type OwnersWord } from './collision.js';
import type { Fid } from '../../native-bindings/lustre.js';
import type { ArchiveContainer } from '../blobs/archive-container.js';

/**
 * What the file `fid` says of the blob `name` of this container, whose version is `etag`. A file that has that very version
 * pinned claims it, whatever name it remembers: a service that keeps a name otherwise than it was given must not
 * cost a copy. Rejects when the file cannot be looked at for another reason than that it is gone: then nobody knows
 * whose the blob is.
 */
export async function askOwner(
  tools: MoverTools,
  container: ArchiveContainer,
  name: string,
  etag: string,
  fid: Fid,
): Promise<OwnersWord> {
  try {
    const { xattrs } = await tools.lustre.lookByFid(tools.mount, fid, FOR_ATTRIBUTES, MEMORY_XATTRS);
    const [value, pin] = xattrs;
    if (sameEtag(pinOf(pin), etag)) return 'claims-it';
    if (value === undefined) return 'silent';
    return namesBlob(value, container, name) ? 'claims-it' : 'no';
  } catch (error) {
    // ELOOP and ENXIO: a symbolic link or a device has that FID, which no blob of a file is of.
    if (saysGone(error) || hasCode(error, 'ELOOP') || hasCode(error, 'ENXIO')) return 'no';
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

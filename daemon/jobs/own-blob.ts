// Makes a new stub the owner of its blob where that still names a file of this file system that is gone: an archive would take
// it for nobody's and replace the stub's only copy. make-stub.ts calls it before it pins the version.
import { LhsmError, describeError } from '../../native-bindings/errors.js';
import { formatFid, type Fid } from '../../native-bindings/lustre.js';
import { namedOwner, sameFid } from '../movers/collision.js';
import { fileSystemId } from '../movers/file-system-id.js';
import { FID_METADATA } from '../movers/mover.js';
import { askOwner } from '../movers/ownership.js';
import { itemError, JobFailure, type Item } from './item-tools.js';

/** The file of this very file system that the blob names; undefined where it names none, or does not say whose it is. */
export async function namedFile({ metadata, tools, lustre }: Item): Promise<Fid | undefined> {
  if (metadata[FID_METADATA] === undefined) return undefined;
  const fileSystem = await lustre((fs) => fileSystemId(fs, tools.mount));
  const owner = namedOwner(metadata, fileSystem);
  // Where the blob does not say whose FID that is no archive takes it for nobody's.
  return owner?.surelyOurs === true ? owner.fid : undefined;
}

/**
 * The version of the item's blob that its stub is to pin. A blob that names no file, or one of another file system, costs nothing; so
 * does one that names the stub itself, as after a kill. What keeps the blob from being the stub's becomes a warning, and
 * the listed version is answered. Rejects with an item's error when the blob is gone, and with JobFailure when the service cannot
 * be reached: then nobody knows which version there is.
 */
export async function ownVersion(item: Item, fidOf: () => Promise<Fid>): Promise<string> {
  const { blob, tally } = item;
  const owner = await namedFile(item);
  if (!owner) return blob.etag;
  const fid = await fidOf();
  if (sameFid(owner, fid)) return blob.etag;
  try {
    await refuseIfClaimed(item, owner);
    return await setOwner(item, fid);
  } catch (error) {
    if (!(error instanceof LhsmError) || error.code === 'BLOB_VANISHED') throw error;
    tally.warning(
      'OWNER_NOT_UPDATED',
      `${blob.name} still names ${formatFid(owner)} as the file that it is the copy of: ${describeError(error)}`,
    );
    return blob.etag;
  }
}

/** Rejects when the file lives and may need this very version of the blob. */
async function refuseIfClaimed({ blob, tools, lustre }: Item, owner: Fid): Promise<void> {
  const { container, mount } = tools;
  const word = await lustre((fs) => askOwner({ lustre: fs, mount }, container, blob.name, blob.etag, owner));
  if (word !== 'no') throw itemError('OWNER_LIVES', 'that file lives, under another name.', 'EEXIST');
}

/** All other metadata stay as they are. Answers the new version. */
async function setOwner({ blob, metadata, tools, signal }: Item, fid: Fid): Promise<string> {
  const wanted = { ...metadata, [FID_METADATA]: formatFid(fid) };
  try {
    return await tools.container.setMetadata(blob.name, wanted, blob.etag, signal);
  } catch (error) {
    if (!(error instanceof LhsmError)) throw error;
    const { code, retryable, message } = error;
    if (code === 'BLOB_MISSING') throw itemError('BLOB_VANISHED', message, 'ENOENT');
    if (retryable || code === 'ECANCELED' || code === 'CONTAINER_MISSING') throw new JobFailure(error);
    throw error;
  }
}

// Imports one blob as a file: a released stub that knows its blob. import-item.ts calls it.
import { isSameVersion, isStub, namesBlob, type Found, type FoundFile } from './found.js';
import { applyAttributes } from './apply-attributes.js';
import { attributeCalls, itemError, type Item } from './item-tools.js';
import { makeStub, nameBlob } from './make-stub.js';
import { placeItem } from './place-item.js';

export async function importFile(item: Item): Promise<void> {
  const { blob, tools, tally, attributes } = item;
  if (blob.blobType === 'PageBlob') {
    throw itemError(
      'PAGE_BLOB',
      `${blob.name} is a page blob, which no file can be restored from.`,
      'EOPNOTSUPP',
    );
  }
  const { uid, gid, mode, mtimeNs } = attributes;
  const wanted = { uid, gid, mode, mtimeNs };
  await placeItem(item, {
    wanted,
    make: (path) => makeStub(item, path),
    compare: (found) =>
      Promise.resolve({
        kind: 'file',
        sameVersion: found.kind === 'file' && isSameVersion(found, item),
        sameTarget: false,
      }),
    own: (found) => Promise.resolve(found.kind === 'file' ? ownFile(found, item) : undefined),
    finish: async (found, path) => {
      if (!isFinished(found)) await nameBlob(item, path, () => item.lustre((fs) => fs.pathToFid(path)));
      const options = { keepSetId: tools.attributes.keepSetId ?? false };
      await applyAttributes(attributeCalls(item), path, found.stat, wanted, options);
    },
    imported: () => {
      if (blob.accessTier?.toLowerCase() === 'archive') {
        tally.warning(
          'BLOB_ARCHIVED_TIER',
          `${blob.name} is in the Archive tier: its content can be read only after its tier was changed.`,
        );
      }
      if (blob.blobType === 'AppendBlob') {
        tally.warning(
          'APPEND_BLOB',
          `${blob.name} is an append blob: it can be read, but a change cannot be archived to it.`,
        );
      }
    },
  });
}

function isFinished(found: Found): boolean {
  return found.kind === 'file' && found.remembers && found.pin !== undefined;
}

/** A stub of this version; or one that a kill has left before it knew its blob, or before it was a stub at all. */
function ownFile(file: FoundFile, item: Item): 'finish' | 'anew' | undefined {
  const { blob, attributes, tools } = item;
  const { stat } = file;
  if (stat.ctimeNs < tools.startedNs) return undefined;
  if (isStub(file) && stat.size === BigInt(blob.sizeBytes)) {
    if (isSameVersion(file, item)) return 'finish';
    const mayBeHalf = file.pin === undefined && (!file.remembers || namesBlob(file, item));
    return mayBeHalf && stat.mtimeNs === attributes.mtimeNs ? 'finish' : undefined;
  }
  // The library creates the file, and only then makes a stub of it.
  const isNothingYet =
    file.states === 0 && stat.size === 0n && stat.blocks === 0n && stat.uid === 0n && !file.remembers;
  return isNothingYet ? 'anew' : undefined;
}

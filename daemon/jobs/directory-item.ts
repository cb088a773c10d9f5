// Imports one blob that stands for a directory: it is made if it is not there, and gets the blob's owner and mode whenever
// that turns up, before or after what is in it. import-item.ts calls it.
import { LhsmError } from '../../native-bindings/errors.js';
import { applyAttributes } from './apply-attributes.js';
import { inDirectory } from './item-place.js';
import { attributeCalls, type Item } from './item-tools.js';
import { bornSince, noteImported, noteMissing } from './place-item.js';

export async function importDirectory(item: Item): Promise<void> {
  const { attributes, calls, tally, tools } = item;
  const { uid, gid, mode, mtimeNs } = attributes;
  const { attributesOnly, dryRun } = tools.spec;
  await inDirectory(item, item.path, async (directory) => {
    if (!directory) {
      noteMissing(item);
      return;
    }
    const path = directory.pathOf(Buffer.from('.'));
    const now = await calls.lstat(path);
    if (!now) {
      throw new LhsmError(`${item.path.toString()} was removed.`, { code: 'ENOENT', op: 'lstat' });
    }
    const wanted = { uid, gid, mode, mtimeNs: undefined };
    const options = { keepSetId: tools.attributes.keepSetId ?? false, dryRun };
    directory.handOver(uid, mode);
    const changed = await applyAttributes(attributeCalls(item), path, now, wanted, options);
    // What is made in it moves its mtime.
    if (!dryRun) tools.directoryTimes.note(item.path, mtimeNs);
    if (!attributesOnly && !dryRun && (directory.madeByJob || bornSince(now, tools))) {
      noteImported(item);
      return;
    }
    tally.count('preexistingDirectories');
    tally.item('DIRECTORY_EXISTS', changed ? 'attributes' : 'none', 'The directory is already there.');
  });
}

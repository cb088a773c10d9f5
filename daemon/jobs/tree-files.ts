// Runs something for every regular file of some trees, so many at once, and tells what could not be looked at. release.ts and
// verify.ts are made of it.
import { LhsmError } from '../../native-bindings/errors.js';
import { isOfContainer } from './copy-check.js';
import { mapBounded } from './bounded.js';
import { findingOf, type Finding } from './finding.js';
import { walkTree, type WalkOptions } from './tree-walk.js';
import { isGone, type WalkedEntry } from './walked-file.js';

export interface TreeFilesOptions extends WalkOptions {
  readonly onFinding: (finding: Finding) => void;
}

const FILES_AT_ONCE = 8;

/**
 * What goes wrong with one file is a finding; a file that vanishes meanwhile is none. Rejects with what `walkTree` rejects
 * with, and with an error of the whole container, which would come back for every file.
 */
export async function forEachFile(
  options: TreeFilesOptions,
  work: (file: WalkedEntry) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  for await (const { entries, problems } of walkTree(options, signal)) {
    for (const { path, error } of problems) options.onFinding(findingOf(path, error));
    const files = entries.filter(({ kind }) => kind === 'file');
    await mapBounded(files, options.parallel ?? FILES_AT_ONCE, async (file) => {
      signal.throwIfAborted();
      try {
        await work(file);
      } catch (error) {
        signal.throwIfAborted();
        if (isOfContainer(error) || !(error instanceof LhsmError)) throw error;
        if (!isGone(error)) options.onFinding(findingOf(file.path, error));
      }
    });
  }
}

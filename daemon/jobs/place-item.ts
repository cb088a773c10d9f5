// Puts a file or a symbolic link at its path, with every rule for what may be there already. file-item.ts and
// symlink-item.ts call it with what is particular to them.
import type { BigIntStats } from 'node:fs';
import { HsmStateFlag, UserAction } from '../../native-bindings/constants.js';
import { describeError, errnoName, hasCode, LhsmError } from '../../native-bindings/errors.js';
import { applyAttributes, type WantedAttributes } from './apply-attributes.js';
import { verdictOn, type Comparison } from './conflicts.js';
import { splitPath, type Directory } from './directories.js';
import { look, type Found, type FoundFile } from './found.js';
import { conflictFailure, fileAndDirectory, inDirectory, noteConflict, removeIfThere } from './item-place.js';
import { attributeCalls, itemError, type Item, type ItemTools } from './item-tools.js';

/** What is particular to the kind of an item. */
export interface Placing {
  readonly wanted: WantedAttributes;
  /** Makes it where nothing is; leaves nothing behind when it fails. */
  make(path: Buffer): Promise<void>;
  /** The blob against what was found; asked before anything is deleted. */
  compare(found: Found): Promise<Comparison>;
  /**
   * Whether a former process of this job has made what was found, and whether it is to be `finished` or, being only
   * half there, made `anew`.
   */
  own(found: Found): Promise<'finish' | 'anew' | undefined>;
  finish(found: Found, path: Buffer): Promise<void>;
  /** Is told when it has been, or in a dry run would be, imported. */
  imported(): void;
}

/** Creating may be overtaken by somebody as often before we give up. */
const MAX_TRIES = 3;

/** What creating says when something is there: a link may lead the library anywhere. */
const taken = ['EEXIST', 'EISDIR', 'ELOOP', 'ENOTTY', 'ENXIO'];

export async function placeItem(item: Item, placing: Placing): Promise<void> {
  const { parent, name } = splitPath(item.path);
  const { dryRun, attributesOnly } = item.tools.spec;
  await inDirectory(item, parent, async (directory) => {
    if (!directory) {
      noteMissing(item, placing);
      return;
    }
    const path = directory.pathOf(name);
    // No look before where nothing can be. Elsewhere there must be one: the library's import follows a link.
    let isFresh = directory.onlyOurs && !dryRun && !attributesOnly;
    let failure: unknown;
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const found = isFresh ? undefined : await look(item, directory, name);
      if (found) return settle(item, placing, directory, name, found);
      if (dryRun || attributesOnly) {
        noteMissing(item, placing);
        return;
      }
      failure = await make(placing, path);
      if (failure === undefined) {
        noteImported(item, placing);
        return;
      }
      isFresh = false;
    }
    throw failure;
  });
}

/** Makes it; answers the failure when it says that something is there. */
async function make(placing: Placing, path: Buffer): Promise<unknown> {
  try {
    await placing.make(path);
    return undefined;
  } catch (error) {
    if (error instanceof LhsmError && taken.includes(error.code)) return error;
    throw error;
  }
}

/** Something is there: what becomes of it and of the item. */
async function settle(
  item: Item,
  placing: Placing,
  directory: Directory,
  name: Buffer,
  found: Found,
): Promise<void> {
  const { directories, spec, resumed } = item.tools;
  const path = directory.pathOf(name);
  if (found.kind === 'directory' && (directories.isMade(item.path) || bornSince(found.stat, item.tools))) {
    throw fileAndDirectory(item.path);
  }
  if (resumed && !spec.dryRun && !spec.attributesOnly) {
    const own = await placing.own(found);
    if (own === 'anew') {
      await removeIfThere(() => item.calls.unlink(path));
      await placing.make(path);
    } else if (own === 'finish') {
      await placing.finish(found, path);
    }
    if (own !== undefined) {
      noteImported(item, placing);
      return;
    }
  }
  const isSameKind = found.kind === item.kind;
  if (isSameKind) item.tally.count(item.kind === 'file' ? 'preexistingFiles' : 'preexistingSymlinks');
  if (spec.attributesOnly) {
    if (!isSameKind) {
      noteConflict(item, found, 'skipped', item.path);
      return;
    }
    const changed = await setAttributes(item, placing, path, found.stat);
    item.tally.item(
      'ATTRIBUTES',
      changed ? 'attributes' : 'none',
      `The attributes ${changed ? 'differ' : 'agree'}.`,
    );
    return;
  }
  const needsNoLook = spec.conflictMode === 'fail' || spec.conflictMode === 'skip';
  const comparison = needsNoLook
    ? { kind: item.kind, sameVersion: false, sameTarget: false }
    : await placing.compare(found);
  switch (verdictOn(spec.conflictMode, found, comparison)) {
    case 'fail':
      throw conflictFailure(found, item.path);
    case 'skip':
      noteConflict(item, found, 'skipped', item.path);
      return;
    case 'attributes': {
      const changed = await setAttributes(item, placing, path, found.stat);
      noteConflict(item, found, changed ? 'attributes' : 'none', item.path);
      return;
    }
    case 'release':
      if (found.kind === 'file') await release(item, placing, path, found);
      return;
    case 'replace':
      await replace(item, placing, path, found);
      return;
  }
}

function setAttributes(item: Item, placing: Placing, path: Buffer, now: BigIntStats): Promise<boolean> {
  const { attributes, spec } = item.tools;
  return applyAttributes(attributeCalls(item), path, now, placing.wanted, {
    keepSetId: attributes.keepSetId ?? false,
    dryRun: spec.dryRun,
  });
}

/** Sets the attributes, then lets the content go from Lustre: the blob holds this very version. */
async function release(item: Item, placing: Placing, path: Buffer, found: FoundFile): Promise<void> {
  const { mount, spec } = item.tools;
  const changed = await setAttributes(item, placing, path, found.stat);
  const refused = (why: string, errno: string): void => {
    noteConflict(item, found, changed ? 'attributes' : 'none', item.path, true);
    item.tally.error('RELEASE_REFUSED', `${item.path.toString()} is not released: ${why}`, errno);
  };
  if ((found.states & HsmStateFlag.NORELEASE) !== 0) {
    refused('it is marked not to be (lfs hsm_clear --norelease ends that).', 'EPERM');
    return;
  }
  try {
    if (!spec.dryRun) {
      const fid = await item.lustre((fs) => fs.pathToFid(path));
      await item.lustre((fs) => fs.request(mount, { action: UserAction.RELEASE, archiveId: 0, fids: [fid] }));
    }
  } catch (error) {
    if (!(error instanceof LhsmError) || !['EPERM', 'EBUSY'].some((code) => hasCode(error, code)))
      throw error;
    refused(describeError(error), errnoName(error.errno));
    return;
  }
  noteConflict(item, found, 'released', item.path);
}

/** Takes away what is there and makes the item; a directory only if nothing is in it. */
async function replace(item: Item, placing: Placing, path: Buffer, found: Found): Promise<void> {
  const { directories, spec } = item.tools;
  if (found.kind === 'directory' && !(await removeEmpty(item, path))) {
    noteConflict(item, found, 'none', item.path, true);
    throw itemError(
      'DIRECTORY_NOT_EMPTY',
      `The directory ${item.path.toString()} is not empty: it is not removed to make room for a ${item.kind}.`,
      'ENOTEMPTY',
    );
  }
  if (found.kind === 'directory') directories.forget(item.path);
  else if (!spec.dryRun) await removeIfThere(() => item.calls.unlink(path));
  noteConflict(item, found, 'replaced', item.path);
  if (!spec.dryRun) await placing.make(path);
  noteImported(item, placing, false);
}

async function removeEmpty(item: Item, path: Buffer): Promise<boolean> {
  if (item.tools.spec.dryRun) return item.calls.isEmpty(path);
  try {
    await removeIfThere(() => item.calls.rmdir(path));
    return true;
  } catch (error) {
    if (hasCode(error, 'ENOTEMPTY') || hasCode(error, 'EEXIST')) return false;
    throw error;
  }
}

const importedKeys = {
  file: 'importedFiles',
  directory: 'importedDirectories',
  symlink: 'importedSymlinks',
} as const;

/** Counts an import. `asItem`: it is logged as an item, having been no conflict. */
export function noteImported(item: Item, placing?: Pick<Placing, 'imported'>, asItem = true): void {
  item.tally.count('totalBlobsImported', importedKeys[item.kind]);
  placing?.imported();
  const would = item.tools.spec.dryRun ? 'would be' : 'was';
  if (asItem) item.tally.item('IMPORTED', 'imported', `A ${item.kind} ${would} made.`);
}

/** Nothing is there, and nothing may be made now. */
export function noteMissing(item: Item, placing?: Pick<Placing, 'imported'>): void {
  if (!item.tools.spec.attributesOnly) noteImported(item, placing);
  else
    item.tally.item('NOT_THERE', 'skipped', `There is no such ${item.kind} whose attributes could be set.`);
}

/**
 * Whether a directory came to be since the job began. Where there is no birth time, Node gives 0 or repeats ctime, which
 * moves with each child: good enough only for a job that goes on.
 */
export function bornSince(stat: BigIntStats, { startedNs, resumed }: ItemTools): boolean {
  const isTold = stat.birthtimeNs > 0n && stat.birthtimeNs !== stat.ctimeNs;
  if (isTold) return stat.birthtimeNs >= startedNs;
  return resumed && stat.ctimeNs >= startedNs;
}

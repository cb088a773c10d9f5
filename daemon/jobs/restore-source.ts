// Where batch restore takes its files from: trees or a list, only what is released, as found or the newest first.
import { HsmStateFlag } from '../../native-bindings/constants.js';
import { LhsmError } from '../../native-bindings/errors.js';
import type { Fid, Lustre, PathLook } from '../../native-bindings/lustre.js';
import { refusalOf, type AskedFile } from './asked-file.js';
import { mapShares } from './bounded.js';
import { findingOf, type Finding } from './finding.js';
import { NewestFirst, type SpooledFile } from './newest-first.js';
import { walkList } from './path-list.js';
import { walkTree, type WalkBatch } from './tree-walk.js';
import { isGone, lookAtWalkedFiles, type WalkedEntry } from './walked-file.js';

/** A released file. */
export interface ReleasedFile extends AskedFile, SpooledFile {}

export interface SourceOptions {
  readonly mount: string;
  /** Absolute, or relative to the mount; not with `filesFrom`. */
  readonly paths: readonly (string | Buffer)[];
  /** A file that lists paths, one a line or one before each NUL; directories in it are not walked. */
  readonly filesFrom?: string;
  /** The last written first; everything is looked at before the first is asked for. */
  readonly newestFirst: boolean;
  /** For `newestFirst`: 32 bytes a file. */
  readonly stateDir: string;
  readonly parallel?: number;
}

export interface SourceHooks {
  /** A name that is not to be restored: nothing to do for it, or no file. */
  readonly onSkipped: () => void;
  readonly onReleased: (file: ReleasedFile) => void;
  /** What cannot be looked at, or can never be restored. */
  readonly onFinding: (finding: Finding) => void;
  /** Everything has been looked at. */
  readonly onWalked: () => void;
}

const LOOKS_AT_ONCE = 8;
const BATCH_FILES = 64;

export type StateTools = Pick<Lustre, 'lookAtPaths' | 'lookAtNames'>;

/**
 * Rejects with what `walkTree` and `walkList` reject with, and with the error of the state directory where that cannot hold the
 * files.
 */
export async function* releasedFiles(
  options: SourceOptions,
  lustre: StateTools,
  hooks: SourceHooks,
  signal: AbortSignal,
): AsyncGenerator<ReleasedFile[], void, undefined> {
  const found = asFound(options, lustre, hooks, signal);
  if (!options.newestFirst) {
    yield* found;
    hooks.onWalked();
    return;
  }
  const spool = await NewestFirst.open(options.stateDir);
  try {
    for await (const files of found) for (const file of files) await spool.add(file);
    hooks.onWalked();
    let batch: ReleasedFile[] = [];
    for await (const file of spool.files()) {
      batch.push({ ...file, path: undefined });
      if (batch.length < BATCH_FILES) continue;
      yield batch;
      batch = [];
    }
    if (batch.length > 0) yield batch;
  } finally {
    await spool.close();
  }
}

async function* asFound(
  options: SourceOptions,
  lustre: StateTools,
  hooks: SourceHooks,
  signal: AbortSignal,
): AsyncGenerator<ReleasedFile[], void, undefined> {
  for await (const { entries, problems } of batches(options, lustre, signal)) {
    for (const { path, error } of problems) hooks.onFinding(findingOf(path, error));
    // A released file has one block, an empty one none (mdt_pack_attr2body): with more it has content, and needs no look.
    const maybe = entries.filter(({ kind, stat }) => kind === 'file' && stat.blocks <= 1n);
    for (let skipped = maybe.length; skipped < entries.length; skipped += 1) hooks.onSkipped();
    const looks = await mapShares(maybe, LOOKS_AT_ONCE, (some) =>
      lookAtWalkedFiles(options.mount, some, lustre),
    );
    const files = maybe
      .map((entry, i) => releasedFile(entry, looks[i], hooks))
      .filter((file) => file !== undefined);
    for (const file of files) hooks.onReleased(file);
    if (files.length > 0) yield files;
    signal.throwIfAborted();
  }
}

function batches(
  options: SourceOptions,
  lustre: StateTools,
  signal: AbortSignal,
): AsyncGenerator<WalkBatch, void, undefined> {
  const { mount, paths, filesFrom, parallel } = options;
  const common = { mount, ...(parallel === undefined ? {} : { parallel }) };
  if (filesFrom !== undefined) return walkList({ ...common, file: filesFrom }, signal);
  return walkTree({ ...common, lustre, paths }, signal);
}

/** The file, if it is released and can be restored. */
function releasedFile(
  entry: WalkedEntry,
  look: PathLook | LhsmError | undefined,
  hooks: SourceHooks,
): ReleasedFile | undefined {
  if (look === undefined || isGone(look)) {
    hooks.onSkipped();
  } else if (look instanceof LhsmError) {
    hooks.onFinding(findingOf(entry.path, look));
  } else if ((look.state.states & HsmStateFlag.RELEASED) === 0) {
    hooks.onSkipped();
  } else {
    const file = released(entry, look.fid);
    const refusal = refusalOf('restore', file, look.state);
    if (!refusal) return file;
    hooks.onFinding(findingOf(entry.path, refusal));
  }
  return undefined;
}

function released({ path, stat }: WalkedEntry, fid: Fid): ReleasedFile {
  return { fid, path, sizeBytes: stat.size, mtimeNs: stat.mtimeNs };
}

// Gives what is at a path its owner, mode and mtime, as far as they differ. directories.ts and the parts of import-item.ts
// call it.
import type { BigIntStats } from 'node:fs';
import type { PathCalls } from './path-calls.js';

export interface WantedAttributes {
  readonly uid: number;
  readonly gid: number;
  /** Permission bits; undefined for a symbolic link, which has none of its own. */
  readonly mode: number | undefined;
  /** undefined: left as it is. */
  readonly mtimeNs: bigint | undefined;
}

/** The bits that an import sets and compares: without keepSetId the others stay as they are. */
export function modeMask(keepSetId: boolean | undefined): number {
  return keepSetId === true ? 0o7777 : 0o1777;
}

/** How `applyAttributes` changes things; `setMtime` is Lustre.setMtimePath, bounded. */
export interface AttributeCalls {
  readonly paths: PathCalls;
  readonly setMtime: (path: Buffer, mtimeNs: bigint) => Promise<void>;
}

/**
 * Sets what differs from `now`, the attributes as they are; answers whether anything did. `dryRun`: answers only.
 * Rejects as PathCalls does.
 */
export async function applyAttributes(
  calls: AttributeCalls,
  path: Buffer,
  now: BigIntStats,
  wanted: WantedAttributes,
  options: { readonly keepSetId?: boolean; readonly dryRun?: boolean },
): Promise<boolean> {
  const mask = modeMask(options.keepSetId);
  const mode = Number(now.mode) & 0o7777;
  const chowns = Number(now.uid) !== wanted.uid || Number(now.gid) !== wanted.gid;
  // chown(2) takes set-id bits away from files; what it took for a new owner's sake must not come back.
  const clears = chowns && !now.isDirectory();
  const kept = clears ? 0 : mode & ~mask;
  const chmods =
    wanted.mode !== undefined &&
    (((mode ^ wanted.mode) & mask) !== 0 || (clears && (wanted.mode & 0o6000) !== 0));
  const touches = wanted.mtimeNs !== undefined && wanted.mtimeNs !== now.mtimeNs;
  if (options.dryRun !== true) {
    if (chowns) await calls.paths.lchown(path, wanted.uid, wanted.gid);
    if (chmods) await calls.paths.chmod(path, (wanted.mode & mask) | kept);
    if (touches) await calls.setMtime(path, wanted.mtimeNs);
  }
  return chowns || chmods || touches;
}

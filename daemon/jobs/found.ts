// Looks at what stands at a path where a blob is to become something. The parts of import-item.ts call it.
import type { BigIntStats } from 'node:fs';
import { HsmStateFlag } from '../../native-bindings/constants.js';
import { hasCode } from '../../native-bindings/errors.js';
import type { BlobReference } from '../blobs/names.js';
import { sameEtag } from '../movers/collision.js';
import { MEMORY_XATTRS, recall } from '../movers/file-record.js';
import type { Directory } from './directories.js';
import type { Item } from './item-tools.js';

/** A file as the MDT and the file itself tell. `clean`: archived, there, and its content on Lustre too. */
export type FileState = 'clean' | 'released' | 'dirty' | 'not-archived' | 'lost';

export interface FoundFile {
  readonly kind: 'file';
  readonly stat: BigIntStats;
  readonly state: FileState;
  /** HsmStateFlag bits. */
  readonly states: number;
  /** The blob that the file names, wherever it is; undefined when it names none, or none that makes sense. */
  readonly blob: BlobReference | undefined;
  /** Whether it remembers anything of a blob. */
  readonly remembers: boolean;
  readonly pin: string | undefined;
}

export type Found =
  | FoundFile
  | { readonly kind: 'directory' | 'other'; readonly stat: BigIntStats }
  | { readonly kind: 'symlink'; readonly stat: BigIntStats; readonly target: Buffer };

function stateOf(states: number): FileState {
  const { ARCHIVED, DIRTY, EXISTS, LOST, RELEASED } = HsmStateFlag;
  if ((states & LOST) !== 0) return 'lost';
  if ((states & ARCHIVED) === 0 || (states & EXISTS) === 0) return 'not-archived';
  if ((states & DIRTY) !== 0) return 'dirty';
  return (states & RELEASED) === 0 ? 'clean' : 'released';
}

/** Released, and all is well: as an import leaves it. */
export function isStub(file: FoundFile): boolean {
  return file.state === 'released';
}

async function lookAtFile(
  item: Item,
  path: Buffer,
): Promise<Pick<FoundFile, 'states' | 'blob' | 'remembers' | 'pin'>> {
  const { container } = item.tools;
  const fd = await item.calls.openToLook(path);
  try {
    const { states } = await item.lustre((fs) => fs.hsmStateFd(fd));
    const { xattrs } = await item.lustre((fs) => fs.look(fd, MEMORY_XATTRS));
    const { value, name, elsewhere, pin } = recall(xattrs, container);
    const blob = name === undefined ? elsewhere : { container: container.container, name };
    return { states, blob, remembers: value !== undefined || pin !== undefined, pin };
  } finally {
    // Before anything else: an open file cannot be released.
    await item.calls.close(fd);
  }
}

/** What is at a name; undefined when nothing is. No link is followed. Rejects as the file system's calls do. */
export async function look(item: Item, directory: Directory, name: Buffer): Promise<Found | undefined> {
  const path = directory.pathOf(name);
  const stat = await item.calls.lstat(path);
  if (!stat) return undefined;
  try {
    if (stat.isDirectory()) return { kind: 'directory', stat };
    if (stat.isSymbolicLink()) return { kind: 'symlink', stat, target: await item.calls.readlink(path) };
    if (!stat.isFile()) return { kind: 'other', stat };
    const more = await lookAtFile(item, path);
    return { kind: 'file', stat, state: stateOf(more.states), ...more };
  } catch (error) {
    // Gone between two looks.
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Whether the file names this very blob. */
export function namesBlob(file: FoundFile, { blob, tools }: Item): boolean {
  return file.blob?.container === tools.container.container && file.blob.name === blob.name;
}

/** Whether the file is of this very version of the blob. */
export function isSameVersion(file: FoundFile, item: Item): boolean {
  const { etag, sizeBytes } = item.blob;
  return namesBlob(file, item) && sameEtag(file.pin, etag) && file.stat.size === BigInt(sizeBytes);
}

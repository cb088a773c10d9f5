// Which file system wrote a blob. FIDs are unique within one file system only, and every new one counts from
// the same number: a `lustre_fid` means something here only beside our own identity. ownership.ts calls it.
import { statPath } from './descriptors.js';
import type { Lustre } from '../../native-bindings/lustre.js';

/** The metadata key that holds the identity, written beside FID_METADATA. */
export const FILE_SYSTEM_METADATA = 'lustre_fs';

const NS_PER_SECOND = 1_000_000_000n;

const known = new WeakMap<Lustre, Map<string, Promise<string>>>();

/**
 * The identity of the file system at `mount`: its name and, where statx tells, the second in which its root
 * directory was made: `lustre@1700000000`. Names alone are often alike (every Azure Managed Lustre is `lustrefs`).
 */
export function fileSystemId(lustre: Lustre, mount: string): Promise<string> {
  const ids = known.get(lustre) ?? new Map<string, Promise<string>>();
  known.set(lustre, ids);
  const asked = ids.get(mount);
  if (asked) return asked;
  const id = ask(lustre, mount);
  ids.set(mount, id);
  // A failure is not remembered: the next action asks again.
  id.catch(() => ids.delete(mount));
  return id;
}

async function ask(lustre: Lustre, mount: string): Promise<string> {
  const name = lustre.fsname(mount);
  const root = await statPath(Buffer.from(mount));
  // Where statx has no birth time, Node gives 0 or repeats ctime, which moves.
  const told = root.birthtimeNs > 0n && root.birthtimeNs !== root.ctimeNs;
  return told ? `${name}@${root.birthtimeNs / NS_PER_SECOND}` : name;
}

/**
 * Whether two identities may be the same file system: the same name, and no two different births. A client too
 * old to tell the birth must still know its own blobs.
 */
export function sameFileSystem(one: string, other: string): boolean {
  const [oneName, oneBirth] = split(one);
  const [otherName, otherBirth] = split(other);
  return oneName === otherName && (!oneBirth || !otherBirth || oneBirth === otherBirth);
}

function split(id: string): [string, string] {
  const at = id.lastIndexOf('@');
  return at < 0 ? [id, ''] : [id.slice(0, at), id.slice(at + 1)];
}

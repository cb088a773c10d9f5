// What a file remembers of its blob (two xattrs), and the times of the file around each change of them.
// archive.ts, restore.ts and remove.ts read it; archive.ts and remove.ts change it through FileRecord.
import { describeError } from '../../native-bindings/errors.js';
import { formatBlobXattr, parseBlobXattr, type BlobReference } from '../blobs/names.js';
import { statDescriptor } from './descriptors.js';
import { BLOB_XATTR, ETAG_XATTR } from './mover.js';
import type { FileAttributes, Lustre, XattrChange } from '../../native-bindings/lustre.js';
import type { ArchiveContainer } from '../blobs/archive-container.js';

/** A file's two xattrs. */
export interface Memory {
  /** BLOB_XATTR as it is; undefined when there is none. */
  readonly value: Buffer | undefined;
  /** The blob's name, when it is in this archive's container. */
  readonly name: string | undefined;
  /** The blob, when it is in another container. */
  readonly elsewhere: BlobReference | undefined;
  /** What is wrong with BLOB_XATTR; undefined when all is well. */
  readonly unreadable: Error | undefined;
  /** ETAG_XATTR; undefined when absent or empty. */
  readonly pin: string | undefined;
}

/** ETAG_XATTR as an ETag; undefined when absent or empty. */
export function pinOf(value: Buffer | undefined): string | undefined {
  const etag = value?.toString('utf8').replace(/\0$/, '').trim();
  return etag === '' ? undefined : etag;
}

/** The xattrs that `recall` wants, in its order. */
export const MEMORY_XATTRS = [BLOB_XATTR, ETAG_XATTR] as const;

/** What a look at MEMORY_XATTRS has found. A value that makes no sense is told, not thrown. */
export function recall(
  [value, pinned]: readonly (Buffer | undefined)[],
  container: ArchiveContainer,
): Memory {
  const pin = pinOf(pinned);
  const nothing = { value, name: undefined, elsewhere: undefined, unreadable: undefined, pin };
  if (value === undefined) return nothing;
  try {
    const reference = parseBlobXattr(value, container);
    if (reference.container === container.container) return { ...nothing, name: reference.name };
    return { ...nothing, elsewhere: reference };
  } catch (error) {
    return { ...nothing, unreadable: error instanceof Error ? error : new Error(String(error)) };
  }
}

/**
 * Changes a file's memory and puts its times back afterwards: setting an xattr moves ctime. A change of ctime that
 * is not ours, a chmod in the middle of an archive say, is kept.
 */
export class FileRecord {
  readonly #lustre: Lustre;
  readonly #fd: number;
  readonly #container: ArchiveContainer;
  readonly #memory: Memory;
  /** What atime and mtime are put back to. */
  readonly #before: FileAttributes;
  /** What ctime is put back to. */
  #ctimeNs: bigint;
  /** The attributes right after our last write; undefined until the first. */
  #written: FileAttributes | undefined;
  #claimed = false;
  /** Both xattrs as we left them. */
  #left: { value: Buffer | undefined; pin: string | undefined };

  /** `before` are the file's attributes before anything was done to it. */
  constructor(
    lustre: Lustre,
    fd: number,
    container: ArchiveContainer,
    memory: Memory,
    before: FileAttributes,
  ) {
    this.#lustre = lustre;
    this.#fd = fd;
    this.#container = container;
    this.#memory = memory;
    this.#before = before;
    this.#ctimeNs = before.ctimeNs;
    this.#left = { value: memory.value, pin: memory.pin };
  }

  /**
   * Remembers this name before a byte is uploaded: from then on no other file's archive takes the blob for an
   * orphan, however soon the daemon dies. A pin that belongs to another blob goes first.
   */
  async claim(name: string): Promise<void> {
    const value = formatBlobXattr({ container: this.#container.container, name });
    const current = this.#claimed ? undefined : this.#memory.value;
    if (current?.equals(value)) return;
    const dropsPin = !this.#claimed && this.#memory.pin !== undefined && this.#memory.name !== name;
    this.#claimed = true;
    const forgetting = dropsPin ? [{ name: ETAG_XATTR, value: undefined }] : [];
    await this.#write([...forgetting, { name: BLOB_XATTR, value }]);
  }

  /**
   * Puts the memory back as it was before `claim`, for an archive that committed nothing; times too. If either xattr is not as
   * we left it, another node has archived the file meanwhile: then nothing is touched. Answers what was not put back.
   *
   * A release meanwhile needs no look: it wants a copy, and whoever made one since has pinned it. With both xattrs as we
   * left them the copy is the one that we forgot, and a reader needs its name.
   */
  async unclaim(): Promise<string | undefined> {
    if (!this.#claimed) return undefined;
    const look = await this.#lustre.look(this.#fd, MEMORY_XATTRS);
    const now = recall(look.xattrs, this.#container);
    if (!sameValue(now.value, this.#left.value) || now.pin !== this.#left.pin) {
      return 'the xattrs are left as they are: somebody else has changed them';
    }
    const { value, pin } = this.#memory;
    const isPinGone = pin !== this.#left.pin && pin !== undefined;
    await this.#write([
      { name: BLOB_XATTR, value },
      ...(isPinGone ? [{ name: ETAG_XATTR, value: Buffer.from(pin) }] : []),
    ]);
    return this.putTimesBack();
  }

  /** Remembers the version that the file's content is now, and its blob, should another node have put its name away. */
  async pin(etag: string): Promise<void> {
    const { value } = this.#left;
    const { xattrs } = await this.#lustre.look(this.#fd, [BLOB_XATTR]);
    const isNameGone = value !== undefined && !sameValue(xattrs[0], value);
    await this.#write([
      ...(isNameGone ? [{ name: BLOB_XATTR, value }] : []),
      { name: ETAG_XATTR, value: Buffer.from(etag) },
    ]);
  }

  /** Forgets the blob. */
  async forget(): Promise<void> {
    if (this.#memory.value === undefined && this.#memory.pin === undefined) return;
    await this.#write([
      { name: ETAG_XATTR, value: undefined },
      { name: BLOB_XATTR, value: undefined },
    ]);
  }

  /**
   * Puts atime, mtime and ctime back as they were, unless the file was written or touched meanwhile. Answers why it
   * did not, undefined when all is as it was. Never rejects: times are not worth an action.
   *
   * Never for a file whose restore is under way: LL_IOC_FUTIMES_3 waits for the layout, which the coordinator holds
   * until that very restore ends.
   */
  async putTimesBack(): Promise<string | undefined> {
    const now = this.#written;
    if (now === undefined) return undefined;
    if (now.mtimeNs !== this.#before.mtimeNs) return 'times left as they are: the file was written meanwhile';
    try {
      await this.#lustre.setTimes(this.#fd, {
        atimeNs: this.#before.atimeNs,
        mtimeNs: this.#before.mtimeNs,
        ctimeNs: this.#ctimeNs,
      });
      return undefined;
    } catch (error) {
      return `times not put back: ${describeError(error)}`;
    }
  }

  /** Does something to the file that moves its ctime, which is not to stay. */
  async change(change: () => Promise<void>): Promise<void> {
    this.#noteBefore(await statDescriptor(this.#fd));
    try {
      await change();
    } finally {
      this.#written = await statDescriptor(this.#fd);
    }
  }

  /** The same for xattrs. */
  async #write(changes: readonly XattrChange[]): Promise<void> {
    const { before, after, made, failure } = await this.#lustre.changeXattrs(this.#fd, changes);
    this.#noteBefore(before);
    this.#written = after;
    for (const { name, value } of changes.slice(0, made)) {
      if (name === BLOB_XATTR) this.#left.value = value;
      else this.#left.pin = pinOf(value);
    }
    if (failure) throw failure;
  }

  #noteBefore({ ctimeNs }: FileAttributes): void {
    if (ctimeNs !== this.#written?.ctimeNs) this.#ctimeNs = ctimeNs;
  }
}

function sameValue(one: Buffer | undefined, other: Buffer | undefined): boolean {
  return one === undefined || other === undefined ? one === other : one.equals(other);
}

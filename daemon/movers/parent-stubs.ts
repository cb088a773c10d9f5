// Directory stubs: the empty blobs that make a path's directories, with owner and mode, visible to other tools.
// archive.ts calls it before it writes a file's blob. What is known to be there is asked for once only.
import type { BigIntStats } from 'node:fs';
import { LhsmError, errnoNumber, hasCode } from '../../native-bindings/errors.js';
import { metadataOf } from '../blobs/attributes.js';
import { blobNameOfPath, parentPaths } from '../blobs/names.js';
import { isDirectoryStub } from './collision.js';
import { statPath } from './descriptors.js';
import type { MoverTools } from './mover.js';
import type { ArchiveContainer } from '../blobs/archive-container.js';

/** Stubs remembered for a container; at some 100 bytes a name, 10 MB. */
const MAX_KNOWN = 100_000;

/** The stubs of one container: those that are there, and those being made. */
export class ParentStubs {
  readonly #container: ArchiveContainer;
  readonly #maxKnown: number;
  /** In order of last use, the oldest first. */
  readonly #known = new Set<string>();
  readonly #underWay = new Map<string, Promise<void>>();

  constructor(container: ArchiveContainer, maxKnown = MAX_KNOWN) {
    this.#container = container;
    this.#maxKnown = maxKnown;
  }

  get knownCount(): number {
    return this.#known.size;
  }

  /**
   * Makes sure that every directory above `path` (relative to the mount) has its stub. A stub that is there is left
   * as it is. Rejects with code PARENT_IS_FILE (ENOTDIR) where a blob that is no directory stands at such a name.
   */
  async ensure(path: Buffer, tools: MoverTools, signal: AbortSignal): Promise<void> {
    const parents = parentPaths(path);
    const innermost = parents.at(-1);
    // Made outermost first, so the innermost one stands for all.
    if (!innermost || this.#isKnown(this.#nameOf(innermost))) return;
    for (const directory of parents) await this.#ensureOne(directory, tools, signal);
  }

  #nameOf(directory: Buffer): string {
    return blobNameOfPath(this.#container.prefix, directory);
  }

  #isKnown(name: string): boolean {
    if (!this.#known.delete(name)) return false;
    this.#known.add(name);
    return true;
  }

  #remember(name: string): void {
    this.#known.add(name);
    if (this.#known.size <= this.#maxKnown) return;
    for (const oldest of this.#known) {
      this.#known.delete(oldest);
      break;
    }
  }

  /** One request for siblings that ask at the same time; one that aborts does not take the others with it. */
  async #ensureOne(directory: Buffer, tools: MoverTools, signal: AbortSignal): Promise<void> {
    const name = this.#nameOf(directory);
    for (;;) {
      signal.throwIfAborted();
      if (this.#isKnown(name)) return;
      const others = this.#underWay.get(name);
      if (!others) break;
      // Whatever becomes of theirs: known now, or ours to try.
      await others.catch(() => undefined);
    }
    const making = this.#make(name, directory, tools, signal);
    this.#underWay.set(name, making);
    try {
      await making;
    } finally {
      this.#underWay.delete(name);
    }
  }

  async #make(name: string, directory: Buffer, tools: MoverTools, signal: AbortSignal): Promise<void> {
    const attributes = await attributesOfDirectory(tools.mount, directory);
    // Renamed or removed since the file's path was read: a stub of what is gone helps nobody.
    if (!attributes) return;
    const metadata = metadataOf(
      {
        kind: 'directory',
        uid: Number(attributes.uid),
        gid: Number(attributes.gid),
        mode: Number(attributes.mode),
        mtimeNs: attributes.mtimeNs,
      },
      { keepSetId: tools.policy.keepSetId },
    );
    try {
      await this.#container.putEmpty(name, metadata, 'absent', signal);
    } catch (error) {
      if (!hasCode(error, 'BLOB_CHANGED')) throw error;
      const found = await this.#container.properties(name, signal);
      if (found && !isDirectoryStub(found.metadata)) throw parentIsFile(name);
    }
    this.#remember(name);
  }
}

async function attributesOfDirectory(mount: string, directory: Buffer): Promise<BigIntStats | undefined> {
  try {
    const attributes = await statPath(Buffer.concat([Buffer.from(`${mount}/`), directory]));
    return attributes.isDirectory() ? attributes : undefined;
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return undefined;
    throw error;
  }
}

function parentIsFile(name: string): LhsmError {
  return new LhsmError(`The blob ${name} is a file, and a directory of that name is to be archived.`, {
    code: 'PARENT_IS_FILE',
    op: 'archive',
    errno: errnoNumber('ENOTDIR'),
    hint: 'Another tool could not read the container: move or delete that blob, then archive again.',
  });
}

const stubsOf = new WeakMap<ArchiveContainer, ParentStubs>();

/** The stubs of a container, kept as long as the container's object. */
export function parentStubs(container: ArchiveContainer): ParentStubs {
  let stubs = stubsOf.get(container);
  if (!stubs) stubsOf.set(container, (stubs = new ParentStubs(container)));
  return stubs;
}

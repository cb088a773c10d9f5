// Directory stubs: the empty blobs that make a path's directories, with owner and mode, visible to other tools.
// archive.ts calls it before it writes a file's blob. What is known to be there is asked for once only.
import type { Logger } from 'pino';
import { LhsmError, describeError, errnoNumber } from '../../native-bindings/errors.js';
import { metadataOf } from '../blobs/attributes.js';
import { blobNameOfPath, parentPaths } from '../blobs/names.js';
import { isDirectoryStub, namedOwner, sameFid } from './collision.js';
import { directoryAt } from './descriptors.js';
import { fileSystemId } from './file-system-id.js';
import { askOwner } from './ownership.js';
import type { MoverTools } from './mover.js';
import type { BlobHeaders } from '../blob.js';
import type { ArchiveContainer } from '../blobs/archive-container.js';
import type { Fid } from '../../native-bindings/lustre.js';

/** Stubs remembered for a container; at some 100 bytes a name, 10 MB. */
const MAX_KNOWN = 100_000;

/** How long a stub that could not be made is not tried again: a directory may have a million files. */
const SKIP_MS = 60_000;

/** Failures that a file's own upload would meet as well: then the archive fails with them. */
const ofTheContainer = new Set([
  'CONTAINER_MISSING',
  'ECANCELED',
  'INSECURE_URL',
  'PARENT_IS_FILE',
  'THROTTLED',
  'TLS_CERTIFICATE',
  'TOKEN_FAILED',
  'UNREACHABLE',
]);

/** Why a directory has no stub; undefined when it has one. */
type Skipped = string | undefined;

/** What came of one stub. */
export interface Made {
  /** It was not there before. */
  readonly made: boolean;
  /** Why there is none. */
  readonly skipped?: string;
}

/** What stubs are made with. */
export type StubTools = Pick<MoverTools, 'mount' | 'lustre' | 'policy'>;

/** Whose archive needs the stubs. */
export interface StubUser {
  /** Undefined for a job that makes stubs without a file below them. */
  readonly fid?: Fid;
  readonly log: Pick<Logger, 'warn'>;
}

/** The stubs of one container: those that are there, and those being made. */
export class ParentStubs {
  readonly #container: ArchiveContainer;
  readonly #maxKnown: number;
  /** In order of last use, the oldest first. */
  readonly #known = new Set<string>();
  readonly #skipped = new Map<string, { readonly why: string; readonly until: number }>();
  readonly #underWay = new Map<string, Promise<Skipped>>();
  #skips = 0;

  constructor(container: ArchiveContainer, maxKnown = MAX_KNOWN) {
    this.#container = container;
    this.#maxKnown = maxKnown;
  }

  get knownCount(): number {
    return this.#known.size;
  }

  /**
   * Makes sure that every directory above `path` (relative to the mount) has its stub. A stub that is there is left
   * as it is. Answers which it had to go without, in words: a directory's owner and mode are not worth a file's content.
   * Rejects with code PARENT_IS_FILE (ENOTDIR) where the blob of a living file, or one that is not ours, stands at such a name,
   * and with what says that the container is of no use.
   */
  async ensure(path: Buffer, tools: MoverTools, signal: AbortSignal, user: StubUser): Promise<string[]> {
    const parents = parentPaths(path);
    const innermost = parents.at(-1);
    // Made outermost first, so the innermost one stands for all.
    if (!innermost || this.#isKnown(this.#nameOf(innermost))) return [];
    const notes: string[] = [];
    for (const directory of parents) {
      const skipped = await this.#ensureOne(directory, tools, signal, user);
      if (skipped !== undefined) notes.push(skipped);
    }
    return notes;
  }

  /**
   * Asks the service for the stub of this one directory, whatever is remembered: it may have been deleted since. Answers whether
   * it was made now, and if there is none, why. Rejects as `ensure`.
   */
  make(directory: Buffer, tools: StubTools, signal: AbortSignal, user: StubUser): Promise<Made> {
    return this.#make(this.#nameOf(directory), directory, tools, signal, user);
  }

  #nameOf(directory: Buffer): string {
    return blobNameOfPath(this.#container.prefix, directory);
  }

  #isKnown(name: string): boolean {
    if (!this.#known.delete(name)) return false;
    this.#known.add(name);
    return true;
  }

  #skippedLately(name: string): Skipped {
    const skipped = this.#skipped.get(name);
    if (skipped && skipped.until > performance.now()) return skipped.why;
    this.#skipped.delete(name);
    return undefined;
  }

  #skip(name: string, why: string): string {
    if (this.#skipped.size >= this.#maxKnown) this.#skipped.clear();
    this.#skipped.set(name, { why, until: performance.now() + SKIP_MS });
    return why;
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
  async #ensureOne(
    directory: Buffer,
    tools: MoverTools,
    signal: AbortSignal,
    user: StubUser,
  ): Promise<Skipped> {
    const name = this.#nameOf(directory);
    for (;;) {
      signal.throwIfAborted();
      if (this.#isKnown(name)) return undefined;
      const skipped = this.#skippedLately(name);
      if (skipped !== undefined) return skipped;
      const others = this.#underWay.get(name);
      if (!others) break;
      // Whatever becomes of theirs: known now, or ours to try.
      await settledOrAborted(others, signal);
    }
    const making = this.#make(name, directory, tools, signal, user).then((made) => made.skipped);
    this.#underWay.set(name, making);
    try {
      return await making;
    } finally {
      this.#underWay.delete(name);
    }
  }

  async #make(
    name: string,
    directory: Buffer,
    tools: StubTools,
    signal: AbortSignal,
    user: StubUser,
  ): Promise<Made> {
    const attributes = await directoryAt(tools.mount, directory);
    // Renamed or removed since the file's path was read: a stub of what is gone helps nobody.
    if (!attributes) return { made: false };
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
    let made = true;
    try {
      await this.#container.putEmpty(name, metadata, 'absent', signal);
    } catch (error) {
      if (signal.aborted || !isOfTheStub(error)) throw error;
      // Whatever the answer was: a directory at that name is all that is wanted.
      const found = await this.#lookAt(name, signal);
      if (!found || !isDirectoryStub(found.metadata)) {
        return { made: false, skipped: await this.#without(name, found, error, tools, user) };
      }
      made = false;
    }
    this.#remember(name);
    return { made };
  }

  /** undefined also for what the service does not let us see. */
  async #lookAt(name: string, signal: AbortSignal): Promise<BlobHeaders | undefined> {
    try {
      return await this.#container.properties(name, signal);
    } catch (error) {
      if (signal.aborted || !isOfTheStub(error)) throw error;
      return undefined;
    }
  }

  /** A directory that gets no stub: why, or the error that says that its files cannot be archived either. */
  async #without(
    name: string,
    found: BlobHeaders | undefined,
    error: unknown,
    tools: StubTools,
    { fid, log }: StubUser,
  ): Promise<string> {
    if (found) {
      const owner = namedOwner(found.metadata, await fileSystemId(tools.lustre, tools.mount));
      const stays = `the blob ${name} of a file stays where a directory is now, which gets no stub`;
      // This very file is about to be archived elsewhere; its siblings ask for themselves.
      if (fid && owner?.surelyOurs && sameFid(owner.fid, fid)) return stays;
      if (!owner?.surelyOurs) throw parentIsFile(name);
      if ((await askOwner(tools, this.#container, name, found.etag, owner.fid)) !== 'no') {
        throw parentIsFile(name);
      }
      return this.#skip(name, stays);
    }
    this.#skips += 1;
    log.warn({ blob: name, err: error, skipped: this.#skips }, 'archive: a directory gets no stub');
    return this.#skip(name, `no stub for the directory ${name}: ${describeError(error)}`);
  }
}

/** Resolves when the work is settled, well or not, or the signal has aborted. */
function settledOrAborted(work: Promise<unknown>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      signal.removeEventListener('abort', done);
      resolve();
    };
    signal.addEventListener('abort', done);
    work.then(done, done);
  });
}

function isOfTheStub(error: unknown): boolean {
  return error instanceof LhsmError && !error.retryable && !ofTheContainer.has(error.code);
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

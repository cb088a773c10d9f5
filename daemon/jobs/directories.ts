// The directories that an import works in, held open. A path is opened component by component, each by its parent's
// descriptor and never through a symbolic link: nothing leaves the mount, and no path is too long. The parts of import-item.ts call it.
import { closeSync } from 'node:fs';
import { LhsmError, hasCode } from '../../native-bindings/errors.js';
import type { Share } from '../share.js';
import { applyAttributes } from './apply-attributes.js';
import { PathCalls, descriptorPath } from './path-calls.js';

const DEFAULT_MAX_OPEN = 1024;
/** Somebody who makes and removes a name as fast as we look at it does not keep us for ever. */
const MAX_TRIES = 5;

/** Something that is no directory stands where one is needed: a file, a link, anything. */
export class NotADirectory extends LhsmError {
  /** Relative to the mount: what is in the way. */
  readonly path: Buffer;

  constructor(path: Buffer) {
    super(`${path.toString()} is in the way: it is no directory.`, {
      code: 'ENOTDIR',
      op: 'open directory',
      hint: 'A symbolic link to a directory is not followed.',
    });
    this.path = path;
  }
}

/** A directory that is open while it is lent out. */
export interface Directory {
  /** Relative to the mount; empty for its root. */
  readonly path: Buffer;
  /** Whether this cache has created it. */
  readonly madeByJob: boolean;
  /** Whether nobody but root could have put anything into it since: then nothing is in it that the job does not know of. */
  readonly onlyOurs: boolean;
  /** To be told before it gets its owner and mode: others may be able to write to it from then on. */
  handOver(uid: number, mode: number): void;
  /** The path of a name in it, for one call; `.` for the directory itself. */
  pathOf(name: Buffer): Buffer;
}

export interface DirectoryCacheOptions {
  readonly mount: string;
  readonly share: Pick<Share, 'run'>;
  /** Of directories that are made without a stub that says otherwise. */
  readonly defaults: { readonly uid: number; readonly gid: number; readonly mode: number };
  /** Descriptors kept when nobody uses them. Those lent out at the time come on top. */
  readonly maxOpen?: number;
}

class Entry implements Directory {
  readonly path: Buffer;
  madeByJob = false;
  #handedOver = false;
  fd = -1;
  users = 0;
  /** No longer in the cache: to be closed by its last user. */
  dropped = false;
  /** False when there is no such directory. */
  ready: Promise<boolean> = Promise.resolve(false);

  constructor(path: Buffer) {
    this.path = path;
  }

  get onlyOurs(): boolean {
    return this.madeByJob && !this.#handedOver;
  }

  handOver(uid: number, mode: number): void {
    if (uid !== 0 || (mode & 0o022) !== 0) this.#handedOver = true;
  }

  pathOf(name: Buffer): Buffer {
    return descriptorPath(this.fd, name);
  }
}

const keyOf = (path: Buffer): string => path.toString('latin1');

/** Parent and last component of a path relative to the mount. */
export function splitPath(path: Buffer): { readonly parent: Buffer; readonly name: Buffer } {
  const slash = path.lastIndexOf('/');
  return { parent: path.subarray(0, Math.max(slash, 0)), name: path.subarray(slash + 1) };
}

export class DirectoryCache {
  readonly #options: DirectoryCacheOptions;
  readonly #calls: PathCalls;
  readonly #maxOpen: number;
  /** In order of last use, the oldest first. */
  readonly #entries = new Map<string, Entry>();
  readonly #turns = new Map<string, Promise<void>>();
  #closed = false;

  constructor(options: DirectoryCacheOptions) {
    this.#options = options;
    this.#calls = new PathCalls(options.share);
    this.#maxOpen = options.maxOpen ?? DEFAULT_MAX_OPEN;
  }

  /** Directories held open, or being opened. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * Lends the directory at `path`, relative to the mount, to `use`. `make` creates what is missing of it, with the defaults;
   * `look` gives undefined where something is missing. Rejects with NotADirectory naming the first component that is none,
   * with LhsmError as the system's calls fail, and with what `use` rejects with.
   */
  async with<T>(
    path: Buffer,
    how: 'make' | 'look',
    use: (directory: Directory | undefined) => Promise<T>,
  ): Promise<T> {
    const entry = await this.#acquire(path, how);
    if (!entry) return use(undefined);
    try {
      return await use(entry);
    } finally {
      this.#release(entry);
    }
  }

  /** Whether the directory is open now and was made by this cache. */
  isMade(path: Buffer): boolean {
    return this.#entries.get(keyOf(path))?.madeByJob ?? false;
  }

  /** The directory, and those above it if `upwards`, may be gone or another: they are opened anew when next needed. */
  forget(path: Buffer, upwards = false): void {
    for (let at = path; ; at = splitPath(at).parent) {
      const entry = at.length > 0 ? this.#entries.get(keyOf(at)) : undefined;
      if (entry) this.#drop(entry);
      if (!upwards || at.length === 0) return;
    }
  }

  /** Runs one piece of work at a time for a path, in the order asked. Bounds nothing else. */
  async alone<T>(path: Buffer, work: () => Promise<T>): Promise<T> {
    const key = keyOf(path);
    const run = (this.#turns.get(key) ?? Promise.resolve()).then(work);
    const settled = run.then(
      () => undefined,
      () => undefined,
    );
    this.#turns.set(key, settled);
    try {
      return await run;
    } finally {
      if (this.#turns.get(key) === settled) this.#turns.delete(key);
    }
  }

  /** Closes everything; what is still lent out is closed when it comes back. */
  close(): void {
    this.#closed = true;
    for (const entry of [...this.#entries.values()]) this.#drop(entry);
  }

  async #acquire(path: Buffer, how: 'make' | 'look'): Promise<Entry | undefined> {
    const key = keyOf(path);
    for (;;) {
      const known = this.#closed ? undefined : this.#entries.get(key);
      const entry = known ?? new Entry(path);
      this.#entries.delete(key);
      this.#entries.set(key, entry);
      entry.users += 1;
      if (!known) entry.ready = this.#open(entry, how);
      let there = false;
      try {
        there = await entry.ready;
      } finally {
        if (!there) this.#drop(entry);
        if (!there) this.#release(entry);
      }
      if (there) {
        this.#evict();
        return entry;
      }
      // Shared with somebody who only looked: then it is ours to make.
      if (!known || how === 'look') return undefined;
    }
  }

  #release(entry: Entry): void {
    entry.users -= 1;
    if (this.#closed) this.#drop(entry);
    this.#closeIfUnused(entry);
  }

  #drop(entry: Entry): void {
    entry.dropped = true;
    const key = keyOf(entry.path);
    if (this.#entries.get(key) === entry) this.#entries.delete(key);
    this.#closeIfUnused(entry);
  }

  /** At once: an O_PATH descriptor is nothing that a server knows of. */
  #closeIfUnused(entry: Entry): void {
    if (!entry.dropped || entry.users > 0 || entry.fd < 0) return;
    closeSync(entry.fd);
    entry.fd = -1;
  }

  #evict(): void {
    for (const entry of this.#entries.values()) {
      if (this.#entries.size <= this.#maxOpen) return;
      if (entry.users === 0) this.#drop(entry);
    }
  }

  async #open(entry: Entry, how: 'make' | 'look'): Promise<boolean> {
    if (entry.path.length === 0) {
      entry.fd = await this.#calls.openDirectory(Buffer.from(this.#options.mount), true);
      return true;
    }
    const { parent: above, name } = splitPath(entry.path);
    const parent = await this.#acquire(above, how);
    if (!parent) return false;
    try {
      return await this.#openIn(parent, name, entry, how);
    } finally {
      this.#release(parent);
    }
  }

  async #openIn(parent: Entry, name: Buffer, entry: Entry, how: 'make' | 'look'): Promise<boolean> {
    const path = parent.pathOf(name);
    for (let tries = 1; ; tries += 1) {
      try {
        // In a directory that was made a moment ago there is nothing to be found.
        if (tries > 1 || !parent.madeByJob || how === 'look') {
          entry.fd = await this.#calls.openDirectory(path);
          if (entry.madeByJob) await this.#dress(entry);
          return true;
        }
      } catch (error) {
        if (hasCode(error, 'ENOTDIR') || hasCode(error, 'ELOOP')) throw new NotADirectory(entry.path);
        if (!hasCode(error, 'ENOENT') || tries > MAX_TRIES) throw error;
        if (how === 'look') return false;
      }
      try {
        await this.#calls.mkdir(path, this.#options.defaults.mode & 0o777);
        entry.madeByJob = true;
      } catch (error) {
        if (!hasCode(error, 'EEXIST')) throw error;
        entry.madeByJob = false;
      }
    }
  }

  /** The umask and a parent with the set-group-id bit have had their say. */
  async #dress(entry: Entry): Promise<void> {
    const path = entry.pathOf(Buffer.from('.'));
    const now = await this.#calls.lstat(path);
    const { uid, gid, mode } = this.#options.defaults;
    entry.handOver(uid, mode);
    const calls = { paths: this.#calls, setMtime: () => Promise.resolve() };
    if (now) await applyAttributes(calls, path, now, { uid, gid, mode, mtimeNs: undefined }, {});
  }
}

// Walks trees below the mount side by side, in bounded memory, never through a symbolic link. The export job, batch
// restore, release and verify take their files from it.
import type { Dir } from 'node:fs';
import { opendir } from 'node:fs/promises';
import { LhsmError, errnoName, errnoNumber } from '../../native-bindings/errors.js';
import type { Lustre } from '../../native-bindings/lustre.js';
import { showPath } from '../blobs/names.js';
import { statDescriptor } from '../movers/descriptors.js';
import { Share } from '../share.js';
import { mapShares } from './bounded.js';
import { Channel } from './channel.js';
import { isStatusFile } from './status-file.js';
import {
  below,
  closeQuietly,
  entryOf,
  inDirectory,
  isGone,
  openDirectory,
  PathResolver,
  walkError,
  type WalkedEntry,
  type WalkProblem,
} from './walked-file.js';

/** What was found since the last batch. */
export interface WalkBatch {
  readonly entries: readonly WalkedEntry[];
  /** Never fatal: the walk goes on beside them. */
  readonly problems: readonly WalkProblem[];
}

export interface WalkOptions {
  readonly mount: string;
  readonly lustre: Pick<Lustre, 'lookAtNames'>;
  /** Absolute, or relative to the mount; a file is an entry of its own. Those below another are walked once. */
  readonly paths: readonly (string | Buffer)[];
  /** Directories read, and names looked at, at once. */
  readonly parallel?: number;
}

const DEFAULT_PARALLEL = 8;
/** Entries read, looked at and handed over together. */
const BATCH_ENTRIES = 64;
/** Batches that wait for who takes them. */
const BATCHES_AHEAD = 4;
/** Deeper trees are told, not walked: each level of a branch that is being read holds two descriptors. */
const MAX_DEPTH = 512;

/**
 * Entries of the trees, parents before their children, in no other order; the mount itself, `.lustre`, and the status
 * files of jobs in the root are left out. Sockets, devices and FIFOs are told and never opened.
 *
 * Memory is bounded by `parallel` × depth × one batch of names: a subdirectory is walked before the rest of its parent
 * is read, by the one who has found it or by somebody idle, so that no list of pending directories can grow.
 *
 * Rejects with LhsmError before the first batch for a path that is of no use: PATH_OUTSIDE_MOUNT, PATH_INVALID, ENOENT …;
 * with the reason of `signal` when that aborts.
 */
export async function* walkTree(
  options: WalkOptions,
  signal: AbortSignal,
): AsyncGenerator<WalkBatch, void, undefined> {
  signal.throwIfAborted();
  const resolver = new PathResolver(options.mount);
  const starts: WalkedEntry[] = [];
  for (const path of options.paths) starts.push(await resolver.resolve(path));
  const walk = new Walk(options, withoutNested(starts), signal);
  try {
    for (;;) {
      const batch = await walk.batches.take();
      if (!batch) return;
      yield batch;
    }
  } finally {
    await walk.end();
  }
}

/** Starts that no other start has below it. */
function withoutNested(starts: readonly WalkedEntry[]): WalkedEntry[] {
  const sorted = [...starts].sort((one, other) => one.path.length - other.path.length);
  const kept: WalkedEntry[] = [];
  for (const start of sorted) if (!kept.some((one) => contains(one.path, start.path))) kept.push(start);
  return kept;
}

function contains(parent: Buffer, path: Buffer): boolean {
  if (parent.length === 0 || parent.equals(path)) return true;
  return path[parent.length] === 0x2f && path.subarray(0, parent.length).equals(parent);
}

class Walk {
  readonly batches = new Channel<WalkBatch>(BATCHES_AHEAD);
  readonly #mount: string;
  readonly #lustre: WalkOptions['lustre'];
  readonly #parallel: number;
  readonly #signal: AbortSignal;
  readonly #stop = new AbortController();
  /** Trips to threads at once, over all that walk: restores need threads, too. */
  readonly #calls: Share;
  readonly #walkers = new Set<Promise<void>>();
  readonly #done: Promise<void>;
  #device = 0n;

  constructor(options: WalkOptions, starts: readonly WalkedEntry[], signal: AbortSignal) {
    this.#mount = options.mount;
    this.#lustre = options.lustre;
    this.#parallel = Math.max(1, options.parallel ?? DEFAULT_PARALLEL);
    this.#calls = new Share(this.#parallel);
    this.#signal = AbortSignal.any([signal, this.#stop.signal]);
    this.#done = this.#run(starts);
  }

  /** Stops what still runs and waits for it: no descriptor stays open. */
  async end(): Promise<void> {
    this.#stop.abort();
    this.batches.close();
    await this.#done;
  }

  async #run(starts: readonly WalkedEntry[]): Promise<void> {
    try {
      for (const start of starts) {
        this.#device = start.stat.dev;
        if (start.path.length > 0) await this.batches.put({ entries: [start], problems: [] });
        if (start.kind === 'directory') await this.#start(start);
      }
      while (this.#walkers.size > 0) await Promise.all(this.#walkers);
      this.batches.close();
    } catch (error) {
      this.#stop.abort();
      await Promise.allSettled(this.#walkers);
      this.batches.close({ error });
    }
  }

  async #start(start: WalkedEntry): Promise<void> {
    const fd = await this.#openEntry(below(this.#mount, start.path), start);
    if (fd !== undefined) await this.#directory(fd, start.path, 1);
  }

  /** Opens a directory that was looked at a moment ago; undefined when it could not be, which is told. */
  async #openEntry(at: Buffer, { path, stat }: WalkedEntry): Promise<number | undefined> {
    let fd: number | undefined;
    try {
      fd = await this.#calls.run(() => openDirectory(at, path));
      const now = await statDescriptor(fd);
      if (now.ino === stat.ino && now.dev === stat.dev) return fd;
      throw new LhsmError(`${showPath(path)} is another directory by now`, { code: 'ENOENT', op: 'open' });
    } catch (error) {
      if (fd !== undefined) await closeQuietly(fd);
      await this.#tell(path, walkError('open', path, error));
      return undefined;
    }
  }

  async #tell(path: Buffer, error: LhsmError): Promise<void> {
    await this.batches.put({ entries: [], problems: [{ path, error }] });
  }

  /** Walks the directory behind `fd`, and closes it. */
  async #directory(fd: number, path: Buffer, depth: number): Promise<void> {
    let dir: Dir | undefined;
    try {
      dir = await this.#open(fd, path);
      while (dir) {
        this.#signal.throwIfAborted();
        const names = await this.#read(dir, path);
        if (names.length < BATCH_ENTRIES) {
          // Read to its end: a deep branch then holds one descriptor a level, not two.
          await dir.close();
          dir = undefined;
        }
        for (const child of await this.#look(fd, path, names)) await this.#descend(fd, child, depth);
      }
    } finally {
      await dir?.close().catch(() => undefined);
      await closeQuietly(fd);
    }
  }

  async #open(fd: number, path: Buffer): Promise<Dir | undefined> {
    try {
      return await this.#calls.run(() => opendir(`/proc/self/fd/${fd}`, asBytes));
    } catch (error) {
      await this.#tell(path, walkError('opendir', path, error));
      return undefined;
    }
  }

  /** The next names; fewer than a batch when there are no more, or when the directory cannot be read further, which is told. */
  async #read(dir: Dir, path: Buffer): Promise<Buffer[]> {
    const names: Buffer[] = [];
    try {
      await this.#calls.run(async () => {
        while (names.length < BATCH_ENTRIES) {
          const entry = await dir.read();
          if (!entry) return;
          // With `encoding: 'buffer'` it is one; the types of Node know only text.
          names.push(entry.name as unknown as Buffer);
        }
      });
      return names;
    } catch (error) {
      await this.#tell(path, walkError('readdir', path, error));
      return names.slice(0, BATCH_ENTRIES - 1);
    }
  }

  /** Looks at the names, hands them over, and answers the directories among them. */
  async #look(fd: number, path: Buffer, names: readonly Buffer[]): Promise<WalkedEntry[]> {
    const problems: WalkProblem[] = [];
    const wanted = path.length > 0 ? names : names.filter((name) => !isOurs(name));
    if (wanted.length === 0) return [];
    // Several names a trip, and yet as many trips side by side as are allowed: the MDS answers them side by side.
    const looks = await mapShares(wanted, this.#parallel, (some) =>
      this.#calls.run(() => this.#lustre.lookAtNames(fd, some)),
    );
    const found = looks.map((look, i) => {
      const name = wanted[i] ?? Buffer.alloc(0);
      const full = path.length === 0 ? name : Buffer.concat([path, Buffer.from('/'), name]);
      if (typeof look !== 'number') {
        if (look.dev === this.#device) return entryOf(full, look);
        problems.push({ path: full, error: elsewhere(full) });
        return undefined;
      }
      const error = lookError(full, look);
      // Removed since it was listed: then it is no part of the tree.
      if (!isGone(error)) problems.push({ path: full, error });
      return undefined;
    });
    const entries = found.filter((entry) => entry !== undefined);
    if (entries.length + problems.length > 0) await this.batches.put({ entries, problems });
    return entries.filter(({ kind }) => kind === 'directory');
  }

  async #descend(fd: number, child: WalkedEntry, depth: number): Promise<void> {
    this.#signal.throwIfAborted();
    if (depth >= MAX_DEPTH) {
      await this.#tell(child.path, tooDeep(child.path));
      return;
    }
    const name = child.path.subarray(child.path.lastIndexOf(0x2f) + 1);
    const at = await this.#openEntry(inDirectory(fd, name), child);
    if (at === undefined) return;
    // The one who reads the parent is a walker, too.
    if (this.#walkers.size + 1 < this.#parallel) {
      const walker = this.#directory(at, child.path, depth + 1)
        .catch((error: unknown) => {
          this.batches.close({ error });
          this.#stop.abort();
        })
        .finally(() => this.#walkers.delete(walker));
      this.#walkers.add(walker);
    } else {
      await this.#directory(at, child.path, depth + 1);
    }
  }
}

/** Few entries a read, so that a directory of millions costs no more memory than a small one. */
const asBytes = { encoding: 'buffer', bufferSize: BATCH_ENTRIES } as unknown as { bufferSize: number };

function isOurs(name: Buffer): boolean {
  const text = name.toString('latin1');
  return text === '.lustre' || isStatusFile(text);
}

function lookError(path: Buffer, errno: number): LhsmError {
  const code = errnoName(errno);
  return new LhsmError(`lstat of ${showPath(path)} failed: ${code}`, { code, op: 'lstat', errno });
}

function elsewhere(path: Buffer): LhsmError {
  return new LhsmError(`${showPath(path)} lies on another file system and is left out`, {
    code: 'OTHER_FILE_SYSTEM',
    op: 'lstat',
    errno: errnoNumber('EXDEV'),
    hint: 'Something is mounted there: unmount it, or give a path that does not have it below.',
  });
}

function tooDeep(path: Buffer): LhsmError {
  return new LhsmError(`${showPath(path)} is ${MAX_DEPTH} directories deep: what is below is left out`, {
    code: 'TREE_TOO_DEEP',
    op: 'walk',
    errno: errnoNumber('ENAMETOOLONG'),
    hint: 'Give that directory as a path of its own.',
  });
}

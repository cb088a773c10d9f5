// Names below the mount: what a path given by an operator leads to, and a file that was found opened again as itself.
// tree-walk.ts, path-list.ts and the operations on trees call it.
import { close as closeCallback, constants, open as openCallback, realpath } from 'node:fs';
import { isAbsolute } from 'node:path';
import { promisify } from 'node:util';
import { LhsmError, errnoNumber, hasCode, systemErrorName } from '../../native-bindings/errors.js';
import type { FileAttributes, Lustre, PathLook } from '../../native-bindings/lustre.js';
import { showPath } from '../blobs/names.js';
import { statDescriptor, statPath } from '../movers/descriptors.js';

const openPath = promisify(openCallback);
const closeFd = promisify(closeCallback);
const { O_DIRECTORY, O_NOATIME, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;
const TO_LOOK = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOATIME;

export type WalkedKind = 'file' | 'directory' | 'symlink' | 'special';

/** One name of the tree. */
export interface WalkedEntry {
  /** Relative to the mount, without a leading slash; bytes, for names may be no UTF-8. Empty: the root. */
  readonly path: Buffer;
  readonly kind: WalkedKind;
  /** The name's own attributes, a link not followed. */
  readonly stat: FileAttributes;
  /** A file that has other names, too: one file, one blob. */
  readonly hardLinked: boolean;
}

/** What could not be looked at. */
export interface WalkProblem {
  readonly path: Buffer;
  readonly error: LhsmError;
}

export function entryOf(path: Buffer, stat: FileAttributes): WalkedEntry {
  const kind = kindOf(stat);
  return { path, kind, stat, hardLinked: kind === 'file' && stat.nlink > 1n };
}

const kinds = new Map<number, WalkedKind>([
  [constants.S_IFREG, 'file'],
  [constants.S_IFDIR, 'directory'],
  [constants.S_IFLNK, 'symlink'],
]);

function kindOf({ mode }: FileAttributes): WalkedKind {
  return kinds.get(Number(mode) & constants.S_IFMT) ?? 'special';
}

/** The failure of a call of the system on something below the mount. */
export function walkError(op: string, path: Buffer, cause: unknown): LhsmError {
  if (cause instanceof LhsmError) return cause;
  const code = systemErrorName(cause);
  return new LhsmError(`${op} of ${showPath(path)} failed: ${code}`, { code, op, cause });
}

/** `<mount>/<path>` as bytes. */
export function below(mount: string, path: Buffer): Buffer {
  return path.length === 0 ? Buffer.from(mount) : Buffer.concat([Buffer.from(`${mount}/`), path]);
}

/** A name in a directory that is held open: nobody can swap its parents for links any more. */
export function inDirectory(fd: number, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${fd}/`), name]);
}

/** Opens a directory without following a link at its name; the caller closes it. Rejects with LhsmError. */
export async function openDirectory(at: Buffer, path: Buffer): Promise<number> {
  try {
    return await openPath(at, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    throw walkError('open', path, error);
  }
}

/** Closes what was opened for looking; that it went wrong changes nothing. */
export async function closeQuietly(fd: number): Promise<void> {
  await closeFd(fd).catch(() => undefined);
}

/**
 * Opens the very file that the walk has seen, for attributes and reading, and closes it in every case. Opening restores
 * nothing. Rejects with LhsmError ENOENT when the name is gone or leads to something else by now, a FIFO put in its
 * place included.
 */
export async function withWalkedFile<T>(
  mount: string,
  { path, stat }: WalkedEntry,
  use: (fd: number) => Promise<T>,
): Promise<T> {
  let fd: number;
  try {
    fd = await openPath(below(mount, path), TO_LOOK);
  } catch (error) {
    if (isReplaced(error)) throw gone(path, error);
    throw walkError('open', path, error);
  }
  try {
    const now = await statDescriptor(fd);
    // Whatever the path has come to lead through: it is this file that was meant.
    if (now.ino !== stat.ino || now.dev !== stat.dev || !now.isFile()) throw gone(path);
    return await use(fd);
  } finally {
    await closeQuietly(fd);
  }
}

/**
 * State and FID of the very files that the walk has seen, in one trip to a thread: of each, or why it cannot be looked at,
 * which is as `withWalkedFile` rejects.
 */
export async function lookAtWalkedFiles(
  mount: string,
  entries: readonly WalkedEntry[],
  lustre: Pick<Lustre, 'lookAtPaths'>,
): Promise<(PathLook | LhsmError)[]> {
  // Lustre makes inode numbers of FIDs: with the same one it is our file that is asked for, wherever the path leads.
  const paths = entries.map(({ path, stat }) => ({ path: below(mount, path), ino: stat.ino }));
  const looks = await lustre.lookAtPaths(paths, TO_LOOK);
  return entries.map(({ path }, i) => {
    const look = looks[i];
    return look === undefined || isReplaced(look) ? gone(path, look) : look;
  });
}

/** ELOOP: a link has taken the name. */
function isReplaced(error: unknown): boolean {
  return hasCode(error, 'ELOOP') || hasCode(error, 'ENOTDIR');
}

function gone(path: Buffer, cause?: unknown): LhsmError {
  return new LhsmError(`${showPath(path)} is another file by now`, { code: 'ENOENT', op: 'open', cause });
}

/** Answers whether an error says that a name is not there any more. */
export function isGone(error: unknown): boolean {
  return hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR') || hasCode(error, 'ESTALE');
}

function realBytes(path: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    realpath.native(path, { encoding: 'buffer' }, (error, real) => {
      if (error) reject(error);
      else resolve(real);
    });
  });
}

/**
 * Makes paths as people give them into paths relative to the mount. It remembers the last directory, since lists name
 * many files of one.
 */
export class PathResolver {
  readonly #mount: string;
  #real: Promise<Buffer> | undefined;
  #device: bigint | undefined;
  #parent: { readonly given: Buffer; readonly real: Buffer } | undefined;

  constructor(mount: string) {
    this.#mount = mount;
  }

  /**
   * @param given - absolute, or relative to the mount; links above its last component are followed, within the mount only.
   * @throws LhsmError PATH_OUTSIDE_MOUNT; ENOENT, ENOTDIR, EACCES … where it cannot be looked at.
   */
  async resolve(given: string | Buffer): Promise<WalkedEntry> {
    const bytes = typeof given === 'string' ? Buffer.from(given) : given;
    if (bytes.length === 0 || bytes.includes(0)) throw invalid(bytes);
    const full = isAbsolute(bytes.toString('latin1')) ? bytes : below(this.#mount, bytes);
    const mount = await this.#realMount();
    const { parent, name } = split(full);
    let path: Buffer;
    try {
      // `..` and `.` at the end are directories, whatever they lead to.
      const isPlain = name.length > 0 && !/^\.{1,2}$/.test(name.toString('latin1'));
      const real = isPlain ? join(await this.#realParent(parent), name) : await realBytes(full);
      path = this.#within(mount, real, bytes);
      const stat = await statPath(real);
      this.#device ??= (await statPath(mount)).dev;
      if (stat.dev !== this.#device) throw outside(this.#mount, bytes, 'it lies on another file system');
      return entryOf(path, stat);
    } catch (error) {
      throw walkError('lstat', bytes, error);
    }
  }

  #realMount(): Promise<Buffer> {
    return (this.#real ??= realBytes(Buffer.from(this.#mount)));
  }

  async #realParent(given: Buffer): Promise<Buffer> {
    if (this.#parent?.given.equals(given)) return this.#parent.real;
    const real = await realBytes(given);
    this.#parent = { given: Buffer.from(given), real };
    return real;
  }

  #within(mount: Buffer, real: Buffer, given: Buffer): Buffer {
    const inside = mount.length === 1 ? mount : Buffer.concat([mount, Buffer.from('/')]);
    if (real.equals(mount)) return Buffer.alloc(0);
    if (!real.subarray(0, inside.length).equals(inside))
      throw outside(this.#mount, given, 'it leads elsewhere');
    const path = Buffer.from(real.subarray(inside.length));
    if (isLustreDirectory(path)) throw outside(this.#mount, given, '.lustre holds no files of its own');
    return path;
  }
}

/** `.lustre` of the root leads to every file by its FID. */
export function isLustreDirectory(path: Buffer): boolean {
  const text = path.subarray(0, 8).toString('latin1');
  return text === '.lustre' || text === '.lustre/';
}

function join(parent: Buffer, name: Buffer): Buffer {
  return parent.length === 1
    ? Buffer.concat([parent, name])
    : Buffer.concat([parent, Buffer.from('/'), name]);
}

/** Without slashes at the end. */
function split(full: Buffer): { parent: Buffer; name: Buffer } {
  let end = full.length;
  while (end > 1 && full[end - 1] === 0x2f) end -= 1;
  const path = full.subarray(0, end);
  const slash = path.lastIndexOf(0x2f);
  return { parent: path.subarray(0, Math.max(slash, 1)), name: path.subarray(slash + 1) };
}

function invalid(given: Buffer): LhsmError {
  return new LhsmError(`${showPath(given)} is no path`, {
    code: 'PATH_INVALID',
    op: 'path',
    errno: errnoNumber('EINVAL'),
    hint: 'Give a path below the mount; lists have one a line, or one before each NUL.',
  });
}

function outside(mount: string, given: Buffer, why: string): LhsmError {
  return new LhsmError(`${showPath(given)} is not in the file system at ${mount}: ${why}`, {
    code: 'PATH_OUTSIDE_MOUNT',
    op: 'path',
    errno: errnoNumber('EXDEV'),
    hint: `Give a path below ${mount}, or one relative to it.`,
  });
}

// Small promises over node:fs for descriptors that movers hold, and the one way they open a file by its FID.
// archive.ts, restore.ts, remove.ts and ownership.ts call it.
import { close, constants, fstat, ftruncate, lstat, type BigIntStats } from 'node:fs';
import { LhsmError, errnoNumber, hasCode } from '../../native-bindings/errors.js';
import { formatFid, type Fid, type FileAttributes, type Lustre } from '../../native-bindings/lustre.js';

/** Opens without restoring, blocking, following a link or moving the access time. */
const FOR_ATTRIBUTES = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOATIME | constants.O_NOFOLLOW;

type Done<T> = (error: NodeJS.ErrnoException | null, value: T) => void;

/** One callback call as a promise; its failure as LhsmError with the errno the system gave. */
function call<T>(op: string, subject: string, start: (done: Done<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => {
      if (!error) resolve(value);
      else
        reject(
          new LhsmError(`${subject}: ${error.message}`, { code: error.code ?? 'EIO', op, cause: error }),
        );
    });
  });
}

export function statDescriptor(fd: number): Promise<BigIntStats> {
  return call('fstat', `descriptor ${fd}`, (done) => {
    fstat(fd, { bigint: true }, done);
  });
}

/** Attributes of the name itself, a link not followed. */
export function statPath(path: Buffer): Promise<BigIntStats> {
  return call('lstat', path.toString(), (done) => {
    lstat(path, { bigint: true }, done);
  });
}

/** Attributes of the directory at a path below the mount; undefined when there is none. */
export async function directoryAt(mount: string, path: Buffer): Promise<BigIntStats | undefined> {
  try {
    const attributes = await statPath(Buffer.concat([Buffer.from(`${mount}/`), path]));
    return attributes.isDirectory() ? attributes : undefined;
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return undefined;
    throw error;
  }
}

export function truncateDescriptor(fd: number, sizeBytes: bigint): Promise<void> {
  return call('ftruncate', `descriptor ${fd}`, (done) => {
    ftruncate(fd, Number(sizeBytes), (error) => {
      done(error, undefined);
    });
  });
}

function closeDescriptor(fd: number): Promise<void> {
  return call('close', `descriptor ${fd}`, (done) => {
    close(fd, (error) => {
      done(error ?? null, undefined);
    });
  });
}

/** What opening by FID says of a file that is not there: gone, stale, or no FID that this file system gave out. */
const goneCodes = ['ENOENT', 'ESTALE', 'EINVAL'];

/** Whether the error says that the file is gone, rather than that it could not be looked at. */
export function saysGone(error: unknown): boolean {
  return goneCodes.some((code) => hasCode(error, code));
}

/**
 * Opens the file of a FID for its attributes, hands the descriptor to `use` and closes it in every case.
 * Rejects with what openByFid or `use` rejects with.
 */
export async function withFile<T>(
  lustre: Lustre,
  mount: string,
  fid: Fid,
  use: (fd: number) => Promise<T>,
): Promise<T> {
  return closing(await lustre.openByFid(mount, fid, FOR_ATTRIBUTES), use);
}

/** The same for a file that may be gone: then `use` gets undefined. */
export async function withFileIfThere<T>(
  lustre: Lustre,
  mount: string,
  fid: Fid,
  use: (fd: number | undefined) => Promise<T>,
): Promise<T> {
  let fd: number;
  try {
    fd = await lustre.openByFid(mount, fid, FOR_ATTRIBUTES);
  } catch (error) {
    if (saysGone(error)) return use(undefined);
    throw error;
  }
  return closing(fd, use);
}

async function closing<T>(fd: number, use: (fd: number) => Promise<T>): Promise<T> {
  try {
    return await use(fd);
  } finally {
    await closeDescriptor(fd);
  }
}

export function isRegular({ mode }: FileAttributes): boolean {
  return (Number(mode) & constants.S_IFMT) === constants.S_IFREG;
}

/** The refusal of anything that is not a regular file: only those have content to move. */
export function notARegularFile(fid: Fid, op: string): LhsmError {
  return new LhsmError(`${formatFid(fid)} is not a regular file: only files are archived and restored.`, {
    code: 'NOT_A_FILE',
    op,
    errno: errnoNumber('EINVAL'),
  });
}

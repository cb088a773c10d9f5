// Small promises over node:fs for names below the mount, none of which ever follows a symbolic link in its last component.
// directories.ts and the parts of import-item.ts call it, by paths that begin at an open directory.
import * as fs from 'node:fs';
import { LhsmError, errnoNumber, hasCode, systemErrorName } from '../../native-bindings/errors.js';
import type { Share } from '../share.js';

const { O_DIRECTORY, O_NOATIME, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = fs.constants;
/** asm-generic/fcntl.h; the same on x86-64 and aarch64. */
const O_PATH = 0o10000000;

type Done = (error: NodeJS.ErrnoException | null) => void;

function isErrno(name: string): boolean {
  try {
    return errnoNumber(name) > 0;
  } catch {
    return false;
  }
}

/** The path of an open descriptor, which may go on: `/proc/self/fd/9/name`. */
export function descriptorPath(fd: number, name?: Buffer): Buffer {
  const base = Buffer.from(`/proc/self/fd/${fd}`);
  return name === undefined ? base : Buffer.concat([base, Buffer.from('/'), name]);
}

/**
 * Calls that may reach the MDT, bounded by a share. Each rejects with LhsmError: code and errno are the system's, `op` is the
 * call's name.
 */
export class PathCalls {
  readonly #share: Pick<Share, 'run'>;

  constructor(share: Pick<Share, 'run'>) {
    this.#share = share;
  }

  /** One callback call as a promise; its failure as LhsmError with the errno that the system gave. */
  #call<T>(op: string, path: Buffer, start: (done: (error: Error | null, value?: T) => void) => void) {
    return this.#share.run(
      () =>
        new Promise<T>((resolve, reject) => {
          start((error, value) => {
            if (!error) {
              resolve(value as T);
              return;
            }
            const name = systemErrorName(error);
            const code = isErrno(name) ? name : 'EIO';
            const message = `${op} of ${path.toString()} failed: ${name}`;
            reject(new LhsmError(message, { code, op, cause: error }));
          });
        }),
    );
  }

  #done(op: string, path: Buffer, start: (done: Done) => void): Promise<void> {
    return this.#call<undefined>(op, path, start);
  }

  /**
   * A descriptor that stands for the directory and opens nothing on the MDT. ENOTDIR for anything else, a link
   * included. `follow`: the mount point's own path may lead through links.
   */
  openDirectory(path: Buffer, follow = false): Promise<number> {
    const flags = O_PATH | O_DIRECTORY | (follow ? 0 : O_NOFOLLOW);
    return this.#call('open', path, (done) => {
      fs.open(path, flags, done);
    });
  }

  /** A descriptor to ask for state and attributes by: restores nothing, does not wait for a FIFO, moves no atime. */
  openToLook(path: Buffer): Promise<number> {
    return this.#call('open', path, (done) => {
      fs.open(path, O_RDONLY | O_NONBLOCK | O_NOATIME | O_NOFOLLOW, done);
    });
  }

  close(fd: number): Promise<void> {
    return this.#done('close', descriptorPath(fd), (done) => {
      fs.close(fd, (error) => {
        done(error ?? null);
      });
    });
  }

  /** undefined when nothing is there. */
  async lstat(path: Buffer): Promise<fs.BigIntStats | undefined> {
    try {
      return await this.#call<fs.BigIntStats>('lstat', path, (done) => {
        fs.lstat(path, { bigint: true }, done);
      });
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  mkdir(path: Buffer, mode: number): Promise<void> {
    return this.#done('mkdir', path, (done) => {
      fs.mkdir(path, mode, done);
    });
  }

  unlink(path: Buffer): Promise<void> {
    return this.#done('unlink', path, (done) => {
      fs.unlink(path, done);
    });
  }

  rmdir(path: Buffer): Promise<void> {
    return this.#done('rmdir', path, (done) => {
      fs.rmdir(path, done);
    });
  }

  symlink(target: Buffer, path: Buffer): Promise<void> {
    return this.#done('symlink', path, (done) => {
      fs.symlink(target, path, done);
    });
  }

  readlink(path: Buffer): Promise<Buffer> {
    return this.#call('readlink', path, (done) => {
      fs.readlink(path, { encoding: 'buffer' }, done);
    });
  }

  lchown(path: Buffer, uid: number, gid: number): Promise<void> {
    return this.#done('lchown', path, (done) => {
      fs.lchown(path, uid, gid, done);
    });
  }

  /** chmod(2) follows links and Linux has no other: so by a descriptor of the name itself. A link is EOPNOTSUPP. */
  async chmod(path: Buffer, mode: number): Promise<void> {
    const fd = await this.#call<number>('open', path, (done) => {
      fs.open(path, O_PATH | O_NOFOLLOW, done);
    });
    try {
      await this.#done('chmod', path, (done) => {
        fs.chmod(descriptorPath(fd), mode, done);
      });
    } finally {
      await this.close(fd);
    }
  }

  /** Whether a directory has no entries; reads the first few only. */
  async isEmpty(path: Buffer): Promise<boolean> {
    const dir = await this.#call<fs.Dir>('opendir', path, (done) => {
      fs.opendir(path, { encoding: 'buffer' as BufferEncoding, bufferSize: 1 }, done);
    });
    try {
      return (await this.#share.run(() => dir.read())) === null;
    } finally {
      await dir.close();
    }
  }
}

// One daemon per mount: two would both receive every item (the MDT knows a client node by its mount). The lock is
// an abstract unix socket named after the mount's device, so every path to the mount meets it, no file can be left
// behind, and whoever is refused can ask the holder who it is.
import { stat } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { LhsmError } from '../native-bindings/errors.js';

/** What the holder tells of itself. */
interface Holder {
  readonly pid: number;
  readonly mount: string;
}

/** A held lock; `release` before another process may take it (the process's death does it, too). */
export interface MountLock {
  /** The mount's st_dev. */
  readonly device: number;
  release(): Promise<void>;
}

/**
 * Takes the lock of the mount that `mount` is in. Throws LhsmError: the path's errno (MOUNT_MISSING) when it cannot be
 * looked at, EBUSY (MOUNT_SERVED) naming the holder.
 */
export async function lockMount(mount: string): Promise<MountLock> {
  const device = await deviceOf(mount);
  const path = `\0lhsm-azblob/mount/${device}`;
  const server = createServer((socket) => {
    const holder: Holder = { pid: process.pid, mount };
    socket.on('error', () => socket.destroy());
    socket.end(JSON.stringify(holder));
  });
  try {
    await listen(server, path);
  } catch (error) {
    const holder = await askHolder(path);
    throw new LhsmError(
      `${mount} is already served by ${holder ? `the lhsm-azblobd with pid ${holder.pid} (mount ${holder.mount})` : 'another lhsm-azblobd'}`,
      {
        code: 'MOUNT_SERVED',
        op: 'mount lock',
        errno: 16,
        hint: 'Stop that one first; one daemon serves a mount, and several archives go into one configuration.',
        cause: error,
      },
    );
  }
  server.unref();
  return {
    device,
    release: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
      }),
  };
}

/** The st_dev of a directory. Throws LhsmError MOUNT_MISSING. */
export async function deviceOf(mount: string): Promise<number> {
  try {
    const stats = await stat(mount);
    if (!stats.isDirectory()) throw Object.assign(new Error('it is not a directory'), { code: 'ENOTDIR' });
    return stats.dev;
  } catch (error) {
    throw new LhsmError(`cannot look at the mount point ${mount}: ${(error as Error).message}`, {
      code: 'MOUNT_MISSING',
      op: 'stat',
      errno: 2,
      hint: `Mount the file system first, or correct "mount" in the configuration.`,
      cause: error,
    });
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
}

/** undefined when the holder does not say. */
function askHolder(path: string): Promise<Holder | undefined> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(path);
    socket.setTimeout(1000, () => socket.destroy());
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
    socket.on('error', () => {
      resolve(undefined);
    });
    socket.on('close', () => {
      try {
        resolve(JSON.parse(text) as Holder);
      } catch {
        resolve(undefined);
      }
    });
  });
}

// The bench's directory in memory. What a bench that was killed left there is removed by the next one.
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';

const PREFIX = 'lhsm-transfer-bench-';

export interface Scratch {
  readonly dir: string;
  path(name: string): string;
  /** A directory of that name, new and empty. */
  fresh(name: string): string;
  remove(name: string): void;
  close(): void;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function removeTree(path: string): void {
  // A program that was just killed may still have added a file.
  rmSync(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
}

/** In memory: the disk is not what is measured. Throws an Error when there is not that much room. */
export function openScratch(roomBytes: number): Scratch {
  const base = '/dev/shm';
  for (const name of readdirSync(base)) {
    const pid = name.startsWith(PREFIX) ? Number(name.slice(PREFIX.length).split('-')[0]) : NaN;
    if (pid > 0 && !isAlive(pid)) removeTree(join(base, name));
  }
  const { bavail, bsize } = statfsSync(base);
  if (bavail * bsize < roomBytes)
    throw new Error(
      `${base} has room for ${bavail * bsize} bytes, and ${roomBytes} are needed: see --gib, --flight-mib`,
    );
  const dir = mkdtempSync(join(base, `${PREFIX}${process.pid}-`));
  const path = (name: string): string => join(dir, name);
  const remove = (name: string): void => {
    removeTree(path(name));
  };
  return {
    dir,
    path,
    remove,
    fresh(name) {
      remove(name);
      mkdirSync(path(name));
      return path(name);
    },
    close() {
      removeTree(dir);
    },
  };
}

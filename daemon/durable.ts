// Small synchronous writes that are to survive a power failure: the journal's and the jobs' local state.
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';

/** After a rename or removal in it: the names are on disk, too. */
export function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/** All of it, however much one write(2) takes. */
export function writeAll(fd: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
}

// Files that threads of C write to in tests. body-links.ts and get-links.ts hand them out.
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';

export interface Target {
  readonly fd: number;
  content(): Buffer;
}

let files = 0;

/** A new file in the folder, of so many bytes, all 0xff: what is not written shows. */
export function targetIn(folder: string, t: Test, bytes: number): Target {
  const path = join(folder, `file-${(files += 1)}`);
  writeFileSync(path, Buffer.alloc(bytes, 0xff));
  const fd = openSync(path, 'r+');
  t.teardown(() => {
    closeSync(fd);
  });
  return { fd, content: () => readFileSync(path) };
}

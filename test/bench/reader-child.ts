// A user who reads released files one after the other, each blocking until it is restored: `MOUNT FIRST`. restore.ts
// forks it, and gets how long each took, in milliseconds, until it disconnects.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { seriesName } from './compare-files.js';

const [, , mount = '', first = '0'] = process.argv;
const tell = (tookMs: number): void => {
  if (process.connected) process.send?.(tookMs);
};
for (let n = Number(first); process.connected; n += 1) {
  const path = join(mount, seriesName('aside', n));
  const begunMs = performance.now();
  await readFile(path);
  tell(performance.now() - begunMs);
}

// The threads that work is handed to, in a process whose threads are all still to be born: no piece of it waits for the thread that
// it would have had to wake.
import { closeSync, openSync } from 'node:fs';
import t from 'tap';
import { openLink, take } from './body-links.js';

/** Half of what a thread without work sleeps for: by then it would find what nobody has woken it for. */
const TOO_LONG_MS = 2500;

t.test('bursts of short work', async (t) => {
  const file = openSync('/dev/null', 'w');
  t.teardown(() => {
    closeSync(file);
  });
  const link = await openLink(t, 'plain');
  // All has come already: each is over as soon as a thread has looked at it.
  const burst = async (count: number): Promise<void> => {
    const bodies = Array.from({ length: count }, (_, n) => {
      const end = 1 + (n % 100);
      return take(link, { file, end, filled: end, slot: -1 }).ended;
    });
    for (const end of await Promise.all(bodies)) if (end.outcome !== 'whole') throw new Error(end.outcome);
  };
  let longestMs = 0;
  for (let round = 1; round <= 200; round += 1) {
    const began = performance.now();
    await burst(1 + ((round * 7) % 13));
    longestMs = Math.max(longestMs, performance.now() - began);
    if (longestMs > TOO_LONG_MS) break;
  }
  t.ok(longestMs < TOO_LONG_MS, `the longest took ${longestMs} ms`);
});

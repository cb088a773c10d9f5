// Times of directories wait on disk, and survive the process that noted them.
import { appendFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DirectoryTimes } from '../../../daemon/jobs/directory-times.js';
import { openDescriptors } from './import-bench.js';

async function all(times: DirectoryTimes): Promise<[string, bigint][]> {
  const found: [string, bigint][] = [];
  for await (const { path, mtimeNs } of times.entries()) found.push([path.toString('latin1'), mtimeNs]);
  return found;
}

const fileIn = (t: Test): string => join(t.testdir({}), 'times');

t.test('what was noted comes back in order, whatever bytes the paths hold', async (t) => {
  const path = fileIn(t);
  const times = await DirectoryTimes.open(path);
  const noted = Array.from({ length: 2500 }, (_, i) => [`d${i}/\xff\n ${i}`, BigInt(i) * -7n] as const);
  for (const [name, ns] of noted) times.note(Buffer.from(name, 'latin1'), ns);
  t.strictSame(await all(times), noted);
  await times.close();
});

t.test('a file cut anywhere by a kill gives whole entries only, and what is noted afterwards', async (t) => {
  const path = fileIn(t);
  const before = await DirectoryTimes.open(path);
  before.note(Buffer.from('first'), 1n);
  before.note(Buffer.from('second/directory'), 22n);
  await before.close();
  const whole = readFileSync(path);
  for (let size = 0; size <= whole.length; size += 1) {
    writeFileSync(path, whole);
    truncateSync(path, size);
    const after = await DirectoryTimes.open(path);
    after.note(Buffer.from('third'), 3n);
    const found = await all(after);
    await after.close();
    const wholeEntries = whole.subarray(0, size).toString().split('.').length - 1;
    const expected = [['first', 1n] as const, ['second/directory', 22n] as const].slice(0, wholeEntries);
    t.strictSame(found, [...expected, ['third', 3n]], `cut at ${size}`);
  }
});

t.test('a disk that is full is told at the flush', async (t) => {
  const times = await DirectoryTimes.open('/dev/full');
  times.note(Buffer.from('a'), 1n);
  await t.rejects(times.flush(), { code: 'ENOSPC' });
  await t.rejects(times.close(), { code: 'ENOSPC' });
});

t.test('damage in the middle costs the damaged line only', async (t) => {
  const path = fileIn(t);
  writeFileSync(path, '1 YQ==.\n2 !!.\n');
  appendFileSync(path, '3 Yg==.\n');
  const times = await DirectoryTimes.open(path);
  t.strictSame(await all(times), [
    ['a', 1n],
    ['b', 3n],
  ]);
  await times.close();
});

t.test('who stops half way leaves no descriptor open', async (t) => {
  const times = await DirectoryTimes.open(fileIn(t));
  // More than one read's worth.
  for (let i = 0; i < 5000; i += 1) times.note(Buffer.from(`directory number ${i}`), BigInt(i));
  await times.flush();
  const before = openDescriptors();
  for await (const { mtimeNs } of times.entries()) if (mtimeNs === 1n) break;
  // Closing takes a trip to the thread pool; the test's own timeout is the bound.
  while (openDescriptors() > before) await new Promise((resolve) => setImmediate(resolve));
  t.equal(openDescriptors(), before);
  await times.close();
});

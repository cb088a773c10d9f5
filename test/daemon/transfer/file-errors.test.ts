// What the file system says while threads in C write to it comes to the caller as it is: once, with what is in the file till then,
// on a connection that nobody uses again; and whoever comes next is served.
import { execFileSync } from 'node:child_process';
import { closeSync, fstatSync, openSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { newCounters, type TransferCounters } from '../../../daemon/transfer/transfer.js';
import { scratchFolder } from '../../helpers/scratch.js';
import { KIB, MIB, pattern } from './bench.js';
import { openRawBench, overBoth, type RawBench } from './raw-bench.js';

const content = pattern(MIB + 123);
const folder = scratchFolder('lhsm-file-errors-');
const path = join(folder, 'file');

/** Restores to a descriptor; answers what it failed with, and what was counted. */
async function restoreTo(
  at: RawBench,
  fd: number,
): Promise<{ readonly error: unknown; readonly counters: TransferCounters }> {
  const counters = newCounters();
  const error: unknown = await at.engine
    .download(
      {
        blob: at.server.location('blob'),
        fd,
        sizeBytes: at.server.content.length,
        accept: () => undefined,
        counters,
      },
      new AbortController().signal,
    )
    .then(
      () => undefined,
      (failure: unknown) => failure,
    );
  return { error, counters };
}

/** Runs with files limited to so many bytes: the write that would pass it is short, the next is EFBIG. */
async function withFilesOf<T>(bytes: number, run: () => Promise<T>): Promise<T> {
  const limitTo = (soft: number | 'unlimited'): void => {
    execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${soft}:`]);
  };
  limitTo(bytes);
  try {
    return await run();
  } finally {
    limitTo('unlimited');
  }
}

/** After a failure: nobody uses that connection again, and the next restore is whole. */
async function nextIsFine(t: Test, at: RawBench): Promise<void> {
  const before = at.server.connections.length;
  await at.download({ sizeBytes: at.server.content.length });
  t.ok(at.target().equals(at.server.content), 'the next one is fine');
  t.equal(at.server.connections.length, before + 1, 'on another connection');
}

overBoth('a file that cannot be written', async (t, scheme) => {
  const at = await openRawBench(t, scheme, { blockSizeBytes: 4 * MIB, maxBufferBytes: 4 * MIB });
  at.server.content = content;
  const readOnly = openSync('/dev/null', 'r');
  const closed = openSync('/dev/null', 'w');
  closeSync(closed);
  const cases = [
    ['a full disk', openSync('/dev/full', 'r+'), { code: 'ENOSPC', errno: 28, hint: /Free space/ }],
    ['open for reading only', readOnly, { code: 'EBADF', errno: 9 }],
    ['not open at all', closed + 50, { code: 'EBADF', errno: 9 }],
  ] as const;
  for (const [what, fd, error] of cases) {
    await t.test(what, async (t) => {
      const found = await restoreTo(at, fd);
      t.match(found.error, { ...error, op: 'write', retryable: false, message: /write at offset 0 failed/ });
      t.match(found.counters, { requests: 1, retries: 0, bytes: 0 });
      await nextIsFine(t, at);
    });
  }
  for (const fd of [readOnly, cases[0][1]]) closeSync(fd);
});

overBoth('a file that cannot grow beyond some place', async (t, scheme) => {
  const at = await openRawBench(t, scheme, { blockSizeBytes: 4 * MIB, maxBufferBytes: 64 * MIB });
  at.server.content = content;
  const limit = 700_001;
  const fd = openSync(path, 'w');
  const { error, counters } = await withFilesOf(limit, () => restoreTo(at, fd));
  closeSync(fd);
  const message = new RegExp(`write at offset ${limit} failed`);
  t.match(error, { code: 'EFBIG', errno: 27, op: 'write', message });
  t.equal(counters.requests, 1);
  t.ok(counters.bytes <= limit, 'only what is written whole is counted');
  const written = readFileSync(path);
  t.ok(written.equals(content.subarray(0, limit)), 'and nothing wrong');
  await nextIsFine(t, at);
});

overBoth('one range of many that cannot be written', async (t, scheme) => {
  const at = await openRawBench(t, scheme, { blockSizeBytes: 128 * KIB, rangesPerFile: 4 });
  at.server.content = content;
  const fd = openSync(path, 'w');
  const { error, counters } = await withFilesOf(500_000, () => restoreTo(at, fd));
  t.match(error, { code: 'EFBIG', op: 'write' });
  t.equal(counters.retries, 0);
  const { size } = fstatSync(fd);
  t.ok(size <= 500_000);
  closeSync(fd);
  for (let round = 0; round < 3; round += 1) {
    await at.download({ sizeBytes: content.length });
    t.ok(at.target().equals(content));
  }
});

overBoth('hundreds of restores that fail', async (t, scheme) => {
  const at = await openRawBench(t, scheme, { workers: 0 });
  at.server.content = content.subarray(0, 100 * KIB);
  const full = openSync('/dev/full', 'w');
  t.match((await restoreTo(at, full)).error, { code: 'ENOSPC' });
  const sockets = (): number => at.server.connections.filter((each) => !each.isOver).length;
  const settled = async (): Promise<void> => {
    while (sockets() > 0) await new Promise((resolve) => setImmediate(resolve));
  };
  await settled();
  const before = readdirSync('/proc/self/fd').length;
  const others: number[] = [];
  for (let round = 0; round < 100; round += 1) {
    const restoring = [0, 1].map(() => restoreTo(at, full));
    // Descriptors of others' take the numbers that have become free: nobody closes them.
    others.push(openSync(path, 'w'));
    for (const { error } of await Promise.all(restoring)) t.match(error, { code: 'ENOSPC' });
  }
  for (const fd of others) {
    t.ok(fstatSync(fd).isFile());
    closeSync(fd);
  }
  await settled();
  t.equal(readdirSync('/proc/self/fd').length, before, 'no descriptor is left');
  closeSync(full);
});

import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { NewestFirst, type SpooledFile } from '../../../daemon/jobs/newest-first.js';

const dir = await mkdtemp(join(tmpdir(), 'newest-first-'));
t.teardown(() => rm(dir, { recursive: true }));

async function sort(files: readonly SpooledFile[], runRecords?: number): Promise<SpooledFile[]> {
  const spool = await NewestFirst.open(dir, runRecords);
  try {
    for (const file of files) await spool.add(file);
    t.equal(spool.count, files.length);
    t.equal(
      spool.sizeBytes,
      files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0n),
    );
    const result: SpooledFile[] = [];
    for await (const file of spool.files()) result.push(file);
    return result;
  } finally {
    await spool.close();
  }
}

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const u64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const spooled = fc.record({
  mtimeNs: fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }),
  sizeBytes: u64,
  fid: fc.record({ seq: u64, oid: u32, ver: u32 }),
});

const text = (files: readonly SpooledFile[]): string =>
  files
    .map(({ fid, mtimeNs, sizeBytes }) => [mtimeNs, fid.seq, fid.oid, fid.ver, sizeBytes].join(' '))
    .join('\n');

function inOrder(files: readonly SpooledFile[]): SpooledFile[] {
  const byFid = ({ fid }: SpooledFile): bigint =>
    (fid.seq << 64n) | (BigInt(fid.oid) << 32n) | BigInt(fid.ver);
  return [...files].sort((one, other) => {
    if (one.mtimeNs !== other.mtimeNs) return one.mtimeNs > other.mtimeNs ? -1 : 1;
    return byFid(one) < byFid(other) ? -1 : byFid(one) > byFid(other) ? 1 : 0;
  });
}

t.test('any files come out the newest first, whatever the runs', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(spooled, { selector: ({ fid }) => `${fid.seq}:${fid.oid}:${fid.ver}`, maxLength: 60 }),
      fc.integer({ min: 1, max: 20 }),
      async (files, runRecords) => {
        return text(await sort(files, runRecords)) === text(inOrder(files));
      },
    ),
    { numRuns: 50 },
  );
});

t.test('many, over many pages, ties in a certain order, nothing left behind', async (t) => {
  const files = Array.from({ length: 40_000 }, (_, at) => ({
    mtimeNs: BigInt((at * 7919) % 1000) * 1_000_000_000n,
    sizeBytes: BigInt(at),
    fid: { seq: 0x200000401n, oid: at, ver: 0 },
  }));
  t.ok(text(await sort(files, 5000)) === text(inOrder(files)));
  t.same(await readdir(dir), []);
});

t.test('who stops reading early closes it all the same', async (t) => {
  const spool = await NewestFirst.open(dir, 2);
  for (let at = 0; at < 7; at += 1) {
    await spool.add({ mtimeNs: BigInt(at), sizeBytes: 1n, fid: { seq: 1n, oid: at, ver: 0 } });
  }
  for await (const file of spool.files()) {
    t.equal(file.mtimeNs, 6n);
    break;
  }
  await spool.close();
});

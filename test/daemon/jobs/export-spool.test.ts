import { appendFile, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { ExportChunks, type OpenChunk } from '../../../daemon/jobs/export-chunks.js';
import {
  ExportSpool,
  parseSpoolLine,
  spoolLine,
  type SpoolRecord,
} from '../../../daemon/jobs/export-spool.js';
import type { LogEntry } from '../../../daemon/jobs/job.js';

const dir = await mkdtemp(join(tmpdir(), 'export-spool-'));
t.teardown(() => rm(dir, { recursive: true }));

const bytes = fc.uint8Array({ minLength: 1, maxLength: 60 }).map((array) => Buffer.from(array));
const record: fc.Arbitrary<SpoolRecord> = fc.oneof(
  fc.record({
    kind: fc.constant('file' as const),
    fid: fc.record({
      seq: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      oid: fc.nat(2 ** 31),
      ver: fc.nat(9),
    }),
    sizeBytes: fc.bigInt({ min: 0n, max: 2n ** 63n }),
    mtimeNs: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n }),
    path: bytes,
  }),
  fc.record({ kind: fc.constantFrom('directory' as const, 'symlink' as const), path: bytes }),
  fc.record({
    kind: fc.constant('entry' as const),
    entry: fc.record({
      kind: fc.constantFrom('error' as const, 'warning' as const, 'item' as const),
      code: fc.constant('CODE'),
      path: fc.string(),
      message: fc.string(),
    }),
  }),
);

t.test('a line is read back as it was, and no beginning of it as another', (t) => {
  fc.assert(
    fc.property(record, fc.nat(), (one, cut) => {
      const line = spoolLine(one).slice(0, -1);
      t.same(parseSpoolLine(line), one);
      t.equal(parseSpoolLine(line.slice(0, cut % line.length)), undefined);
    }),
    { numRuns: 200 },
  );
  t.end();
});

t.test('chunks from any of their beginnings give everything once, in order', async (t) => {
  const path = join(dir, 'chunks');
  await fc.assert(
    fc.asyncProperty(
      fc.array(record, { maxLength: 300 }),
      fc.integer({ min: 1, max: 70 }),
      async (all, size) => {
        const spool = await ExportSpool.create(path);
        try {
          await spool.add(all);
          await spool.finish();
          const found: SpoolRecord[] = [];
          let at = 0;
          for await (const { start, end, records } of spool.chunks(0, spool.sizeBytes, size)) {
            t.equal(start, at);
            at = end;
            found.push(...records);
            const again = [];
            for await (const chunk of spool.chunks(start, end, Infinity)) again.push(...chunk.records);
            t.same(again, records);
          }
          t.same(found, all);
          t.equal(at, spool.sizeBytes);
        } finally {
          await spool.close();
        }
      },
    ),
    { numRuns: 20 },
  );
});

t.test('only the very file is taken up again, and damage is told', async (t) => {
  const path = join(dir, 'reopened');
  t.equal(await ExportSpool.reopen(path, 0), undefined);
  const spool = await ExportSpool.create(path);
  await spool.add([{ kind: 'directory', path: Buffer.from('a') }]);
  await spool.finish();
  const { sizeBytes } = spool;
  await spool.close();
  await appendFile(path, 'D YW');
  t.equal(await ExportSpool.reopen(path, sizeBytes), undefined, 'longer');
  await truncate(path, sizeBytes);
  const again = await ExportSpool.reopen(path, sizeBytes);
  t.ok(again);
  await again?.close();
  await writeFile(path, 'x'.repeat(sizeBytes));
  const damaged = await ExportSpool.reopen(path, sizeBytes);
  await t.rejects(
    async () => {
      for await (const chunk of damaged?.chunks(0, sizeBytes, 10) ?? []) t.fail(JSON.stringify(chunk.start));
    },
    { code: 'JOB_STATE' },
  );
  await damaged?.close();
});

t.test('wherever it is broken off, every record is counted and reported once', (t) => {
  const chunkOf = (index: number): { start: number; end: number; records: SpoolRecord[] } => ({
    start: index * 10,
    end: index * 10 + 10,
    records: [0, 1, 2].map((at) => ({ kind: 'directory', path: Buffer.from(`${index}/${at}`) })),
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), fc.array(fc.nat(), { maxLength: 60 }), (count, choices) => {
      const reported: LogEntry[] = [];
      const chunksOf = (before?: ReturnType<ExportChunks['snapshot']>): ExportChunks =>
        new ExportChunks(before, (entries) => {
          reported.push(...entries);
        });
      const settle = (chunks: ExportChunks, chunk: OpenChunk): void => {
        chunks.settle(chunk, {
          counts: { totalFilesExported: 1 },
          entry: { kind: 'item', code: 'EXPORTED', path: `${chunk.range[0]}/${chunk.left}`, message: '' },
          work: 5,
        });
      };
      let chunks = chunksOf();
      let open: OpenChunk[] = [];
      const openNext = (): boolean => {
        const [again] = chunks.again;
        const start = again ? again[0] : chunks.next;
        if (start >= count * 10) return false;
        open.push(chunks.open(chunkOf(start / 10)));
        return true;
      };
      for (const choice of choices) {
        if (choice % 5 === 0) {
          chunks = chunksOf(chunks.snapshot());
          open = [];
        } else if (choice % 2 === 0) openNext();
        else {
          const chunk = open[choice % Math.max(open.length, 1)];
          if (chunk) settle(chunks, chunk);
          open = open.filter(({ left }) => left > 0);
        }
      }
      while (open.length > 0 || openNext()) {
        for (const chunk of open) settle(chunks, chunk);
        open = open.filter(({ left }) => left > 0);
      }
      t.equal(chunks.counts().totalFilesExported, 3 * count);
      t.equal(chunks.done, 15 * count);
      t.equal(reported.length, 3 * count);
      t.equal(new Set(reported.map(({ path }) => path)).size, 3 * count);
      t.strictSame(chunks.snapshot().open, []);
    }),
  );
  t.end();
});

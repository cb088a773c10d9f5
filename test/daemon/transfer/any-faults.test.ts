// Whatever faults come, in whatever order: what is written is the blob's bytes, what is committed is the file's.
import fc from 'fast-check';
import t from 'tap';
import type { Fault, Operation } from '../../helpers/faulty-blob-server.js';
import { KIB, openBench, pattern } from './bench.js';

const size = 64 * KIB * 4 + 77;
const content = pattern(size);
const other = pattern(size, 1);

const status = fc.constantFrom<Fault>(
  { status: 503, code: 'ServerBusy' },
  { status: 500, code: 'OperationTimedOut' },
  { status: 429 },
  { status: 403, code: 'AuthenticationFailed' },
  { status: 404, code: 'BlobNotFound' },
  { status: 409, code: 'BlobArchived' },
  { status: 412, code: 'ConditionNotMet' },
  { status: 502 },
);
const cutAt = fc.integer({ min: 0, max: 70_000 });
const bodyFault: fc.Arbitrary<Fault> = fc.oneof(
  status,
  cutAt.map((resetAfter) => ({ resetAfter })),
  fc.integer({ min: -2000, max: 2000 }).map((shortBy) => ({ shortBy })),
  fc.constantFrom<Fault>(
    { whole: true },
    { headers: { 'content-range': 'bytes 5-9/10' } },
    { headers: { etag: '"0xF"' } },
  ),
);
const writeFault: fc.Arbitrary<Fault> = fc.oneof(
  status,
  fc.constantFrom<Fault>({ resetAfter: 0 }, { loseAnswer: true }, { loseAnswer: true }),
);
const timeBox = { interruptAfterTimeLimit: 4000, numRuns: 150 };

t.test('downloads', async (t) => {
  const at = await openBench(t, { maxTries: 4, workers: 2 });
  const script = fc.array(fc.tuple(bodyFault, fc.boolean(), fc.boolean()), { maxLength: 8 });
  const checked = fc.assert(
    fc.asyncProperty(script, async (faults) => {
      at.server.put('blob', content);
      at.server.forget();
      for (const [fault, skipsOne, changes] of faults) {
        if (skipsOne) at.server.inject('Get Blob', {});
        const before = changes ? (): void => void at.server.put('blob', other) : undefined;
        at.server.inject('Get Blob', before ? { ...fault, before } : fault);
      }
      const outcome = await at.download({ sizeBytes: size }).then(
        () => 'done',
        (error: unknown) => (error as { code?: string }).code ?? 'no code',
      );
      const written = at.target();
      // Bytes never written are zeros here; all others are of one version.
      const isOf = (version: Buffer): boolean =>
        written.every((byte, index) => byte === version[index] || byte === 0);
      if (outcome === 'done') return written.equals(content) || written.equals(other);
      return /^[A-Z_]+$/.test(outcome) && outcome !== 'UNEXPECTED' && (isOf(content) || isOf(other));
    }),
    timeBox,
  );
  await t.resolves(checked);
});

t.test('uploads', async (t) => {
  const at = await openBench(t, { maxTries: 4, workers: 2 });
  const operation = fc.constantFrom<Operation>('Put Block', 'Put Block', 'Put Block List', 'Put Blob');
  const script = fc.array(fc.tuple(operation, writeFault), { maxLength: 8 });
  const bytes = fc.constantFrom(10, size);
  const checked = fc.assert(
    fc.asyncProperty(script, bytes, fc.boolean(), async (faults, length, exists) => {
      at.server.blobs.clear();
      at.server.forget();
      const before = exists ? at.server.put('blob', other) : undefined;
      for (const [which, fault] of faults) at.server.inject(which, fault);
      const file = content.subarray(0, length);
      const expected = before ? { etag: before.etag } : 'absent';
      const outcome = await at.upload({ content: file, expected }).then(
        ({ etag }) => etag,
        (error: unknown) => (error as { code?: string }).code ?? 'no code',
      );
      const now = at.server.blobs.get('blob');
      if (outcome.startsWith('"')) return now?.content.equals(file) === true && now.etag === outcome;
      const isWhole = now === before || now?.content.equals(file) === true;
      // Nobody else wrote: told otherwise only by an injected 412, never because an answer was lost.
      const mayBeChanged = faults.some(([, fault]) => fault.status === 412);
      return isWhole && outcome !== 'UNEXPECTED' && (outcome !== 'BLOB_CHANGED' || mayBeChanged);
    }),
    timeBox,
  );
  await t.resolves(checked);
});

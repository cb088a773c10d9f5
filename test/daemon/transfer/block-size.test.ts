// Blocks grow so that 50,000 of them hold the file, up to what Azure takes.
import fc from 'fast-check';
import t from 'tap';
import { MAX_BLOCKS, MAX_BLOCK_BYTES, blockSizeFor } from '../../../daemon/transfer/block-size.js';

const MIB = 1024 ** 2;
const LARGEST = MAX_BLOCKS * MAX_BLOCK_BYTES;

t.test('the configured size as long as it does, then whole MiB more', (t) => {
  const cases: readonly (readonly [number, number, number])[] = [
    [0, 8, 8],
    [1, 8, 8],
    [8 * MIB * 50_000, 8, 8],
    [8 * MIB * 50_000 + 1, 8, 9],
    [1024 ** 4, 8, 21],
    [100 * 1024 ** 4, 8, 2098],
    [LARGEST, 8, 4000],
    [LARGEST - 1, 100, 4000],
    [1, 9000, 4000],
  ];
  for (const [size, configured, expected] of cases)
    t.equal(blockSizeFor(size, configured * MIB), expected * MIB, String(size));
  t.equal(Math.floor((LARGEST / 1024 ** 4) * 10) / 10, 190.7, 'TiB');
  t.throws(() => blockSizeFor(LARGEST + 1, 8 * MIB), { code: 'TOO_LARGE', errno: 27 });
  t.end();
});

t.test('for any size: enough, not too many, no larger than it has to be', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: LARGEST }), fc.integer({ min: 1, max: 4000 }), (size, mib) => {
      const block = blockSizeFor(size, mib * MIB);
      const grown = block > mib * MIB;
      return (
        Math.ceil(size / block) <= MAX_BLOCKS &&
        block % MIB === 0 &&
        block <= MAX_BLOCK_BYTES &&
        (!grown || Math.ceil(size / (block - MIB)) > MAX_BLOCKS)
      );
    }),
    { interruptAfterTimeLimit: 2000, numRuns: 1000 },
  );
  t.end();
});

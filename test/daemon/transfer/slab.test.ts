// Chunks become aligned writes, and zeros become holes.
import fc from 'fast-check';
import t from 'tap';
import { HOLE_BYTES, Slab, dataPieces } from '../../../daemon/transfer/slab.js';

const timeBox = { interruptAfterTimeLimit: 2000, numRuns: 200 };

t.test('however the bytes arrive, they are written once, in order, aligned', async (t) => {
  const checked = fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 40 }),
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 50 }), { maxLength: 20 }),
      async (start, chunks) => {
        const content = Buffer.concat(chunks);
        const writes: { bytes: Buffer; position: number }[] = [];
        const slab = new Slab(Buffer.alloc(16), start, start + content.length, (bytes, position) => {
          writes.push({ bytes: Buffer.from(bytes), position });
          return Promise.resolve();
        });
        for (const chunk of chunks) await slab.add(Buffer.from(chunk));
        await slab.flush();
        let at = start;
        for (const { bytes, position } of writes) {
          if (position !== at || (position !== start && position % 16 !== 0)) return false;
          at += bytes.length;
        }
        return (
          slab.writtenTo === start + content.length &&
          Buffer.concat(writes.map(({ bytes }) => bytes)).equals(content)
        );
      },
    ),
    timeBox,
  );
  await t.resolves(checked);
});

t.test('more than the range has is refused', async (t) => {
  const slab = new Slab(Buffer.alloc(16), 0, 20, () => Promise.resolve());
  await slab.add(Buffer.alloc(20));
  await t.rejects(slab.add(Buffer.alloc(1)), RangeError);
});

t.test('with holes left out, the file reads as before, and whole blocks of zeros are not written', (t) => {
  const block = fc.constantFrom('zeros', 'data', 'one byte');
  fc.assert(
    fc.property(
      fc.array(block, { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 1, max: HOLE_BYTES }),
      fc.integer({ min: 0, max: 3 * HOLE_BYTES }),
      (blocks, tail, cutAt) => {
        const size = (blocks.length - 1) * HOLE_BYTES + tail;
        const content = Buffer.alloc(size);
        blocks.forEach((kind, index) => {
          if (kind === 'data') content.fill(7, index * HOLE_BYTES, Math.min(size, (index + 1) * HOLE_BYTES));
          if (kind === 'one byte' && index * HOLE_BYTES + 5 < size) content[index * HOLE_BYTES + 5] = 1;
        });
        // In two slabs, as a body that broke anywhere leaves it.
        const cut = Math.min(size, cutAt);
        const pieces = [
          ...dataPieces(content.subarray(0, cut), 0, size),
          ...dataPieces(content.subarray(cut), cut, size),
        ];
        const file = Buffer.alloc(size);
        let end = 0;
        for (const { bytes, position } of pieces) {
          bytes.copy(file, position);
          end = Math.max(end, position + bytes.length);
        }
        const written = pieces.reduce((sum, { bytes }) => sum + bytes.length, 0);
        const needed = blocks.filter((kind) => kind !== 'zeros').length;
        // At most the blocks with data, the one that was cut, and the last byte.
        return file.equals(content) && end === size && written <= (needed + 1) * HOLE_BYTES + 1;
      },
    ),
    timeBox,
  );
  t.end();
});

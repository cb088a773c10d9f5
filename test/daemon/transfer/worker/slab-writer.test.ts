// What goes through two slabs into a file: everything once, in order, aligned; and what happens when a write fails or the
// reading ends early.
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import t from 'tap';
import type { FileIo } from '../../../../daemon/transfer/file-io.js';
import { BadAnswer } from '../../../../daemon/transfer/worker/response-parser.js';
import { SlabWriter, type SlabWriterOptions } from '../../../../daemon/transfer/worker/slab-writer.js';
import { Stop } from '../../../../daemon/stop.js';
import { crc64 } from '../../../../native-bindings/crc64.js';
import { KIB, pattern } from '../bench.js';

const SLAB = 16;
const FD = 7;
const plain = { keepHoles: false, crc: true };

interface HeldWrite {
  readonly position: number;
  readonly bytes: Buffer;
  readonly end: (error?: Error) => void;
}

/** A file whose writes last until the test ends them. */
class HeldFile implements FileIo {
  readonly writes: HeldWrite[] = [];
  readonly content = Buffer.alloc(1000, 0xee);
  most = 0;
  #atOnce = 0;

  read(): Promise<number> {
    return Promise.reject(new Error('nothing is read here'));
  }

  write(fd: number, from: Buffer, position: number): Promise<void> {
    if (fd !== FD) throw new Error('another descriptor');
    this.most = Math.max(this.most, (this.#atOnce += 1));
    return new Promise((resolve, reject) => {
      const end = (error?: Error): void => {
        this.#atOnce -= 1;
        if (error) reject(error);
        else {
          from.copy(this.content, position);
          resolve();
        }
      };
      this.writes.push({ position, bytes: Buffer.from(from), end });
    });
  }
}

interface Made {
  readonly writer: SlabWriter;
  readonly file: HeldFile;
  /** What was called, in order. */
  readonly calls: string[];
}

function make(start: number, end: number, slabs = 2, more: Partial<SlabWriterOptions> = {}): Made {
  const file = new HeldFile();
  const calls: string[] = [];
  const writer = new SlabWriter({
    io: file,
    fd: FD,
    stop: new Stop(),
    slabs: Array.from({ length: slabs }, () => Buffer.alloc(SLAB)),
    start,
    end,
    fileBytes: end,
    onRoom: () => calls.push('room'),
    onWritten: (bytes) => calls.push(`written ${bytes}`),
    onError: (error) => calls.push((error as Error).message),
    ...more,
  });
  return { writer, file, calls };
}

/** Puts in as much as there is room for; answers how much. */
function put(writer: SlabWriter, bytes: Buffer): number {
  let done = 0;
  while (done < bytes.length) {
    const room = writer.room();
    if (!room) break;
    const count = bytes.copy(room, 0, done);
    writer.filled(count);
    done += count;
  }
  return done;
}

t.test('however bytes and writes take turns, they are written once, in order, aligned', async (t) => {
  const checked = fc.assert(
    fc.asyncProperty(
      fc.nat(40),
      fc.uint8Array({ minLength: 1, maxLength: 200 }),
      fc.integer({ min: 1, max: 2 }),
      fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 30 }),
      fc.nat(10),
      async (start, bytes, slabs, steps, goAt) => {
        const content = Buffer.from(bytes);
        const { writer, file } = make(start, start + content.length, slabs);
        let sent = 0;
        let ended = 0;
        const endOne = async (): Promise<void> => {
          file.writes[ended]?.end();
          if (ended < file.writes.length) ended += 1;
          await turn();
        };
        for (const [index, step] of steps.entries()) {
          if (index === goAt) writer.go(plain);
          if (step === 0) await endOne();
          else if (sent < content.length) sent += put(writer, content.subarray(sent, sent + step));
        }
        writer.go(plain);
        while (sent < content.length) {
          sent += put(writer, content.subarray(sent));
          await endOne();
        }
        const finished = writer.finish();
        while (writer.writtenTo < start + content.length) await endOne();
        await finished;
        let at = start;
        for (const { position, bytes: piece } of file.writes) {
          if (position !== at || (position !== start && position % SLAB !== 0)) return false;
          at += piece.length;
        }
        return (
          at === start + content.length &&
          file.most === 1 &&
          file.content.subarray(start, at).equals(content) &&
          writer.crc === crc64(content)
        );
      },
    ),
    { interruptAfterTimeLimit: 4000, numRuns: 200 },
  );
  await t.resolves(checked);
});

t.test('nothing is written before it may, and what is full waits', async (t) => {
  const { writer, file, calls } = make(0, 100);
  t.equal(put(writer, pattern(100)), 2 * SLAB, 'as much as two slabs hold');
  t.equal(writer.room(), undefined);
  t.equal(file.writes.length, 0);
  writer.go(plain);
  t.equal(file.writes.length, 1);
  t.same(calls, []);
  file.writes[0]?.end();
  await turn();
  t.same(calls, [`written ${SLAB}`, 'room']);
  t.equal(writer.writtenTo, SLAB);
  t.equal(writer.room()?.length, SLAB);
  file.writes[1]?.end();
  await writer.stop();
});

t.test('more than the range has is refused', async (t) => {
  const { writer, file } = make(0, 20);
  put(writer, pattern(20));
  t.throws(() => writer.room(), BadAnswer);
  writer.go(plain);
  const finished = writer.finish();
  file.writes[0]?.end();
  await turn();
  file.writes[1]?.end();
  await finished;
  t.equal(writer.writtenTo, 20);
});

t.test('finishing early writes what is there; without leave to write it writes nothing', async (t) => {
  const { writer, file, calls } = make(3, 100);
  put(writer, pattern(20));
  writer.go(plain);
  const finished = writer.finish();
  file.writes[0]?.end();
  await turn();
  t.same(
    file.writes.map(({ position, bytes }) => [position, bytes.length]),
    [
      [3, 13],
      [16, 7],
    ],
  );
  file.writes[1]?.end();
  await finished;
  t.equal(writer.writtenTo, 23);
  t.equal(writer.crc, crc64(pattern(20)));
  t.notOk(calls.includes('room'), 'nobody is called to bring more');
  const other = make(0, 100);
  put(other.writer, pattern(20));
  await other.writer.finish();
  t.equal(other.file.writes.length, 0);
  t.equal(other.writer.writtenTo, 0);
});

t.test('a write that fails is told once, nothing is written behind it, and finish says it', async (t) => {
  const { writer, file, calls } = make(0, 100);
  writer.go(plain);
  put(writer, pattern(32));
  file.writes[0]?.end(new Error('full'));
  await turn();
  t.same(calls, ['full']);
  t.equal(file.writes.length, 1);
  await t.rejects(writer.finish(), /full/);
  t.equal(writer.writtenTo, 0);
  t.equal(writer.crc, 0n);
});

t.test('a write that fails while everything comes to its end', async (t) => {
  const { writer, file, calls } = make(0, 20);
  writer.go(plain);
  put(writer, pattern(20));
  const finished = writer.finish();
  file.writes[0]?.end();
  await turn();
  file.writes[1]?.end(new Error('full'));
  await t.rejects(finished, /full/);
  t.same(calls, [`written ${SLAB}`], 'finish is what tells it');
  t.equal(writer.writtenTo, SLAB);
});

t.test('stop waits for the write under way, and begins no other', async (t) => {
  const { writer, file } = make(0, 100);
  writer.go(plain);
  put(writer, pattern(32));
  let stopped = false;
  const stopping = writer.stop().then(() => (stopped = true));
  await turn();
  t.notOk(stopped);
  file.writes[0]?.end();
  await stopping;
  await turn();
  t.equal(file.writes.length, 1);
  t.equal(writer.writtenTo, SLAB, 'what is written counts');
});

t.test('blocks of zeros stay holes, the last byte does not, and the CRC is of all', async (t) => {
  const size = 4 * 64 * KIB;
  const content = Buffer.alloc(size);
  content.write('data', 64 * KIB + 9);
  const writes: [number, number][] = [];
  const io: FileIo = {
    read: () => Promise.reject(new Error('nothing is read here')),
    write: (_fd, from, position) => {
      writes.push([position, from.length]);
      return Promise.resolve();
    },
  };
  const slabs = [Buffer.alloc(64 * KIB), Buffer.alloc(64 * KIB)];
  const { writer, calls } = make(0, size, 0, { io, slabs });
  writer.go({ keepHoles: true, crc: true });
  for (let sent = 0; sent < size;) {
    sent += put(writer, content.subarray(sent));
    await turn();
  }
  await writer.finish();
  t.same(writes, [
    [64 * KIB, 64 * KIB],
    [size - 1, 1],
  ]);
  t.equal(writer.writtenTo, size);
  t.equal(writer.crc, crc64(content));
  t.equal(calls.filter((call) => call === `written ${64 * KIB}`).length, 4, 'holes count as well');
});

t.test('without a slab there is nothing to write from', (t) => {
  t.throws(() => make(0, 10, 0).writer, RangeError);
  t.end();
});

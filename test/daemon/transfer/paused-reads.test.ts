// A slow file stops the reading: what arrives meanwhile, and over TLS some of it always does, is neither lost nor misplaced.
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import type { RawIo } from '../../../daemon/transfer/file-io.js';
import { crcText } from '../../../daemon/transfer/crc-metadata.js';
import { crc64 } from '../../../native-bindings/crc64.js';
import { chunked, rangeAnswer } from '../../helpers/raw-blob-answers.js';
import { KIB, MIB, pattern } from './bench.js';
import { openRawBench, overBoth } from './raw-bench.js';

const content = pattern(1536 * KIB + 321);
const metadata = { 'x-ms-meta-lhsm_crc64': crcText(crc64(content)) };
/** Two slabs of 64 KiB to a range of everything. */
const TIGHT = { blockSizeBytes: 4 * MIB, maxBufferBytes: 512 * KIB, maxTries: 1 };

/** A file in memory whose writes take so many turns of the event loop, one after the other. */
class SlowFile implements RawIo {
  readonly content = Buffer.alloc(content.length);
  delays: readonly number[] = [0];
  shorts: readonly number[] = [Infinity];
  #writes = 0;

  read(): Promise<number> {
    return Promise.reject(new Error('nothing is read here'));
  }

  async write(_fd: number, from: Buffer, position: number): Promise<number> {
    const index = (this.#writes += 1);
    for (let turns = this.delays[index % this.delays.length] ?? 0; turns > 0; turns -= 1) await turn();
    const bytes = Math.min(from.length, this.shorts[index % this.shorts.length] ?? Infinity);
    from.copy(this.content, position, 0, bytes);
    return bytes;
  }
}

const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1000, max: 300_000 })), {
  minLength: 1,
  maxLength: 8,
});

interface Course {
  /** What is sent at once, over and over. */
  readonly pieces: readonly number[];
  readonly delays: readonly number[];
  readonly shorts: readonly number[];
  readonly chunkBytes: number | undefined;
  /** The server closes behind its last byte. */
  readonly closes: boolean;
}

const course: fc.Arbitrary<Course> = fc.record({
  pieces: sizes.filter((list) => list.reduce((sum, each) => sum + each, 0) / list.length > 4000),
  delays: fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 6 }),
  shorts: fc.array(fc.constantFrom(Infinity, Infinity, 30_000), { minLength: 1, maxLength: 3 }),
  chunkBytes: fc.option(fc.integer({ min: 500, max: 300_000 }), { nil: undefined }),
  closes: fc.boolean(),
});

overBoth('any pieces, any delays', async (t, scheme) => {
  const file = new SlowFile();
  const at = await openRawBench(t, scheme, { ...TIGHT, io: file });
  let now: Course | undefined;
  const serve = async (connection: Parameters<typeof at.server.serve>[0]): Promise<void> => {
    for (let next = await connection.request(); next && now; next = await connection.request()) {
      const { pieces, chunkBytes, closes } = now;
      const coding = { 'content-length': undefined, 'transfer-encoding': 'chunked' };
      const answer = rangeAnswer(next, content, {
        ...metadata,
        ...(chunkBytes === undefined ? {} : coding),
        ...(closes ? { connection: 'close' } : {}),
      });
      const body = chunkBytes === undefined ? answer.body : chunked(answer.body, chunkBytes);
      await connection.send(answer.head);
      for (let sent = 0, index = 0; sent < body.length; index += 1) {
        const piece = pieces[index % pieces.length] ?? 1;
        await connection.send(body.subarray(sent, sent + piece));
        sent += piece;
      }
      if (closes) connection.end();
    }
  };
  const checked = fc.assert(
    fc.asyncProperty(course, async (each) => {
      now = each;
      at.server.follow(serve);
      file.content.fill(0);
      file.delays = each.delays;
      file.shorts = each.shorts;
      const before = at.counters.bytes;
      const { retries } = at.counters;
      await at.download({ sizeBytes: content.length });
      return (
        file.content.equals(content) &&
        at.counters.bytes - before === content.length &&
        at.counters.retries === retries
      );
    }),
    { interruptAfterTimeLimit: 5000, numRuns: 100 },
  );
  await t.resolves(checked);
});

overBoth(
  'what had come when the server hung up in a pause is written, and the rest asked for',
  async (t, scheme) => {
    const file = new SlowFile();
    const at = await openRawBench(t, scheme, { ...TIGHT, maxTries: 2, io: file });
    at.server.content = content;
    file.delays = [60];
    at.server.follow(async (connection) => {
      const request = await connection.request();
      if (!request) return;
      const { head, body } = rangeAnswer(request, content);
      await connection.send(head);
      await connection.send(body.subarray(0, 200_000));
      connection.end();
    });
    await at.download({ sizeBytes: content.length });
    t.ok(file.content.equals(content));
    t.match(at.counters, { bytes: content.length, retries: 1 });
    t.match(at.server.requests[0]?.headers, { 'x-ms-range': `bytes=200000-${content.length - 1}` });
  },
);

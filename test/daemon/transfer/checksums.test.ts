// The CRC64 of every block and of every file: what does not fit is not taken for right, in either direction.
import t from 'tap';
import { crcText } from '../../../daemon/transfer/crc-metadata.js';
import { crc64 } from '../../../native-bindings/crc64.js';
import { errorAnswer, head, rangeAnswer } from '../../helpers/raw-blob-answers.js';
import type { RawConnection, RawRequest } from '../../helpers/raw-http-server.js';
import { KIB, MIB, pattern } from './bench.js';
import { openRawBench, type RawBench } from './raw-bench.js';

const PATH = '/account/container/blob';
const mismatch = { code: 'CHECKSUM_MISMATCH', errno: 5, op: 'Get Blob' };
const content = pattern(300 * KIB + 5);
const RANGES = { blockSizeBytes: 64 * KIB, rangesPerFile: 3 };
const BLOCKS = { blockSizeBytes: 64 * KIB, putBlobMaxBytes: 32 * KIB, rangesPerFile: 3 };
const WHOLE = { putBlobMaxBytes: MIB };
const STREAMED = { blockSizeBytes: 2 * MIB, putBlobMaxBytes: KIB, maxBufferBytes: MIB };

const ourCrc = (bytes: Buffer): Record<string, string> => ({ 'x-ms-meta-lhsm_crc64': crcText(crc64(bytes)) });

/** Serves `content` with these metadata; `send` may spoil an answer. */
function serveWith(
  at: RawBench,
  bytes: Buffer,
  metadata: Record<string, string>,
  send: (
    connection: RawConnection,
    answer: { head: string; body: Buffer },
    nr: number,
  ) => Promise<void> = async (connection, answer) => {
    await connection.send(answer.head);
    await connection.send(answer.body);
  },
): void {
  let nr = 0;
  const script = async (connection: RawConnection): Promise<void> => {
    for (let next = await connection.request(); next; next = await connection.request()) {
      at.server.requests.push(next);
      await send(connection, rangeAnswer(next, bytes, metadata), (nr += 1));
    }
  };
  at.server.follow(...Array.from({ length: 20 }, () => script));
}

function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

t.test('a blob that fits its checksum', async (t) => {
  for (const bytes of [Buffer.alloc(0), pattern(1), pattern(5000), content]) {
    const at = await openRawBench(t, 'HTTP', RANGES);
    serveWith(at, bytes, ourCrc(bytes));
    await at.download({ sizeBytes: bytes.length });
    t.ok(at.target().equals(bytes));
  }
});

t.test('a blob that was changed behind its metadata', async (t) => {
  for (const options of [{}, RANGES]) {
    for (const bytes of [pattern(1), pattern(5000), content]) {
      const at = await openRawBench(t, 'HTTP', options);
      serveWith(at, bytes, ourCrc(flipped(bytes, bytes.length - 1)));
      await t.rejects(at.download({ sizeBytes: bytes.length }), {
        ...mismatch,
        message: new RegExp(`${crc64(bytes).toString(16)}, not`),
        hint: /Nothing was restored/,
      });
      t.equal(at.counters.retries, 0);
    }
  }
});

t.test('one bit that flips on the way, in one range or one of many', async (t) => {
  for (const options of [{}, RANGES]) {
    for (const bytes of [pattern(5000), content]) {
      const at = await openRawBench(t, 'HTTP', options);
      serveWith(at, bytes, ourCrc(bytes), async (connection, answer, nr) => {
        const last = answer.body.length === bytes.length || nr === 3;
        await connection.send(answer.head);
        await connection.send(last ? flipped(answer.body, answer.body.length >> 1) : answer.body);
      });
      await t.rejects(at.download({ sizeBytes: bytes.length }), mismatch);
    }
  }
});

t.test('one bit that flips before or behind the place where a range broke off', async (t) => {
  for (const flipAt of [undefined, 10, 99_999, 100_000, 250_000]) {
    const at = await openRawBench(t, 'HTTP');
    const sent = flipAt === undefined ? content : flipped(content, flipAt);
    serveWith(at, sent, ourCrc(content), async (connection, answer, nr) => {
      await connection.send(answer.head);
      await connection.send(nr === 1 ? answer.body.subarray(0, 100_000) : answer.body);
      if (nr === 1) connection.end();
    });
    const download = at.download({ sizeBytes: content.length });
    await (flipAt === undefined ? t.resolves(download) : t.rejects(download, mismatch));
    t.match(at.counters, { retries: 1, bytes: content.length });
  }
});

t.test('with holes kept, the checksum is still of the whole content', async (t) => {
  const sparse = Buffer.concat([Buffer.alloc(128 * KIB), pattern(10), Buffer.alloc(90 * KIB)]);
  for (const options of [{}, RANGES]) {
    const at = await openRawBench(t, 'HTTP', options);
    serveWith(at, sparse, { ...ourCrc(sparse), 'x-ms-meta-sparse': '1' });
    await at.download({ sizeBytes: sparse.length, holesMetadata: 'sparse' });
    t.ok(at.target().equals(sparse));
  }
});

t.test('metadata that are no checksum are somebody else’s', async (t) => {
  for (const text of ['', 'AAAAAAAAAAA', 'not a checksum', '0123456789abcdef']) {
    const at = await openRawBench(t, 'HTTP');
    serveWith(at, content, { 'x-ms-meta-lhsm_crc64': text });
    await at.download({ sizeBytes: content.length });
    t.ok(at.target().equals(content));
  }
});

t.test('an upload’s metadata say the CRC64 of its content, and each request that of its own', async (t) => {
  const cases = [
    [{}, 0],
    [{}, 1],
    [{}, 100_000],
    [BLOCKS, 40_000],
    [BLOCKS, 300_001],
    [STREAMED, 3 * MIB + 1],
  ] as const;
  for (const [options, size] of cases) {
    const at = await openRawBench(t, 'HTTP', options);
    const bytes = pattern(size);
    await at.upload({ content: bytes });
    const blob = at.server.blobs.get(PATH);
    t.ok(blob?.content.equals(bytes));
    t.equal(blob?.headers['x-ms-meta-lhsm_crc64'], crcText(crc64(bytes)), `${size} bytes`);
    const puts = at.server.requests.filter(({ path }) => !path.includes('comp=blocklist'));
    const sent = puts.map(({ headers }) => headers['x-ms-content-crc64']);
    const streamed = size > MIB;
    t.same(
      sent,
      puts.map(({ body }) => (streamed ? undefined : crcText(crc64(body)))),
    );
    await at.download({ sizeBytes: size });
    t.ok(at.target().equals(bytes), 'and it comes back');
  }
});

/** Does what is asked, but says another CRC64. */
async function saysOtherCrc(at: RawBench, connection: RawConnection): Promise<void> {
  const request = await connection.request();
  if (!request) return;
  at.server.perform(request);
  const headers = { 'content-length': '0', etag: '"1"', 'x-ms-content-crc64': crcText(5n) };
  await connection.send(head('201 Created', headers));
  await at.server.serve(connection);
}

t.test('a service that has received other bytes is sent them again', async (t) => {
  for (const options of [BLOCKS, STREAMED, WHOLE]) {
    const bytes = options === STREAMED ? pattern(3 * MIB) : content;
    const at = await openRawBench(t, 'HTTP', options);
    at.server.follow((connection) => saysOtherCrc(at, connection));
    await at.upload({ content: bytes });
    t.ok(at.server.blobs.get(PATH)?.content.equals(bytes));
    t.match(at.counters, { retries: 1, bytes: bytes.length });
  }
});

t.test('a blob that was made of other bytes is not recognised as ours', async (t) => {
  const at = await openRawBench(t, 'HTTP', WHOLE);
  at.server.follow((connection) => saysOtherCrc(at, connection));
  await t.rejects(at.upload({ content, expected: 'absent' }), { code: 'CHECKSUM_MISMATCH', errno: 5 });
});

t.test('a request that the service refuses for its checksum is made again', async (t) => {
  for (const options of [BLOCKS, WHOLE]) {
    const at = await openRawBench(t, 'HTTP', options);
    const refuse = async (connection: RawConnection): Promise<void> => {
      await connection.request();
      await connection.send(errorAnswer('400 Bad Request', 'Crc64Mismatch'));
      await at.server.serve(connection);
    };
    at.server.follow(refuse);
    await at.upload({ content });
    t.ok(at.server.blobs.get(PATH)?.content.equals(content));
    t.equal(at.counters.retries, 1);
    const broken = await openRawBench(t, 'HTTP', { ...options, rangesPerFile: 1, maxTries: 2 });
    broken.server.follow(
      ...Array.from({ length: 5 }, () => async (connection: RawConnection) => {
        for (
          let next: RawRequest | undefined = await connection.request();
          next;
          next = await connection.request()
        )
          await connection.send(errorAnswer('400 Bad Request', 'Crc64Mismatch'));
      }),
    );
    await t.rejects(broken.upload({ content }), { code: 'CHECKSUM_MISMATCH', errno: 5, retryable: true });
  }
});

t.test('an account that takes no checksum is sent none, from the second request on', async (t) => {
  for (const [status, code] of [
    ['500 Internal Server Error', 'FeatureNotSupported'],
    ['400 Bad Request', 'UnsupportedHeader'],
    ['501 Not Implemented', 'NotImplemented'],
  ] as const) {
    const at = await openRawBench(t, 'HTTP', { ...BLOCKS, rangesPerFile: 1 });
    const strict = async (connection: RawConnection): Promise<void> => {
      for (let next = await connection.request(); next; next = await connection.request()) {
        if (next.headers['x-ms-content-crc64'] === undefined) await at.server.answer(connection, next);
        else await connection.send(errorAnswer(status, code));
      }
    };
    at.server.follow(...Array.from({ length: 5 }, () => strict));
    await at.upload({ content });
    await at.upload({ name: 'other', content: pattern(1000) });
    t.ok(at.server.blobs.get(PATH)?.content.equals(content));
    t.ok(at.server.blobs.get('/account/container/other')?.content.equals(pattern(1000)));
    t.equal(at.counters.retries, 0);
    t.ok(at.server.blobs.get(PATH)?.headers['x-ms-meta-lhsm_crc64'], 'the metadata have it all the same');
  }
});

// A blob that is written anew while a restore of it is tried again: whatever broke the first try off, nothing of its version is left
// where the next one has holes.
import { rangeAnswer } from '../../helpers/raw-blob-answers.js';
import type { RawConnection } from '../../helpers/raw-http-server.js';
import { KIB, pattern } from './bench.js';
import { openRawBench, overBoth } from './raw-bench.js';

const before = pattern(300 * KIB);
const after = Buffer.alloc(before.length);
const holesMetadata = 'holes';

const breaks: Readonly<Record<string, (connection: RawConnection) => void>> = {
  'an end': (connection) => {
    connection.end();
  },
  'a reset': (connection) => {
    connection.reset();
  },
  'what is no record of TLS': (connection) => {
    connection.sendBare(Buffer.alloc(64, 0xff));
  },
};

overBoth('a version that broke off, and another one', async (t, scheme) => {
  for (const [what, breakOff] of Object.entries(breaks)) {
    if (scheme === 'HTTP' && what.includes('TLS')) continue;
    const at = await openRawBench(t, scheme);
    at.server.content = after;
    at.server.follow(
      async (connection) => {
        const request = await connection.request();
        if (!request) return;
        const { head, body } = rangeAnswer(request, before, { 'x-ms-meta-holes': '1' });
        await connection.send(head);
        await connection.send(body.subarray(0, 200 * KIB));
        breakOff(connection);
        await connection.closed();
      },
      // It knows no conditions.
      async (connection) => {
        const request = await connection.request();
        if (!request) return;
        t.equal(request.headers['if-match'], '"0x8D1"', what);
        const { head, body } = rangeAnswer(request, after, { etag: '"0x8D2"', 'x-ms-meta-holes': '1' });
        await connection.send(Buffer.concat([Buffer.from(head, 'latin1'), body]));
        await connection.closed();
      },
    );
    await t.rejects(at.download({ sizeBytes: before.length, holesMetadata }), { code: 'BLOB_CHANGED' }, what);
  }
});

// What a peer sends behind a small body lands where that body still waits to be written: it must not get into the file.
import { write } from 'node:fs';
import { promisify } from 'node:util';
import type { RawIo } from '../../../daemon/transfer/file-io.js';
import { rangeAnswer } from '../../helpers/raw-blob-answers.js';
import type { RawConnection, Script } from '../../helpers/raw-http-server.js';
import { KIB, pattern } from './bench.js';
import { openRawBench, overBoth } from './raw-bench.js';

const writeOnce = promisify(write);

overBoth('bytes that come unasked while a small body is written', async (t, scheme) => {
  const content = pattern(300);
  let first: RawConnection | undefined;
  let writes = 0;
  const io: RawIo = {
    read: () => Promise.reject(new Error('nothing is read here')),
    async write(fd, from, position) {
      writes += 1;
      if (writes === 1) {
        await first?.send(Buffer.alloc(4096, 'B'));
        // They have been read when the connection is given up for them.
        await first?.closed();
      }
      return (await writeOnce(fd, from, 0, from.length, position)).bytesWritten;
    },
  };
  const at = await openRawBench(t, scheme, { io });
  at.server.content = content;
  at.server.follow(async (connection) => {
    first = connection;
    const request = await connection.request();
    if (request) await at.server.answer(connection, request);
    await connection.closed();
  });
  await at.download({ sizeBytes: content.length });
  t.ok(at.target().equals(content), 'the right bytes');
  t.equal(writes, 2, 'written again');
  t.match(at.counters, { bytes: content.length, retries: 1 });
});

overBoth('bytes that come at once with a small body', async (t, scheme) => {
  const content = pattern(5000);
  const at = await openRawBench(t, scheme);
  at.server.content = content;
  at.server.follow(async (connection) => {
    const request = await connection.request();
    if (!request) return;
    const { head, body } = rangeAnswer(request, content);
    await connection.send(Buffer.concat([Buffer.from(head), body, Buffer.from('more')]));
    await connection.closed();
  });
  await at.download({ sizeBytes: content.length });
  t.ok(at.target().equals(content), 'the right bytes');
  t.match(at.counters, { bytes: content.length, retries: 1 });
});

overBoth('an answer behind a larger body is not taken for that of the next request', async (t, scheme) => {
  const content = pattern(100 * KIB);
  const forged = pattern(content.length, 1);
  // Memory for one body at a time, 128 KiB of three eighths: the next request comes at once when the body before it is over.
  const at = await openRawBench(t, scheme, { maxBufferBytes: 352 * KIB });
  at.server.content = content;
  const script: Script = async (connection) => {
    for (let request = await connection.request(); request; request = await connection.request()) {
      const [right, wrong] = [rangeAnswer(request, content), rangeAnswer(request, forged)];
      const parts = [Buffer.from(right.head), right.body, Buffer.from(wrong.head), wrong.body];
      await connection.send(Buffer.concat(parts));
    }
  };
  at.server.follow(...Array.from({ length: 8 }, () => script));
  await Promise.all([1, 2, 3, 4].map(() => at.download({ sizeBytes: content.length })));
  t.ok(at.target().equals(content), 'the right bytes');
  t.match(at.counters, { requests: 4, retries: 0 });
});

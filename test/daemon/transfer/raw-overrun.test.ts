// What a peer sends behind a small body lands where that body still waits to be written: it must not get into the file.
import { write } from 'node:fs';
import { promisify } from 'node:util';
import type { RawIo } from '../../../daemon/transfer/file-io.js';
import type { RawConnection } from '../../helpers/raw-http-server.js';
import { pattern } from './bench.js';
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

// A body over TLS in which something comes that is no record: what has come before is in the file, and the head says of which
// version it is.
import t from 'tap';
import { crc64 } from '../../native-bindings/crc64.js';
import type { GetMemory } from '../../native-bindings/get-threads.js';
import { serve, start, target, usual } from './get-links.js';

const content = Buffer.alloc(300_000, 'content ');
const sent = 150_000;

for (const kind of ['TLSv1.2', 'TLSv1.3'] as const) {
  t.test(kind, async (t) => {
    const answer = usual(content);
    const headBytes = answer.length - content.length;
    const { route } = await serve(t, kind, ({ socket, tcp }) => {
      socket.write(answer.subarray(0, headBytes + sent), () => tcp.write(Buffer.alloc(64, 0xff)));
    });
    const file = target(t, content.length);
    const half = 64 * 1024;
    const buffer = Buffer.alloc(2 * half);
    const memory: GetMemory = { buffer, contentBytes: half, progress: new Float64Array(1), slot: 0 };
    const wanted = { file: file.fd, bytes: content.length, crc: true, memory };
    const end = await start(route, wanted).ended;
    t.match(end, { outcome: 'tls', isContent: true, code: /^ERR_SSL_/ });
    t.not(end.message, '');
    t.ok(end.answer.equals(answer.subarray(0, headBytes)), 'the head');
    t.equal(end.at, sent, 'all that had come');
    t.equal(memory.progress[0], end.at);
    t.equal(end.crc, crc64(content.subarray(0, end.at)));
    t.ok(file.content().subarray(0, end.at).equals(content.subarray(0, end.at)));
  });
}

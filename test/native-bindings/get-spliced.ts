// A child of get-splice.test.ts: gets a large blob over HTTP from itself, and says how much of it came through a pipe, and whether the
// file has it.
import { closeSync, openSync, readFileSync } from 'node:fs';
import net from 'node:net';
import { getThreads } from '../../native-bindings/get-threads.js';

const [path = ''] = process.argv.slice(2);
const content = Buffer.alloc(1 << 20, 'content ');
const head =
  `HTTP/1.1 206 Partial Content\r\nContent-Length: ${content.length}\r\nETag: "0x1"\r\n` +
  `Content-Range: bytes 0-${content.length - 1}/${content.length}\r\n\r\n`;
const server = net.createServer((socket) => {
  socket.once('data', () => socket.end(Buffer.concat([Buffer.from(head), content])));
});
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as net.AddressInfo;
  const threads = getThreads();
  const route = threads?.route({ host: '127.0.0.1', port, tls: undefined, stallMs: 10_000 });
  route?.setAddresses(['127.0.0.1']);
  const file = openSync(path, 'w');
  const buffer = Buffer.alloc(1 << 20);
  const request = {
    text: 'GET /a HTTP/1.1\r\n\r\n',
    file,
    start: 0,
    end: content.length,
    fileBytes: content.length,
    etag: undefined,
    memory: { buffer, contentBytes: buffer.length, progress: new Float64Array(1), slot: 0 },
  };
  if (route)
    threads?.start(route, request, ({ outcome, spliced }) => {
      closeSync(file);
      server.close();
      route.close();
      const isRight = readFileSync(path).equals(content);
      process.stdout.write(JSON.stringify({ outcome, isRight, isSpliced: spliced > 0 }));
    });
});

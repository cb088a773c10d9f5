// A thread of body-threads.test.ts: begins bodies that do not end, and ends itself when it is told to.
import { closeSync, openSync } from 'node:fs';
import net from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { bodyThreads } from '../../native-bindings/body-threads.js';
import { descriptorOf } from './body-links.js';

const { port, path, count } = workerData as { port: number; path: string; count: number };
const file = openSync(path, 'w');
let begun = 0;
for (let n = 0; n < count; n += 1) {
  const socket = new net.Socket();
  socket.pause();
  socket.connect(port, '127.0.0.1', () => {
    bodyThreads()?.take({
      socket: descriptorOf(socket),
      session: undefined,
      file,
      at: 0,
      end: 1e9,
      fileBytes: 1e9,
      stallMs: 600_000,
      buffer: Buffer.alloc(64 * 1024),
      contentBytes: 64 * 1024,
      filled: 0,
      progress: new Float64Array(1),
      slot: 0,
      keepHoles: true,
      crc: true,
    });
    begun += 1;
    if (begun === count) parentPort?.postMessage('begun');
  });
}
process.on('exit', () => {
  closeSync(file);
});
parentPort?.once('message', () => {
  process.exit(0);
});

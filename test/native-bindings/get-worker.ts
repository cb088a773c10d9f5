// A thread of get-threads.test.ts: begins requests that nobody answers, and ends itself when it is told to.
import { openSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { getThreads } from '../../native-bindings/get-threads.js';

const { port, path, count } = workerData as { port: number; path: string; count: number };
const file = openSync(path, 'w');
const threads = getThreads();
const route = threads?.route({ host: 'localhost', port, tls: undefined, stallMs: 600_000 });
route?.setAddresses(['127.0.0.1']);
for (let n = 0; n < count; n += 1) {
  const request = {
    text: 'GET /a HTTP/1.1\r\n\r\n',
    file,
    start: 0,
    end: 9,
    fileBytes: 9,
    etag: undefined,
  };
  if (route) threads?.start(route, request, () => undefined);
}
parentPort?.once('message', () => {
  process.exit(0);
});

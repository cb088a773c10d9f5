// What is aborted when there is memory for it, and before it has begun, does not begin: nobody could stop it any more.
import net from 'node:net';
import { once } from 'node:events';
import t from 'tap';
import { Stop } from '../../../daemon/stop.js';
import { ThreadGets } from '../../../daemon/transfer/thread-gets.js';
import { newCounters } from '../../../daemon/transfer/transfer.js';
import type { GetRequest, WorkerPool } from '../../../daemon/transfer/worker-pool.js';
import { getThreads } from '../../../native-bindings/get-threads.js';

t.test('aborted between the memory and the request', async (t) => {
  let connections = 0;
  const silent = net.createServer(() => (connections += 1)).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as net.AddressInfo;
  const aborted = { type: 'done', failure: { kind: 'aborted' } };
  const workers = { get: () => Promise.resolve(aborted) } as unknown as WorkerPool;
  const gets = new ThreadGets({
    threads: getThreads(),
    workers,
    bufferBytes: 128 * 1024,
    stallTimeoutMs: 600_000,
    ca: undefined,
  });
  t.teardown(() => {
    gets.close();
    silent.close();
  });
  const target = { origin: `http://127.0.0.1:${port}`, path: '/c/b', headers: '' };
  const request = { target, fd: -1, start: 0, end: 100_000, fileBytes: 100_000 } as unknown as GetRequest;
  const how = (): never => t.fail('nothing was answered') as never;
  // Twice: the memory has been given back.
  for (let round = 0; round < 2; round += 1) {
    const stop = new Stop();
    const end = gets.get(request, how, newCounters(), stop);
    stop.abort();
    t.same(await end, aborted);
  }
  t.equal(connections, 0);
});

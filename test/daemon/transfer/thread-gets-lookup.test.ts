// A small file whose host's name nobody resolves: who stops waiting for it does not wait for the name server.
import dns from 'node:dns/promises';
import { syncBuiltinESMExports } from 'node:module';
import t from 'tap';
import { Stop } from '../../../daemon/stop.js';
import { ThreadGets } from '../../../daemon/transfer/thread-gets.js';
import type { GetRequest, WorkerPool } from '../../../daemon/transfer/worker-pool.js';
import { getThreads } from '../../../native-bindings/get-threads.js';

t.test('a name server that does not answer', async (t) => {
  const { lookup } = dns;
  t.teardown(() => {
    dns.lookup = lookup;
    syncBuiltinESMExports();
  });
  dns.lookup = (() => new Promise(() => undefined)) as unknown as typeof lookup;
  syncBuiltinESMExports();
  const aborted = { type: 'done', failure: { kind: 'aborted' } };
  const workers = { get: () => Promise.resolve(aborted) } as unknown as WorkerPool;
  const gets = new ThreadGets({
    threads: getThreads(),
    workers,
    bufferBytes: 4096,
    stallTimeoutMs: 1000,
    ca: undefined,
  });
  const target = { origin: 'http://account.example', path: '/c/b', headers: '' };
  const stop = new Stop();
  const request = {
    target,
    fd: -1,
    start: 0,
    end: 1,
    fileBytes: 1,
    expected: undefined,
  } as unknown as GetRequest;
  const how = (): never => t.fail('nothing was answered') as never;
  const end = gets.get(request, how, { bytes: 0 } as never, stop);
  stop.abort();
  t.same(await end, aborted);
  gets.close();
});

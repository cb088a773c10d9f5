// What is closed is gone: sockets, files, folders. In a process of its own, so that all that is left is ours.
import { closeSync, existsSync, openSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import { createTransferEngine } from '../../../daemon/transfer/engine.js';
import { newCounters } from '../../../daemon/transfer/transfer.js';
import { startAzurite } from '../../helpers/azurite.js';
import { startFaultyBlobServer } from '../../helpers/faulty-blob-server.js';
import { KIB, SMALL_SIZES, pattern } from './bench.js';

const content = pattern(64 * KIB * 5 + 123);

/** Sockets and files of this process that keep it alive. */
function left(): string[] {
  return process.getActiveResourcesInfo().filter((kind) => /^(TCP|TLS|FSReq)/.test(kind));
}

/** The same, once what is closed had its turns of the event loop to go in. */
async function leftSoon(before: readonly string[]): Promise<string[]> {
  for (let turns = 0; turns < 20 && left().length > before.length; turns += 1) await turn();
  return left();
}

t.test('nothing is left when the engine is closed', async (t) => {
  const before = left();
  const server = await startFaultyBlobServer();
  const engine = createTransferEngine({ ...SMALL_SIZES, workers: 2 });
  server.put('blob', content);
  const request = { fd: openSync('/dev/null', 'w'), sizeBytes: content.length, accept: () => undefined };
  for (const fault of [{}, { resetAfter: 7 }, { status: 403 }]) {
    server.inject('Get Blob', fault);
    const counters = newCounters();
    const running = engine.download(
      { ...request, blob: server.location('blob'), counters },
      new AbortController().signal,
    );
    await running.catch(() => undefined);
  }
  closeSync(request.fd);
  await engine.close();
  await server.stop();
  t.same(await leftSoon(before), before);
});

t.test('nothing is left of Azurite', async (t) => {
  const before = left();
  const azurite = await startAzurite();
  await azurite.container('copies');
  await azurite.stop();
  t.same(await leftSoon(before), before);
  t.notOk(existsSync(azurite.dir));
});

// The engine against Azurite: what goes in comes out, over HTTP and TLS, in one piece and in many.
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  ftruncateSync,
  openSync,
  readFileSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { BlobLocation } from '../../../daemon/blob.js';
import { createArchiveContainer } from '../../../daemon/blobs/azure-container.js';
import { createTransferEngine, type EngineOptions } from '../../../daemon/transfer/engine.js';
import { newCounters, type TransferEngine } from '../../../daemon/transfer/transfer.js';
import { startAzurite } from '../../helpers/azurite.js';

const KIB = 1024;
const never = new AbortController().signal;
const nothing = (): void => undefined;
const nothingLater = (): Promise<void> => Promise.resolve();

const options: EngineOptions = {
  workers: 2,
  blockSizeBytes: 256 * KIB,
  putBlobMaxBytes: 512 * KIB,
  rangesPerFile: 4,
  maxBufferBytes: 4 * KIB * KIB,
  maxTries: 3,
  stallTimeoutMs: 20_000,
  retryDelayMs: 1,
};

interface Bench {
  readonly engine: TransferEngine;
  readonly dir: string;
  location(name: string): BlobLocation;
}

async function bench(t: Test, https = false): Promise<Bench> {
  const azurite = await startAzurite({ https });
  const container = createArchiveContainer(
    {
      id: 1,
      container: 'copies',
      prefix: '',
      naming: 'path',
      credential: { type: 'connection-string', file: azurite.connectionStringFile },
    },
    { caFile: azurite.caFile },
  );
  const engine = createTransferEngine({ ...options, caFile: azurite.caFile });
  t.teardown(async () => {
    await engine.close();
    container.close();
    await azurite.stop();
  });
  await azurite.container('copies');
  return { engine, dir: azurite.dir, location: (name) => container.location(name) };
}

function open(t: Test, path: string, flags: string): number {
  const fd = openSync(path, flags);
  t.teardown(() => {
    closeSync(fd);
  });
  return fd;
}

async function roundTrip(t: Test, at: Bench, name: string, content: Buffer): Promise<void> {
  const source = join(at.dir, 'source');
  const target = join(at.dir, 'target');
  writeFileSync(source, content);
  const counters = newCounters();
  const { etag } = await at.engine.upload(
    {
      blob: at.location(name),
      fd: open(t, source, 'r'),
      sizeBytes: content.length,
      metadata: { owner: '12' },
      expected: 'absent',
      beforeCommit: nothingLater,
      counters,
    },
    never,
  );
  t.equal(counters.bytes, content.length, 'every byte up counted');
  const down = newCounters();
  const headers = await at.engine.download(
    {
      blob: at.location(name),
      fd: open(t, target, 'w'),
      sizeBytes: content.length,
      ifMatch: etag,
      accept: nothing,
      counters: down,
    },
    never,
  );
  t.match(headers, { etag, sizeBytes: content.length, blobType: 'BlockBlob', metadata: { owner: '12' } });
  t.ok(readFileSync(target).equals(content), 'the same bytes');
  t.equal(down.bytes, content.length, 'every byte down counted');
  t.equal(down.requests, Math.max(1, Math.ceil(content.length / options.blockSizeBytes)), 'one GET a range');
}

for (const https of [false, true]) {
  t.test(`round trips over ${https ? 'TLS' : 'HTTP'}`, async (t) => {
    const at = await bench(t, https);
    for (const size of [0, 1, 4 * KIB, 256 * KIB, 256 * KIB + 1, 512 * KIB + 1, 3_000_001]) {
      await roundTrip(t, at, `dir/${size} bytes`, randomBytes(size));
    }
  });
}

t.test('a hole stays a hole, and the file keeps its size', async (t) => {
  const at = await bench(t);
  const source = join(at.dir, 'sparse');
  const size = 8 * KIB * KIB;
  const from = open(t, source, 'w+');
  writeSync(from, Buffer.from('begin'), 0, 5, 0);
  writeSync(from, Buffer.from('middle'), 0, 6, 3 * KIB * KIB + 17);
  ftruncateSync(from, size);
  const blob = at.location('sparse');
  const common = { blob, sizeBytes: size, counters: newCounters() };
  await at.engine.upload(
    { ...common, fd: from, metadata: { sparse: '1' }, expected: undefined, beforeCommit: nothingLater },
    never,
  );
  const target = join(at.dir, 'restored');
  await at.engine.download(
    { ...common, fd: open(t, target, 'w'), holesMetadata: 'sparse', accept: nothing },
    never,
  );
  t.ok(readFileSync(target).equals(readFileSync(source)), 'the same bytes');
  t.ok(statSync(target).blocks * 512 <= 512 * KIB, 'and next to nothing allocated');
});

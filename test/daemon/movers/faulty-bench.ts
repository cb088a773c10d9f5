// A movers' bench over the service that misbehaves on demand, in the place of Azurite.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { ContainerClient } from '@azure/storage-blob';
import type { Azurite } from '../../helpers/azurite.js';
import { startFaultyBlobServer, type FaultyBlobServer } from '../../helpers/faulty-blob-server.js';
import { Bench, type BenchOptions } from './bench.js';

/** Both are stopped when the test ends. Every container is the server's one. */
export async function startFaultyBench(
  t: Test,
  options: BenchOptions = {},
): Promise<{ bench: Bench; server: FaultyBlobServer; another: () => Promise<Bench> }> {
  const server = await startFaultyBlobServer();
  const dir = mkdtempSync(join(tmpdir(), 'lhsm-faulty-bench-'));
  const endpoint = server.containerUrl.replace(/\/container$/, '');
  const connectionStringFile = join(dir, 'connection-string');
  writeFileSync(
    connectionStringFile,
    `BlobEndpoint=${endpoint};SharedAccessSignature=sv=2025-01-05&sig=c2lnbg%3D%3D`,
  );
  const service: Pick<Azurite, 'connectionStringFile' | 'container'> = {
    connectionStringFile,
    container: (name) => Promise.resolve(new ContainerClient(`${endpoint}/${name}`)),
  };
  t.teardown(async () => {
    await server.stop();
    rmSync(dir, { recursive: true });
  });
  const bench = await Bench.start(t, service as Azurite, { container: 'container', ...options });
  /** A second node of the same file system. */
  const another = (): Promise<Bench> =>
    Bench.start(t, service as Azurite, { container: 'container', ...options, lustre: bench.lustre });
  return { bench, server, another };
}

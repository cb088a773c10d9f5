// A site with files that a daemon has archived, and what release and verify need of it within the test's process.
import { join } from 'node:path';
import type { ContainerClient } from '@azure/storage-blob';
import { createArchiveContainer } from '../../../daemon/blobs/azure-container.js';
import { createTransferEngine } from '../../../daemon/transfer/engine.js';
import type { VerifyTools } from '../../../daemon/jobs/verify.js';
import { loadLustre } from '../../../native-bindings/liblustreapi.js';
import type { Lustre } from '../../../native-bindings/lustre.js';
import { Site } from '../../helpers/site.js';

export interface CopiesSite {
  readonly site: Site;
  readonly lustre: Lustre;
  readonly tools: VerifyTools;
  readonly container: ContainerClient;
  readonly path: (...names: string[]) => string;
  readonly stop: () => Promise<void>;
}

export async function startCopiesSite(): Promise<CopiesSite> {
  const site = await Site.start();
  await site.daemon();
  const lustre = loadLustre({ library: site.sim.library });
  const credential = { type: 'connection-string', file: site.azurite.connectionStringFile } as const;
  const archive = createArchiveContainer(
    { id: 1, container: 'archive', prefix: '', naming: 'path', credential },
    { caFile: site.azurite.caFile, maxTries: 2, retryDelayMs: 10 },
  );
  const transfer = createTransferEngine({
    workers: 0,
    blockSizeBytes: 1 << 20,
    putBlobMaxBytes: 1 << 20,
    rangesPerFile: 2,
    maxBufferBytes: 8 << 20,
    maxTries: 2,
    stallTimeoutMs: 10_000,
    caFile: site.azurite.caFile,
  });
  return {
    site,
    lustre,
    tools: { mount: site.mount, lustre, container: (id) => (id === 1 ? archive : undefined), transfer },
    container: site.container,
    path: (...names) => join(site.mount, ...names),
    stop: async () => {
      await transfer.close();
      archive.close();
      await site.stop();
    },
  };
}

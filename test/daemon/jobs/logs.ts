// A logging container on Azurite, with or without a proxy that loses answers, for the tests of jobs.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { loggingContainerOf } from '../../../daemon/blobs/logging-address.js';
import type { LoggingContainer } from '../../../daemon/blobs/logging-container.js';
import type { JobDocument, ImportCounts } from '../../../daemon/jobs/job.js';
import { startAzurite, type Azurite } from '../../helpers/azurite.js';
import { startLossyProxy, type LossyProxy } from '../../helpers/lossy-proxy.js';

export const never = new AbortController().signal;

export interface Logs {
  readonly azurite: Azurite;
  readonly proxy: LossyProxy;
  /** Through the proxy; each call has connections of its own, as another node has. */
  readonly open: () => LoggingContainer;
}

/** The containers `data` and `logs`; all is gone at the test's end. */
export async function startLogs(t: Test): Promise<Logs> {
  const azurite = await startAzurite();
  t.teardown(() => azurite.stop());
  const proxy = await startLossyProxy(azurite.url);
  t.teardown(() => proxy.stop());
  await azurite.container('data');
  await azurite.container('logs');
  const file = join(azurite.dir, 'key');
  writeFileSync(file, azurite.key);
  return {
    azurite,
    proxy,
    open: () => {
      const credential = { type: 'account-key', file, account: azurite.account } as const;
      const archives = [{ container: `${proxy.url}/data`, credential }];
      const options = { maxTries: 4, retryDelayMs: 1 };
      const opened = loggingContainerOf(archives, `${proxy.url}/logs`, options);
      t.teardown(() => {
        opened.close();
      });
      return opened;
    },
  };
}

const counts: ImportCounts = {
  totalBlobsWalked: 0,
  totalBlobsImported: 0,
  importedFiles: 0,
  importedDirectories: 0,
  importedSymlinks: 0,
  preexistingFiles: 0,
  preexistingDirectories: 0,
  preexistingSymlinks: 0,
  totalErrors: 0,
  totalConflicts: 0,
  unresolvedConflicts: 0,
  totalWarnings: 0,
};

export function documentOf(name: string, more: Partial<JobDocument> = {}): JobDocument {
  return {
    schema: 1,
    id: `id-of-${name}`,
    name,
    kind: 'import',
    state: 'InProgress',
    statusMessage: 'Lists.',
    spec: {
      kind: 'import',
      name,
      archiveId: 1,
      prefixes: ['/'],
      conflictMode: 'fail',
      maximumErrors: 0,
      dryRun: false,
      attributesOnly: false,
      logItems: false,
    },
    holder: { host: 'node1', mount: '/mnt/lustre', pid: 7 },
    lastStartedTime: '2026-11-27T10:00:00.000Z',
    updatedTime: '2026-11-27T10:00:00.000Z',
    resumes: 0,
    counts,
    rates: {},
    ...more,
  };
}

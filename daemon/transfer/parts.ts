// What the downloads and uploads of one engine share, and how a request of theirs is tried again.
import type { BlockBlobClient } from '@azure/storage-blob';
import type { AzureClients } from '../azure-client.js';
import { withRetries, type Attempt, type RetryPolicy, type ThrottleGates } from '../azure-retry.js';
import type { BlobLocation } from '../blob.js';
import type { BufferPool } from './buffer-pool.js';
import type { FileIo } from './file-io.js';
import type { TransferCounters } from './transfer.js';

export interface EngineParts {
  readonly clients: AzureClients;
  readonly pool: BufferPool;
  readonly io: FileIo;
  readonly policy: RetryPolicy;
  readonly gates: ThrottleGates;
  readonly blockSizeBytes: number;
  readonly putBlobMaxBytes: number;
  readonly rangesPerFile: number;
  readonly stallTimeoutMs: number;
}

/** The blob's URL: it holds no secret, and says account, container and name. */
export function subjectOf(blob: BlobLocation): string {
  return `blob ${blob.url}`;
}

/** One request, tried again as long as it makes sense; every try is counted. The client is made anew: a SAS may rotate. */
export function request<T>(
  parts: EngineParts,
  transfer: { readonly blob: BlobLocation; readonly counters: TransferCounters },
  op: string,
  signal: AbortSignal,
  run: (client: BlockBlobClient, attempt: Attempt) => Promise<T>,
): Promise<T> {
  const { blob, counters } = transfer;
  return withRetries(
    {
      policy: parts.policy,
      op,
      subject: subjectOf(blob),
      signal,
      gate: parts.gates.of(blob.url),
      onThrottle: () => {
        counters.throttles += 1;
      },
      onRetry: () => {
        counters.retries += 1;
      },
    },
    (attempt) => {
      counters.requests += 1;
      return run(parts.clients.blob(blob), attempt);
    },
  );
}

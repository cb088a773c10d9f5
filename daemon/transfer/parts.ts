// What the downloads and uploads of one engine share, and how a request of theirs is tried again.
import type { BlockBlobClient } from '@azure/storage-blob';
import { LhsmError } from '../../native-bindings/errors.js';
import type { AzureClients } from '../azure-client.js';
import { httpStatus } from '../azure-errors.js';
import { hostOf, withRetries, type Attempt, type RetryPolicy, type ThrottleGates } from '../azure-retry.js';
import type { BlobLocation } from '../blob.js';
import type { Ends } from '../stop.js';
import { AdaptiveLimit } from './adaptive-limit.js';
import type { Authorizer } from './auth.js';
import type { Bandwidth } from './bandwidth.js';
import type { ThreadGets } from './thread-gets.js';
import type { TransferCounters } from './transfer.js';
import type { WorkerPool } from './worker-pool.js';
import type { Target } from './worker/messages.js';

export interface EngineParts {
  /** For commits, and for looks at what became of one. The SDK takes half a second of CPU to load: only for the first. */
  readonly clients: () => Promise<AzureClients>;
  readonly workers: WorkerPool;
  readonly threadGets: ThreadGets;
  readonly auth: Authorizer;
  readonly policy: RetryPolicy;
  readonly gates: ThrottleGates;
  /** Of this direction. */
  readonly limits: Limits;
  readonly bandwidth: Bandwidth;
  readonly blockSizeBytes: number;
  readonly putBlobMaxBytes: number;
  readonly rangesPerFile: number;
  readonly stallTimeoutMs: number;
  /** The most that a worker holds of one block. */
  readonly heldBytes: number;
  /** Accounts, by host, that do not take a CRC64 with a request: emulators. */
  readonly withoutCrc: Set<string>;
  /** Hears of another one of these. */
  readonly onWithoutCrc: (account: string) => void;
}

/** The blob's URL: it holds no secret, and says account, container and name. */
export function subjectOf(blob: BlobLocation): string {
  return `blob ${blob.url}`;
}

/** What the caller's own code threw: no second try mends it, and it comes through as it is. */
export class CallerError extends LhsmError {
  readonly thrown: unknown;

  constructor(thrown: unknown) {
    super('The caller refused.', { code: 'REFUSED', op: 'transfer' });
    this.thrown = thrown;
  }
}

/** An adaptive limit for each account, told apart by the host of its URLs. */
export class Limits {
  readonly #max: number;
  readonly #onCut: (host: string, requests: number) => void;
  readonly #byHost = new Map<string, AdaptiveLimit>();

  /** `onCut` hears of a limit that was halved. */
  constructor(max: number, onCut: (host: string, requests: number) => void = () => undefined) {
    this.#max = max;
    this.#onCut = onCut;
  }

  /** An account has asked for patience. */
  throttled(url: string): void {
    const limit = this.of(url);
    if (limit.throttled()) this.#onCut(hostOf(url), limit.limit);
  }

  of(url: string): AdaptiveLimit {
    const host = hostOf(url);
    let limit = this.#byHost.get(host);
    if (limit === undefined) this.#byHost.set(host, (limit = new AdaptiveLimit(this.#max)));
    return limit;
  }
}

interface Transfer {
  readonly blob: BlobLocation;
  readonly counters: TransferCounters;
}

export interface RequestOptions {
  /** The REST operation. */
  readonly op: string;
  /** Somebody may wait for the first byte: before the later ranges of others. */
  readonly urgent?: boolean;
  /** The content that it is going to move, asked at each try. */
  readonly bytes?: () => number;
  readonly signal: Ends;
}

/** One request, tried again as long as it makes sense; every try is counted and has a place among the account's. */
export async function request<T>(
  parts: EngineParts,
  transfer: Transfer,
  options: RequestOptions,
  run: (attempt: Attempt) => Promise<T>,
): Promise<T> {
  const { blob, counters } = transfer;
  const { op, urgent = false, signal, bytes } = options;
  const limit = parts.limits.of(blob.url);
  const trying = withRetries(
    {
      policy: parts.policy,
      op,
      subject: subjectOf(blob),
      signal,
      gate: parts.gates.of(blob.url),
      onThrottle: () => {
        counters.throttles += 1;
        parts.limits.throttled(blob.url);
      },
      onRetry: () => {
        counters.retries += 1;
      },
    },
    async (attempt) => {
      const isCapped = bytes !== undefined && parts.bandwidth.isCapped;
      if (isCapped) await parts.bandwidth.take(bytes(), signal);
      const isFree = limit.tryTake();
      if (!isFree) await limit.take(urgent, signal);
      try {
        // The account may have asked for patience meanwhile.
        if (isCapped || !isFree) await attempt.begin();
        counters.requests += 1;
        const value = await run(attempt);
        limit.succeeded();
        return value;
      } finally {
        limit.give();
      }
    },
  );
  try {
    return await trying;
  } catch (error) {
    throw error instanceof CallerError ? error.thrown : error;
  }
}

/** The same through the SDK. The client is made anew for each try: a SAS may rotate. */
export function sdkRequest<T>(
  parts: EngineParts,
  transfer: Transfer,
  options: RequestOptions,
  run: (client: BlockBlobClient, attempt: Attempt) => Promise<T>,
): Promise<T> {
  return request(parts, transfer, options, async (attempt) => {
    const clients = await parts.clients();
    return run(clients.blob(transfer.blob), attempt);
  });
}

/**
 * The same through a worker: `run` gets where the request goes and what lets it in. One that is refused for its
 * credential is made once more with another token or SAS.
 */
export function wireRequest<T>(
  parts: EngineParts,
  transfer: Transfer,
  options: RequestOptions & { readonly query?: string; readonly headers: () => string },
  run: (target: Target, attempt: Attempt) => Promise<T>,
): Promise<T> {
  const { auth } = parts;
  const { blob, counters } = transfer;
  const { query = '', headers } = options;
  let renewed = false;
  const once = async (attempt: Attempt): Promise<T> => {
    const target = await auth.target(blob, query, headers());
    try {
      return await run(target, attempt);
    } catch (error) {
      const status = httpStatus(error);
      if (renewed || (status !== 401 && status !== 403)) throw error;
      renewed = true;
      auth.renew(blob, target);
      counters.retries += 1;
      counters.requests += 1;
      return once(attempt);
    }
  };
  return request(parts, transfer, options, once);
}

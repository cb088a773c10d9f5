// The logging container over the SDK: small documents, append blobs, leases. Jobs keep their lock, status, checkpoints and
// logs in it; logging-address.ts makes it from the configuration.
import type { AppendBlobClient, BlobClient, BlobLeaseClient } from '@azure/storage-blob';
import { hasCode, LhsmError } from '../../native-bindings/errors.js';
import { AzureClients } from '../azure-client.js';
import { ThrottleGate, retryPolicyOf, withRetries, type Attempt, type RetryPolicy } from '../azure-retry.js';
import { conditionsOf, type BlobHeaders, type ExpectedVersion } from '../blob.js';
import { blobHeaders, sameMetadata } from '../blob-headers.js';
import type { ArchiveAccess } from './archive-access.js';
import type { ContainerOptions } from './azure-container.js';
import { despiteLostAnswers, nameMissing, probePolicy, withinPatience } from './blob-requests.js';
import { blobUrl } from './names.js';

export interface StoredDocument {
  readonly body: Buffer;
  readonly etag: string;
  /** Keys in lower case. */
  readonly metadata: Readonly<Record<string, string>>;
}

export interface WriteOptions {
  readonly expected?: ExpectedVersion;
  readonly leaseId?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly contentType?: string;
}

export interface LookedAt extends BlobHeaders {
  /** How many appends made it; only of append blobs. */
  readonly appends: number | undefined;
  /** Somebody has a lease of it that runs. */
  readonly isLeased: boolean;
}

export interface ListedName {
  readonly name: string;
  readonly lastModified: Date;
}

/** The most that one append takes (https://learn.microsoft.com/rest/api/storageservices/append-block, before version 2022-11-02). */
export const MAX_APPEND_BYTES = 4 << 20;

const DEFAULT_STALL_TIMEOUT_MS = 60_000;
const READ_BYTES = 4 << 20;

/**
 * The logging container. Methods reject with LhsmError: LOGGING_CONTAINER_MISSING, what azure-errors.ts knows, and what they
 * say themselves. `close` frees the connections; it may then not be used any more.
 */
export class LoggingContainer {
  readonly container: string;
  readonly #url: string;
  readonly #auth: ArchiveAccess['auth'];
  readonly #clients: AzureClients;
  readonly #policy: RetryPolicy;
  readonly #gate = new ThrottleGate();
  readonly #options: ContainerOptions;

  /** Throws LhsmError for a CA file that is of no use. Asks nothing of the network. */
  constructor({ address, auth }: ArchiveAccess, options: ContainerOptions = {}) {
    this.container = address.container;
    this.#url = address.url;
    this.#auth = auth;
    this.#options = options;
    this.#policy = retryPolicyOf(options);
    this.#clients = new AzureClients({
      caFile: options.caFile,
      socketTimeoutMs: options.stallTimeoutMs ?? DEFAULT_STALL_TIMEOUT_MS,
    });
  }

  /** Whether the container is there and may be listed; less patient than other requests. */
  async check(signal: AbortSignal): Promise<void> {
    const policy = probePolicy(this.#policy);
    await withinPatience(
      this.#subject(undefined),
      signal,
      (patient) =>
        this.#try('List Blobs', undefined, patient, () => this.#page('', undefined, 1, patient), { policy }),
      this.#options.probePatienceMs,
    );
  }

  /** Size, version and metadata of a blob; undefined when it is not there. */
  look(name: string, signal: AbortSignal): Promise<LookedAt | undefined> {
    return ifThere(
      this.#try('Get Blob Properties', name, signal, async () => {
        const blob = this.#blob(name);
        const answer = await blob
          .getProperties({ abortSignal: signal })
          .catch((error: unknown) => nameMissing(error, blob, signal));
        return {
          ...blobHeaders(answer, answer.contentLength ?? 0),
          appends: answer.blobCommittedBlockCount,
          isLeased: answer.leaseState === 'leased',
        };
      }),
    );
  }

  /** A whole blob, which has to be small; undefined when it is not there. */
  read(name: string, signal: AbortSignal): Promise<StoredDocument | undefined> {
    return ifThere(
      this.#try('Get Blob', name, signal, async () => {
        const answer = await this.#blob(name).download(0, undefined, {
          abortSignal: signal,
          maxRetryRequests: 0,
        });
        const { etag, metadata } = blobHeaders(answer, 0);
        return { body: await bodyOf(answer.readableStreamBody), etag, metadata };
      }),
    );
  }

  /**
   * The bytes of a blob that only grows, from `offset` to the end that it has when they are read. Rejects with
   * BLOB_MISSING.
   */
  async *readFrom(
    name: string,
    offset: number,
    signal: AbortSignal,
  ): AsyncGenerator<Buffer, void, undefined> {
    for (let at = offset; ;) {
      const { sizeBytes } = (await this.look(name, signal)) ?? this.#missing(name);
      if (at >= sizeBytes) return;
      while (at < sizeBytes) {
        const bytes = await this.#range(name, at, Math.min(READ_BYTES, sizeBytes - at), signal);
        at += bytes.length;
        yield bytes;
      }
    }
  }

  /**
   * Writes a small blob, in one request, and answers its ETag. Rejects with BLOB_CHANGED when it is not in the version that
   * is expected, LEASE_LOST or BLOB_LEASED when it is not under this lease. With an expected version, an answer that was
   * lost does no harm; without one, a late duplicate may undo what was written after it.
   */
  write(name: string, body: Buffer | string, options: WriteOptions, signal: AbortSignal): Promise<string> {
    const bytes = Buffer.from(body);
    const { expected, leaseId, metadata = {}, contentType } = options;
    return despiteLostAnswers(
      (tried) =>
        this.#try('Put Blob', name, signal, async (attempt) => {
          tried(attempt);
          const blob = this.#blob(name).getBlockBlobClient();
          const answer = await blob.upload(bytes, bytes.length, {
            abortSignal: signal,
            metadata: { ...metadata },
            conditions: { ...conditionsOf(expected), ...(leaseId === undefined ? {} : { leaseId }) },
            ...(contentType === undefined ? {} : { blobHTTPHeaders: { blobContentType: contentType } }),
          });
          return answer.etag ?? '';
        }),
      async (error, mayBeDone) => {
        if (!mayBeDone || !hasCode(error, 'BLOB_CHANGED')) throw error;
        // Done by an earlier try, the blob is as we want it.
        const found = await this.read(name, signal);
        if (found?.body.equals(bytes) && sameMetadata(found.metadata, metadata)) return found.etag;
        throw error;
      },
    );
  }

  /** Names that begin with `prefix`, in the service's order, a page at a time in memory. */
  async *list(prefix: string, signal: AbortSignal): AsyncGenerator<ListedName, void, undefined> {
    let marker: string | undefined;
    do {
      const page = await this.#try('List Blobs', undefined, signal, () =>
        this.#page(prefix, marker, undefined, signal),
      );
      for (const { name, properties } of page.segment.blobItems) {
        yield { name, lastModified: properties.lastModified };
      }
      marker = page.continuationToken;
    } while (marker !== undefined && marker !== '');
  }

  /** Deletes a blob; that it is gone already is no failure. */
  async delete(name: string, signal: AbortSignal): Promise<void> {
    const remove = async (): Promise<void> => {
      await this.#blob(name).delete({ abortSignal: signal });
    };
    await ifThere(this.#try('Delete Blob', name, signal, remove));
  }

  /** Makes an append blob, unless a blob of that name is there. */
  async createAppend(name: string, contentType: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#try('Put Append Blob', name, signal, async () => {
        await this.#appendBlob(name).create({
          abortSignal: signal,
          conditions: { ifNoneMatch: '*' },
          blobHTTPHeaders: { blobContentType: contentType },
        });
      });
    } catch (error) {
      if (!hasCode(error, 'BLOB_CHANGED')) throw error;
    }
  }

  /**
   * Appends at most MAX_APPEND_BYTES, all or nothing, to a blob that has `expectedPosition` bytes. Once and no
   * more, also when the answer is lost. Rejects with BLOB_CHANGED when the blob has another length: it is for the caller
   * to look at what stands there.
   */
  append(name: string, bytes: Buffer, expectedPosition: number, signal: AbortSignal): Promise<void> {
    return despiteLostAnswers(
      (tried) =>
        this.#try('Append Block', name, signal, async (attempt) => {
          tried(attempt);
          await this.#appendBlob(name).appendBlock(bytes, bytes.length, {
            abortSignal: signal,
            conditions: { appendPosition: expectedPosition },
          });
        }),
      async (error, mayBeDone) => {
        if (!mayBeDone || !hasCode(error, 'BLOB_CHANGED')) throw error;
        const found = await this.look(name, signal);
        if (found?.sizeBytes !== expectedPosition + bytes.length) throw error;
        const there = await this.#range(name, expectedPosition, bytes.length, signal);
        if (!there.equals(bytes)) throw error;
      },
    );
  }

  /**
   * Takes a lease of 15 to 60 seconds; one that runs under this id already starts anew. Rejects with BLOB_LEASED when
   * somebody else has it, BLOB_MISSING when there is no such blob.
   */
  acquireLease(name: string, leaseId: string, seconds: number, signal: AbortSignal): Promise<void> {
    return this.#lease('Acquire Lease', name, leaseId, signal, (lease) =>
      lease.acquireLease(seconds, { abortSignal: signal }),
    );
  }

  /** Rejects with LEASE_LOST, BLOB_MISSING. */
  renewLease(name: string, leaseId: string, signal: AbortSignal): Promise<void> {
    return this.#lease('Renew Lease', name, leaseId, signal, (lease) =>
      lease.renewLease({ abortSignal: signal }),
    );
  }

  /** Rejects with LEASE_LOST, BLOB_MISSING. */
  releaseLease(name: string, leaseId: string, signal: AbortSignal): Promise<void> {
    return this.#lease('Release Lease', name, leaseId, signal, (lease) =>
      lease.releaseLease({ abortSignal: signal }),
    );
  }

  /** Closes idle connections, and those in use. */
  close(): void {
    this.#clients.close();
  }

  async #lease(
    op: string,
    name: string,
    leaseId: string,
    signal: AbortSignal,
    run: (lease: BlobLeaseClient) => Promise<unknown>,
  ): Promise<void> {
    // A lease has no time to wait at the gate behind a log that was told to be patient.
    const request = (): Promise<unknown> => run(this.#blob(name).getBlobLeaseClient(leaseId));
    await this.#try(op, name, signal, request, { gate: false });
  }

  #range(name: string, offset: number, length: number, signal: AbortSignal): Promise<Buffer> {
    return this.#try('Get Blob', name, signal, async () => {
      const answer = await this.#blob(name).download(offset, length, {
        abortSignal: signal,
        maxRetryRequests: 0,
      });
      const bytes = await bodyOf(answer.readableStreamBody);
      if (bytes.length === length) return bytes;
      throw new LhsmError(
        `Get Blob: ${this.#subject(name)} gave ${bytes.length} bytes where ${length} were asked for.`,
        {
          code: 'BAD_ANSWER',
          op: 'Get Blob',
          retryable: true,
        },
      );
    });
  }

  async #page(
    prefix: string,
    marker: string | undefined,
    maxPageSize: number | undefined,
    signal: AbortSignal,
  ) {
    // A client for each page: a SAS may rotate.
    const pages = this.#clients.container(this.#url, this.#auth).listBlobsFlat({
      abortSignal: signal,
      ...(prefix === '' ? {} : { prefix }),
    });
    const settings = {
      ...(maxPageSize === undefined ? {} : { maxPageSize }),
      ...(marker === undefined ? {} : { continuationToken: marker }),
    };
    for await (const page of pages.byPage(settings)) return page;
    throw new RangeError('no page');
  }

  #blob(name: string): BlobClient {
    return this.#clients.blob({ url: blobUrl(this.#url, name), auth: this.#auth });
  }

  #appendBlob(name: string): AppendBlobClient {
    return this.#blob(name).getAppendBlobClient();
  }

  #subject(name: string | undefined): string {
    const blob = name === undefined ? '' : `blob ${JSON.stringify(name)} of `;
    return `${blob}logging container ${this.container}`;
  }

  #missing(name: string): never {
    throw new LhsmError(`Get Blob: ${this.#subject(name)} does not exist.`, {
      code: 'BLOB_MISSING',
      op: 'Get Blob',
      errno: 2,
    });
  }

  async #try<T>(
    op: string,
    name: string | undefined,
    signal: AbortSignal,
    run: (attempt: Attempt) => Promise<T>,
    { policy = this.#policy, gate = true }: { policy?: RetryPolicy; gate?: boolean } = {},
  ): Promise<T> {
    const { onRetry, onThrottle } = this.#options;
    try {
      return await withRetries(
        {
          policy,
          op,
          subject: this.#subject(name),
          signal,
          ...(gate ? { gate: this.#gate } : {}),
          ...(onRetry === undefined ? {} : { onRetry }),
          ...(onThrottle === undefined ? {} : { onThrottle }),
        },
        run,
      );
    } catch (error) {
      if (!hasCode(error, 'CONTAINER_MISSING')) throw error;
      throw new LhsmError(`${op}: the logging container ${this.container} does not exist.`, {
        code: 'LOGGING_CONTAINER_MISSING',
        op,
        errno: 2,
        hint: "Create it in the archive's account, or mend jobs.logging_container.",
        cause: error,
      });
    }
  }
}

async function bodyOf(stream: NodeJS.ReadableStream | undefined): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream ?? []) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

/** undefined where the blob does not exist. */
async function ifThere<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof LhsmError && error.code === 'BLOB_MISSING') return undefined;
    throw error;
  }
}

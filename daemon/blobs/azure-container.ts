// The archive container over the SDK: properties, empty blobs, deletion, a probe. The agent makes one for each
// archive; movers and jobs call it.
import type { ContainerClient } from '@azure/storage-blob';
import type { Readable } from 'node:stream';
import { LhsmError } from '../../native-bindings/errors.js';
import { httpStatus } from '../azure-errors.js';
import { AzureClients, type AzureClientOptions } from '../azure-client.js';
import { ThrottleGate, retryPolicyOf, withRetries, type Attempt, type RetryPolicy } from '../azure-retry.js';
import {
  conditionsOf,
  type BlobAuth,
  type BlobHeaders,
  type BlobLocation,
  type ExpectedVersion,
} from '../blob.js';
import { blobHeaders, hierarchicalHeaders, sameMetadata } from '../blob-headers.js';
import type { ArchiveConfig } from '../config/config.js';
import { hasHierarchy } from './account-kind.js';
import { archiveAccess } from './archive-access.js';
import type { ArchiveContainer } from './archive-container.js';
import { despiteLostAnswers, nameMissing, probePolicy, withinPatience } from './blob-requests.js';
import type { ContainerAddress } from './container-url.js';
import type { CredentialOptions } from './credentials.js';
import { FlatListing, type ListingPort } from './flat-listing.js';
import { HnsListing } from './hns-listing.js';
import type { BlobListing } from './listing.js';
import { blobUrl } from './names.js';
import { dataLakeUrl } from './path-listing.js';

export interface ContainerOptions
  extends Pick<AzureClientOptions, 'caFile'>, Pick<CredentialOptions, 'env' | 'onBadRotation'> {
  /** Tries of one request before it fails. */
  readonly maxTries?: number;
  /** How long UNREACHABLE and THROTTLED are tried again; see `retryPolicyOf`. */
  readonly retryForMs?: number;
  /** A request without an answer for that long is tried again. */
  readonly stallTimeoutMs?: number;
  readonly retryDelayMs?: number;
  /** How long a probe may take, its retries included. */
  readonly probePatienceMs?: number;
  /** Told of every failed try that is followed by another. */
  readonly onRetry?: (error: LhsmError) => void;
  readonly onThrottle?: () => void;
  /** Told once, in a sentence for the log, what was assumed because it could not be asked. */
  readonly onNote?: (note: string) => void;
}

const DEFAULT_STALL_TIMEOUT_MS = 60_000;

/** One archive id's container. `close` frees its connections; it may then not be used any more. */
export class AzureContainer implements ArchiveContainer {
  readonly archiveId: number;
  readonly container: string;
  readonly prefix: string;
  readonly naming: 'path' | 'fid';
  readonly #address: ContainerAddress;
  readonly #auth: BlobAuth;
  readonly #clients: AzureClients;
  readonly #policy: RetryPolicy;
  readonly #gate = new ThrottleGate();
  readonly #options: ContainerOptions;
  readonly #hierarchical: 'auto' | boolean;
  #hasNoted = false;

  /** Throws LhsmError for a secret, CA file or container name that is of no use. Asks nothing of the network. */
  constructor(config: ArchiveConfig, options: ContainerOptions = {}) {
    const { address, auth } = archiveAccess(config, options);
    this.#address = address;
    this.#auth = auth;
    this.archiveId = config.id;
    this.container = this.#address.container;
    this.prefix = config.prefix;
    this.naming = config.naming;
    this.#hierarchical = config.hierarchical ?? 'auto';
    this.#options = options;
    this.#policy = retryPolicyOf(options);
    this.#clients = new AzureClients({
      caFile: options.caFile,
      socketTimeoutMs: options.stallTimeoutMs ?? DEFAULT_STALL_TIMEOUT_MS,
    });
  }

  location(name: string): BlobLocation {
    return { url: blobUrl(this.#address.url, name), auth: this.#auth };
  }

  /** The SDK's client of the container. Its own retries are off. */
  client(): ContainerClient {
    return this.#clients.container(this.#address.url, this.#auth);
  }

  async listing(signal: AbortSignal): Promise<BlobListing> {
    const port: ListingPort = {
      client: () => this.client(),
      get: (query, abort) => this.#clients.stream(this.#address.url, this.#auth, query, abort),
      request: (op, what, abort, run) =>
        this.#request(op, `${what} of container ${this.container}`, abort, run),
    };
    const isHierarchical =
      this.#hierarchical === 'auto' ? await hasHierarchy(port, signal) : this.#hierarchical;
    if (isHierarchical === undefined && !this.#hasNoted) {
      this.#hasNoted = true;
      this.#options.onNote?.(
        `The credential of container ${this.container} may not ask whether its account has a hierarchical namespace: taken for one without. If it has one, set hierarchical = true.`,
      );
    }
    if (isHierarchical !== true) return new FlatListing(port);
    const url = dataLakeUrl(this.#address.url);
    return new HnsListing({
      get: port.get,
      request: port.request,
      onNote: (note) => this.#options.onNote?.(`Container ${this.container}: ${note}`),
      properties: (name, abort) => this.properties(name, abort),
      paths: async (query, abort) => {
        const { body, headers } = await this.#clients.get(url, this.#auth, query, abort);
        return { body, continuation: headers.get('x-ms-continuation') };
      },
    });
  }

  async readSmall(
    name: string,
    maxBytes: number,
    etag: string | undefined,
    signal: AbortSignal,
  ): Promise<Buffer> {
    const read = async (): Promise<Buffer> => {
      try {
        const answer = await this.#blob(name).download(0, maxBytes + 1, {
          abortSignal: signal,
          conditions: conditionsOf(etag === undefined ? undefined : { etag }),
        });
        return await firstBytes(answer.readableStreamBody as Readable | undefined, maxBytes + 1);
      } catch (error) {
        // An empty blob has no range.
        if (httpStatus(error) === 416) return Buffer.alloc(0);
        throw error;
      }
    };
    try {
      return await this.#try('Get Blob', name, signal, read);
    } catch (error) {
      // A condition on a blob that is gone may be answered with 412 as well.
      if (!isCode(error, 'BLOB_CHANGED') || (await this.properties(name, signal))) throw error;
      throw this.#missing('Get Blob', name);
    }
  }

  properties(name: string, signal: AbortSignal): Promise<BlobHeaders | undefined> {
    return this.#lookAt(name, signal, this.#policy);
  }

  async #lookAt(name: string, signal: AbortSignal, policy: RetryPolicy): Promise<BlobHeaders | undefined> {
    const look = async (): Promise<BlobHeaders> => {
      const blob = this.#blob(name);
      const answer = await blob
        .getProperties({ abortSignal: signal })
        .catch((error: unknown) => nameMissing(error, blob, signal));
      const hierarchical = hierarchicalHeaders(answer);
      return {
        ...blobHeaders(answer, answer.contentLength ?? 0),
        ...(hierarchical === undefined ? {} : { hierarchical }),
      };
    };
    try {
      return await this.#try('Get Blob Properties', name, signal, look, policy);
    } catch (error) {
      if (isCode(error, 'BLOB_MISSING')) return undefined;
      throw error;
    }
  }

  putEmpty(
    name: string,
    metadata: Readonly<Record<string, string>>,
    expected: ExpectedVersion,
    signal: AbortSignal,
  ): Promise<string> {
    return this.putSmall(name, Buffer.alloc(0), metadata, expected, signal);
  }

  putSmall(
    name: string,
    body: Buffer,
    metadata: Readonly<Record<string, string>>,
    expected: ExpectedVersion,
    signal: AbortSignal,
  ): Promise<string> {
    return despiteLostAnswers(
      (tried) =>
        this.#try('Put Blob', name, signal, async (attempt) => {
          tried(attempt);
          const answer = await this.#blob(name).upload(body, body.length, {
            abortSignal: signal,
            metadata: { ...metadata },
            conditions: conditionsOf(expected),
          });
          return answer.etag ?? '';
        }),
      async (error, mayBeDone) => {
        if (!mayBeDone || !isCode(error, 'BLOB_CHANGED')) throw error;
        // Done by an earlier try, the blob is as we want it.
        const found = await this.properties(name, signal);
        if (found?.sizeBytes !== body.length || !sameMetadata(found.metadata, metadata)) throw error;
        if (body.length > 0 && !(await this.readSmall(name, body.length, found.etag, signal)).equals(body))
          throw error;
        return found.etag;
      },
    );
  }

  setMetadata(
    name: string,
    metadata: Readonly<Record<string, string>>,
    etag: string,
    signal: AbortSignal,
  ): Promise<string> {
    return despiteLostAnswers(
      (tried) =>
        this.#try('Set Blob Metadata', name, signal, async (attempt) => {
          tried(attempt);
          const conditions = conditionsOf({ etag });
          const answer = await this.#blob(name).setMetadata(
            { ...metadata },
            { abortSignal: signal, conditions },
          );
          return answer.etag ?? '';
        }),
      async (error, mayBeDone) => {
        if (!isCode(error, 'BLOB_CHANGED')) throw error;
        // As with delete the blob may be gone.
        const found = await this.properties(name, signal);
        if (!found) throw this.#missing('Set Blob Metadata', name);
        if (mayBeDone && sameMetadata(found.metadata, metadata)) return found.etag;
        throw error;
      },
    );
  }

  delete(
    name: string,
    expected: ExpectedVersion,
    signal: AbortSignal,
    beforeEachTry?: () => Promise<void>,
  ): Promise<void> {
    return despiteLostAnswers(
      (tried) =>
        this.#try('Delete Blob', name, signal, async (attempt) => {
          await beforeEachTry?.();
          tried(attempt);
          await this.#blob(name).delete({
            abortSignal: signal,
            conditions: conditionsOf(expected),
          });
        }),
      async (error, mayBeDone) => {
        // A condition on a blob that is gone may be answered with 412 as well.
        const gone =
          isCode(error, 'BLOB_MISSING') ||
          (isCode(error, 'BLOB_CHANGED') && (await this.properties(name, signal)) === undefined);
        if (!gone) throw error;
        if (!mayBeDone) throw this.#missing('Delete Blob', name);
      },
    );
  }

  async probe(signal: AbortSignal): Promise<void> {
    // A read needs no more rights than every restore does; that there is no such blob is the good answer.
    const name = `${this.prefix}.lhsm-probe`;
    await withinPatience(
      `container ${this.container}`,
      signal,
      (patient) => this.#lookAt(name, patient, probePolicy(this.#policy)),
      this.#options.probePatienceMs,
    );
  }

  /** Closes idle connections, and those in use. */
  close(): void {
    this.#clients.close();
  }

  #blob(name: string): ReturnType<AzureClients['blob']> {
    return this.#clients.blob(this.location(name));
  }

  #subject(name: string): string {
    return `blob ${JSON.stringify(name)} of container ${this.container}`;
  }

  #missing(op: string, name: string): LhsmError {
    return new LhsmError(`${op}: ${this.#subject(name)} does not exist.`, {
      code: 'BLOB_MISSING',
      op,
      errno: 2,
    });
  }

  #try<T>(
    op: string,
    name: string,
    signal: AbortSignal,
    run: (attempt: Attempt) => Promise<T>,
    policy = this.#policy,
  ): Promise<T> {
    return this.#request(op, this.#subject(name), signal, run, policy);
  }

  #request<T>(
    op: string,
    subject: string,
    signal: AbortSignal,
    run: (attempt: Attempt) => Promise<T>,
    policy = this.#policy,
  ): Promise<T> {
    const { onRetry, onThrottle } = this.#options;
    return withRetries(
      {
        policy,
        op,
        subject,
        signal,
        gate: this.#gate,
        ...(onRetry === undefined ? {} : { onRetry }),
        ...(onThrottle === undefined ? {} : { onThrottle }),
      },
      run,
    );
  }
}

/** At most so many bytes; the rest is not read. */
async function firstBytes(body: Readable | undefined, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body ?? []) {
    chunks.push(chunk as Buffer);
    length += (chunk as Buffer).length;
    // Leaving the loop destroys the stream.
    if (length >= maxBytes) break;
  }
  return Buffer.concat(chunks).subarray(0, maxBytes);
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

/** The container of one archive of the configuration. Throws LhsmError, see AzureContainer. */
export function createArchiveContainer(
  config: ArchiveConfig,
  options: ContainerOptions = {},
): AzureContainer {
  return new AzureContainer(config, options);
}

// Makes SDK clients: one keep-alive agent, one pipeline per credential, our user agent, our CA file. The blobs room
// and the transfer room each hold one of these.
import { readFileSync } from 'node:fs';
import { Agent as HttpAgent, type AgentOptions as HttpAgentOptions } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { rootCertificates } from 'node:tls';
import {
  AnonymousCredential,
  BlockBlobClient,
  ContainerClient,
  newPipeline,
  type Pipeline,
  type StoragePipelineOptions,
} from '@azure/storage-blob';
import { LhsmError } from '../native-bindings/errors.js';
import type { BlobAuth, BlobLocation } from './blob.js';
import { VERSION } from './version.js';

export interface AzureClientOptions {
  /** Certificates to trust besides the system's own, PEM. */
  readonly caFile?: string | undefined;
  /**
   * A connection on which nothing moves for that long is given up, in either direction. Left out for downloads,
   * where a slow disk stops the reading of a healthy connection: there the reader watches.
   */
  readonly socketTimeoutMs?: number;
}

/** `lhsm-azblob/<version>`, which stands before the SDK's own in the service's logs. */
export const USER_AGENT = `lhsm-azblob/${VERSION}`;

/** Reads the CA file. Throws LhsmError naming it when it cannot be read or holds no certificate. */
export function loadCaFile(path: string): string[] {
  const mend = { hint: 'Mend transfer.ca_file: a file of PEM certificates that the daemon may read.' };
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'EIO';
    throw new LhsmError(`The CA file ${path} cannot be read (${code}).`, {
      code,
      op: 'read',
      cause,
      ...mend,
    });
  }
  if (!text.includes('-----BEGIN CERTIFICATE-----')) {
    throw new LhsmError(`The CA file ${path} holds no certificate.`, { code: 'EINVAL', op: 'read', ...mend });
  }
  // `ca` replaces Node's own list, so that has to be said as well.
  return [...rootCertificates, text];
}

/** Destroys the socket with ETIMEDOUT once nothing has moved on it for its timeout, written bytes included. */
function giveUpWhenStalled(socket: Duplex | null | undefined, timeoutMs: number): void {
  const at = socket as Socket | null | undefined;
  at?.setTimeout(timeoutMs, () => {
    const error = new Error(`nothing moved on the connection for ${timeoutMs} ms`);
    at.destroy(Object.assign(error, { code: 'ETIMEDOUT' }));
  });
}

type AgentClass = typeof HttpAgent | typeof HttpsAgent;

function stallingAgent(
  Base: AgentClass,
  options: HttpAgentOptions,
  timeoutMs: number | undefined,
): HttpAgent {
  if (timeoutMs === undefined) return new Base(options);
  // The agent's own `timeout` keeps the socket's timer at this value between requests too.
  const agent = new Base({ ...options, timeout: timeoutMs });
  const create = agent.createConnection.bind(agent);
  agent.createConnection = (connection, callback) => {
    const socket = create(connection, callback);
    giveUpWhenStalled(socket, timeoutMs);
    return socket;
  };
  return agent;
}

/** SDK clients that share connections. Their own retries are off: azure-retry.ts does that. */
export class AzureClients {
  readonly #http: HttpAgent;
  readonly #https: HttpAgent;
  readonly #pipelines = new WeakMap<BlobAuth, Map<string, Pipeline>>();

  /** Throws LhsmError when the CA file cannot be used. */
  constructor(options: AzureClientOptions = {}) {
    const ca = options.caFile === undefined ? {} : { ca: loadCaFile(options.caFile) };
    this.#http = stallingAgent(HttpAgent, { keepAlive: true }, options.socketTimeoutMs);
    this.#https = stallingAgent(HttpsAgent, { keepAlive: true, ...ca }, options.socketTimeoutMs);
  }

  blob(location: BlobLocation): BlockBlobClient {
    const { url, auth } = location;
    return new BlockBlobClient(signed(url, auth), this.#pipeline(url, auth));
  }

  container(url: string, auth: BlobAuth): ContainerClient {
    return new ContainerClient(signed(url, auth), this.#pipeline(url, auth));
  }

  /** Closes the connections; requests under way fail. */
  close(): void {
    this.#http.destroy();
    this.#https.destroy();
  }

  #pipeline(url: string, auth: BlobAuth): Pipeline {
    const scheme = url.slice(0, url.indexOf(':'));
    let byScheme = this.#pipelines.get(auth);
    if (byScheme === undefined) this.#pipelines.set(auth, (byScheme = new Map<string, Pipeline>()));
    let pipeline = byScheme.get(scheme);
    if (pipeline === undefined) {
      // `agent` reaches core-rest-pipeline's PipelineOptions through newPipeline, whose own type leaves it out.
      const options: StoragePipelineOptions & { agent: HttpAgent } = {
        agent: scheme === 'https' ? this.#https : this.#http,
        retryOptions: { maxTries: 1 },
        userAgentOptions: { userAgentPrefix: USER_AGENT },
      };
      const credential = auth.kind === 'sas' ? new AnonymousCredential() : auth.credential;
      byScheme.set(scheme, (pipeline = newPipeline(credential, options)));
    }
    return pipeline;
  }
}

function signed(url: string, auth: BlobAuth): string {
  return auth.kind === 'sas' ? `${url}?${auth.query()}` : url;
}

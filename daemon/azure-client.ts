// Makes SDK clients: one keep-alive agent, one pipeline per credential, our user agent, our CA file. The blobs room
// and the transfer room each hold one of these.
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent, type AgentOptions } from 'node:https';
import { Socket } from 'node:net';
import { Readable, type Duplex } from 'node:stream';
import {
  createHttpHeaders,
  createPipelineRequest,
  type PipelineRequest,
  type PipelineResponse,
} from '@azure/core-rest-pipeline';
import {
  AnonymousCredential,
  BlockBlobClient,
  ContainerClient,
  RestError,
  newPipeline,
  type Pipeline,
  type StoragePipelineOptions,
} from '@azure/storage-blob';
import { codeInBody } from './azure-errors.js';
import type { BlobAuth, BlobLocation } from './blob.js';
import { loadCaFile } from './ca-file.js';
import { USER_AGENT } from './version.js';

export interface AzureClientOptions {
  /** Certificates to trust besides the system's own, PEM. */
  readonly caFile?: string | undefined;
  /**
   * A connection on which nothing moves for that long is given up, in either direction. Left out for downloads,
   * where a slow disk stops the reading of a healthy connection: there the reader watches.
   */
  readonly socketTimeoutMs?: number;
}

/** Destroys the socket with ETIMEDOUT once nothing has moved on it for its timeout, written bytes included. */
function giveUpWhenStalled(socket: Duplex | null | undefined, timeoutMs: number): void {
  const at = socket as Socket | null | undefined;
  at?.setTimeout(timeoutMs, () => {
    const error = new Error(`nothing moved on the connection for ${timeoutMs} ms`);
    at.destroy(Object.assign(error, { code: 'ETIMEDOUT' }));
  });
}

/**
 * An unused connection is closed after that long: longer ones may have been dropped on the way by a firewall, which shows
 * only when a request on them gets no answer.
 */
const IDLE_TIMEOUT_MS = 30_000;

type AgentClass = typeof HttpAgent | typeof HttpsAgent;

function keepAliveAgent(Base: AgentClass, options: AgentOptions, stallMs: number | undefined): HttpAgent {
  // Node's agent closes idle sockets at this time, and sets every socket's timer back to it between requests; during
  // one the timer alone does nothing.
  const agent = new Base({ ...options, keepAlive: true, timeout: stallMs ?? IDLE_TIMEOUT_MS });
  if (stallMs === undefined) return agent;
  const create = agent.createConnection.bind(agent);
  agent.createConnection = (connection, callback) => {
    const socket = create(connection, callback);
    giveUpWhenStalled(socket, stallMs);
    return socket;
  };
  const reuse = agent.reuseSocket.bind(agent);
  agent.reuseSocket = (socket, request) => {
    // Between requests its time is what the server's Keep-Alive header says, a few seconds often.
    if (socket instanceof Socket) socket.setTimeout(stallMs);
    reuse(socket, request);
  };
  return agent;
}

/** Of requests that the SDK has no method for; see daemon/transfer/auth.ts. */
const API_VERSION = '2021-12-02';

/** Gets at the pipeline behind a client: what signs, and what sends. */
class RawClient extends ContainerClient {
  send(request: PipelineRequest): Promise<PipelineResponse> {
    return this.storageClientContext.sendRequest(request);
  }
}

/** SDK clients that share connections. Their own retries are off: azure-retry.ts does that. */
export class AzureClients {
  readonly #http: HttpAgent;
  readonly #https: HttpAgent;
  readonly #pipelines = new WeakMap<BlobAuth, Map<string, Pipeline>>();

  /** Throws LhsmError when the CA file cannot be used. */
  constructor(options: AzureClientOptions = {}) {
    const ca = options.caFile === undefined ? {} : { ca: loadCaFile(options.caFile) };
    this.#http = keepAliveAgent(HttpAgent, {}, options.socketTimeoutMs);
    // Said, so that no variable of the environment says otherwise.
    this.#https = keepAliveAgent(HttpsAgent, { ...ca, rejectUnauthorized: true }, options.socketTimeoutMs);
  }

  blob(location: BlobLocation): BlockBlobClient {
    const { url, auth } = location;
    return new BlockBlobClient(signed(url, auth), this.#pipeline(url, auth));
  }

  container(url: string, auth: BlobAuth): ContainerClient {
    return new ContainerClient(signed(url, auth), this.#pipeline(url, auth));
  }

  /**
   * A GET that the SDK has no method for, signed and sent as all others are; `body` is the answer's JSON. Rejects with
   * RestError for any status but 200.
   */
  async get(
    url: string,
    auth: BlobAuth,
    query: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<{ readonly body: unknown; readonly headers: { get(name: string): string | undefined } }> {
    const response = await this.#send(url, auth, query, signal, false);
    return { body: parsedBody(response), headers: response.headers };
  }

  /**
   * The same for an answer that is read as it comes: who stops reading before its end must destroy it, as leaving a
   * loop over it does. Reading rejects with what breaks the connection.
   */
  async stream(
    url: string,
    auth: BlobAuth,
    query: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<Readable> {
    const { readableStreamBody } = await this.#send(url, auth, query, signal, true);
    // Always there, since it was asked for; and Node's own, on Node.
    return (readableStreamBody ?? Readable.from([])) as Readable;
  }

  async #send(
    url: string,
    auth: BlobAuth,
    query: Readonly<Record<string, string>>,
    signal: AbortSignal,
    isStreamed: boolean,
  ): Promise<PipelineResponse> {
    const fields = Object.entries(query).map(([key, value]) => `${key}=${encodeURIComponent(value)}`);
    if (auth.kind === 'sas') fields.push(auth.query());
    const request = createPipelineRequest({
      url: `${url}?${fields.join('&')}`,
      headers: createHttpHeaders({ 'x-ms-version': API_VERSION }),
      abortSignal: signal,
      // Whether that is wise is the credential's business: a token goes over https only.
      allowInsecureConnection: true,
      // Errors are read whole, and parsed.
      ...(isStreamed ? { streamResponseStatusCodes: new Set([200]) } : {}),
    });
    const response = await new RawClient(url, this.#pipeline(url, auth)).send(request);
    const { status } = response;
    if (status === 200) return response;
    const { error } = (parsedBody(response) ?? {}) as { readonly error?: { readonly code?: string } };
    const code = error?.code ?? codeInBody({ response });
    throw new RestError(`the answer was ${status}`, {
      ...(code === undefined ? {} : { code }),
      statusCode: status,
      request,
      response,
    });
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

/** The SDK's pipeline has parsed what says that it is JSON or XML. */
function parsedBody(response: PipelineResponse): unknown {
  return (response as { readonly parsedBody?: unknown }).parsedBody;
}

function signed(url: string, auth: BlobAuth): string {
  return auth.kind === 'sas' ? `${url}?${auth.query()}` : url;
}

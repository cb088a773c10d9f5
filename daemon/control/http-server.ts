// What the TCP server and the admin socket share: routes, bodies, errors as JSON, an end without waiting.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { describeError, LhsmError } from '../../native-bindings/errors.js';
import { redact } from '../redact.js';

export interface Answer {
  readonly status: number;
  readonly contentType: string;
  /** Chunks are taken as fast as the client reads; one that fails cuts the connection. */
  readonly body: string | AsyncIterable<Uint8Array>;
}

/** What a handler gets of a request. */
export interface Asked {
  /** The parsed JSON of a POST; undefined without one. */
  readonly body: unknown;
  /** The path's `:parts`, decoded. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
}

/** Handles one request. `signal` aborts when the client has gone or the server closes, never behind the answer. */
export type Handler = (asked: Asked, signal: AbortSignal) => Answer | Promise<Answer>;

/** By method and path: `GET /healthz`, `GET /v1/jobs/:name`. */
export type Routes = Readonly<Record<string, Handler>>;

/** The JSON of an error that a client gets. */
export interface ErrorBody {
  readonly error: { readonly code: string; readonly message: string; readonly hint?: string };
}

const MAX_BODY_BYTES = 64 * 1024;

/** JSON without secrets. */
export function json(status: number, value: unknown): Answer {
  return { status, contentType: 'application/json', body: `${redact(JSON.stringify(value))}\n` };
}

export function errorAnswer(status: number, error: unknown): Answer {
  const known = error instanceof LhsmError ? error : undefined;
  const body: ErrorBody = {
    error: {
      code: known?.code ?? 'INTERNAL',
      message: known ? known.message : describeError(error),
      ...(known?.hint !== undefined && { hint: known.hint }),
    },
  };
  return json(status, body);
}

/** A mistake in a request: 400. */
export class BadRequest extends LhsmError {
  constructor(message: string, hint?: string) {
    super(message, { code: 'BAD_REQUEST', op: 'request', errno: 22, ...(hint !== undefined && { hint }) });
  }
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_BODY_BYTES) throw new BadRequest('the body is too large');
    chunks.push(chunk);
  }
  if (length === 0) return undefined;
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
  } catch {
    throw new BadRequest('the body is not JSON');
  }
}

interface Found {
  readonly handler: Handler;
  readonly params: Readonly<Record<string, string>>;
}

/** What a path's `:parts` are; undefined for a path that is another. */
function match(pattern: string, path: string): Record<string, string> | undefined {
  const [wanted, given] = [pattern.split('/'), path.split('/')];
  if (wanted.length !== given.length) return undefined;
  const params: Record<string, string> = {};
  for (const [at, part] of wanted.entries()) {
    const text = given[at] ?? '';
    if (!part.startsWith(':')) {
      if (part !== text) return undefined;
      continue;
    }
    try {
      params[part.slice(1)] = decodeURIComponent(text);
    } catch {
      throw new BadRequest(`${path} is not encoded as a URL is`);
    }
  }
  return params;
}

/** The handler, or the answer where there is none. */
function find(routes: Routes, method: string, path: string): Found | Answer {
  let others = false;
  for (const [route, handler] of Object.entries(routes)) {
    const [routeMethod, pattern = ''] = route.split(' ', 2);
    const params = match(pattern, path);
    if (params && routeMethod === method) return { handler, params };
    others ||= params !== undefined;
  }
  const what = others ? `${method} is not for ${path}` : `there is no ${path}`;
  return errorAnswer(
    others ? 405 : 404,
    new BadRequest(what, `There are ${Object.keys(routes).join(', ')}.`),
  );
}

/** By an error's code; everything else is 500. */
const STATUS_OF_CODE: Readonly<Record<string, number>> = {
  BAD_REQUEST: 400,
  JOB_SPEC: 400,
  PREFIX_INVALID: 400,
  PREFIXES_OVERLAP: 400,
  PATH_INVALID: 400,
  PATH_OUTSIDE_MOUNT: 400,
  PATH_UNUSABLE: 400,
  JOB_UNKNOWN: 404,
  OPERATION_UNKNOWN: 404,
  OPERATIONS_BUSY: 409,
  JOB_RUNNING: 409,
};

async function answer(request: IncomingMessage, routes: Routes, signal: AbortSignal): Promise<Answer> {
  try {
    const url = request.url ?? '/';
    const question = url.indexOf('?');
    const path = question < 0 ? url : url.slice(0, question);
    const method = request.method === 'HEAD' ? 'GET' : (request.method ?? 'GET');
    const found = find(routes, method, path);
    if (!('handler' in found)) return found;
    const body = method === 'POST' ? await readBody(request) : undefined;
    const query = new URLSearchParams(question < 0 ? '' : url.slice(question + 1));
    return await found.handler({ body, params: found.params, query }, signal);
  } catch (error) {
    const code = error instanceof LhsmError ? error.code : '';
    return errorAnswer(Object.hasOwn(STATUS_OF_CODE, code) ? (STATUS_OF_CODE[code] ?? 500) : 500, error);
  }
}

/**
 * An answer of many chunks. The first is waited for, so that what fails before it is an error with a code; there is
 * no other way to tell one behind it than to cut the connection.
 */
export async function streamed(contentType: string, chunks: AsyncIterable<Uint8Array>): Promise<Answer> {
  const iterator = chunks[Symbol.asyncIterator]();
  let first: IteratorResult<Uint8Array> | undefined = await iterator.next();
  // No generator: one that has not begun does not end what it reads from.
  const all: AsyncIterator<Uint8Array> = {
    next: () => {
      const held = first;
      first = undefined;
      return held ? Promise.resolve(held) : iterator.next();
    },
    return: async () => {
      await iterator.return?.();
      return { done: true, value: undefined };
    },
  };
  return { status: 200, contentType, body: { [Symbol.asyncIterator]: () => all } };
}

async function send(request: IncomingMessage, response: ServerResponse, answered: Answer): Promise<void> {
  const { status, contentType, body } = answered;
  const whole = typeof body === 'string';
  response.writeHead(status, {
    'content-type': contentType,
    ...(whole && { 'content-length': Buffer.byteLength(body) }),
    'cache-control': 'no-store',
    // What is left of a refused body must not be read as the next request.
    ...(!request.complete && { connection: 'close' }),
  });
  if (!whole && request.method !== 'HEAD') await pipeline(body, response);
  else {
    response.end(whole && request.method !== 'HEAD' ? body : undefined);
    await discard(answered);
  }
}

/** Ends what produces the chunks of an answer that nobody takes. */
async function discard({ body }: Answer): Promise<void> {
  if (typeof body !== 'string') await body[Symbol.asyncIterator]().return?.();
}

interface Serving {
  readonly routes: Routes;
  readonly stop: AbortSignal;
  /** Hears why an answer was cut off, where not by the client. */
  readonly onBroken: (error: unknown) => void;
}

/** One request, from its headers to the last byte of the answer. Never rejects. */
async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  { routes, stop, onBroken }: Serving,
): Promise<void> {
  const gone = new AbortController();
  const abort = (): void => {
    // Behind the whole answer it comes as well: what the handler has begun may live on.
    if (!response.writableFinished) gone.abort();
  };
  stop.addEventListener('abort', abort);
  response.once('close', abort);
  try {
    const answered = await answer(request, routes, gone.signal);
    if (response.destroyed) await discard(answered);
    else await send(request, response, answered);
  } catch (error) {
    // The client has gone, or a chunk could not be had: it sees that the answer is not whole.
    if (!gone.signal.aborted) onBroken(error);
    response.destroy();
  } finally {
    stop.removeEventListener('abort', abort);
  }
}

/** A server that listens. */
export interface RunningServer {
  /** `host:port`, or the socket's path. */
  readonly address: string;
  /** Ends at once: handlers' signals abort, connections are cut. */
  close(): Promise<void>;
}

/** Begins to listen; rejects with the system's error. */
export async function startServer(
  routes: Routes,
  where: { readonly host: string; readonly port: number } | { readonly path: string },
  onBroken: (error: unknown) => void = () => undefined,
): Promise<RunningServer> {
  const stop = new AbortController();
  const server: Server = createServer(
    { requestTimeout: 10_000, headersTimeout: 5_000 },
    (request, response) => {
      void serve(request, response, { routes, stop: stop.signal, onBroken });
    },
  );
  server.maxConnections = 100;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(where, () => {
      server.off('error', reject);
      resolve();
    });
  });
  return {
    address: 'path' in where ? where.path : formatAddress(server.address() as AddressInfo),
    close: () =>
      new Promise((resolve) => {
        stop.abort();
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}

function formatAddress({ address, family, port }: AddressInfo): string {
  return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`;
}

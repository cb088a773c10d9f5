// What the TCP server and the admin socket share: routes, bodies, errors as JSON, an end without waiting.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describeError, LhsmError } from '../../native-bindings/errors.js';
import { redact } from '../redact.js';

export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** Handles one request; `body` is the parsed JSON of a POST, undefined without one. */
export type Handler = (body: unknown, signal: AbortSignal) => Answer | Promise<Answer>;

/** By method and path: `GET /healthz`. */
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

async function answer(request: IncomingMessage, routes: Routes, signal: AbortSignal): Promise<Answer> {
  const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
  const method = request.method === 'HEAD' ? 'GET' : (request.method ?? 'GET');
  const handler = Object.hasOwn(routes, `${method} ${path}`) ? routes[`${method} ${path}`] : undefined;
  if (!handler) {
    const others = Object.keys(routes).some((route) => route.endsWith(` ${path}`));
    const known = Object.keys(routes).join(', ');
    const what = others ? `${method} is not for ${path}` : `there is no ${path}`;
    return errorAnswer(others ? 405 : 404, new BadRequest(what, `There are ${known}.`));
  }
  try {
    return await handler(method === 'POST' ? await readBody(request) : undefined, signal);
  } catch (error) {
    return errorAnswer(error instanceof BadRequest ? 400 : 500, error);
  }
}

function send(
  request: IncomingMessage,
  response: ServerResponse,
  { status, contentType, body }: Answer,
): void {
  response.writeHead(status, {
    'content-type': contentType,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    // What is left of a refused body must not be read as the next request.
    ...(!request.complete && { connection: 'close' }),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
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
): Promise<RunningServer> {
  const stop = new AbortController();
  const server: Server = createServer(
    { requestTimeout: 10_000, headersTimeout: 5_000 },
    (request, response) => {
      void answer(request, routes, stop.signal).then((answered) => {
        if (!response.destroyed) send(request, response, answered);
      });
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

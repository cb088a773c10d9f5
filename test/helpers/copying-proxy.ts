// An HTTP proxy in front of Azurite that carries out what Azurite does not know: Put Blob From URL and Put Block From URL, with
// which AzCopy copies between containers. The tests of such copies call it. Everything else passes.
import { once } from 'node:events';
import {
  createServer,
  get,
  request as ask,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { passOn } from './pass-on.js';

export interface CopyingProxy {
  readonly port: number;
  /** Copies that were made. */
  readonly copied: { readonly blobs: number; readonly blocks: number };
  stop(): Promise<void>;
}

/** How a header of the source's answer is called in a request that sets it. */
const PROPERTIES = {
  'content-type': 'x-ms-blob-content-type',
  'content-encoding': 'x-ms-blob-content-encoding',
  'content-language': 'x-ms-blob-content-language',
  'content-disposition': 'x-ms-blob-content-disposition',
  'cache-control': 'x-ms-blob-cache-control',
};

/** Conditions on the source, as its GET has them. */
const CONDITIONS = ['if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since'];

type Header = readonly [name: string, value: string];

function pairs(raw: readonly string[]): Header[] {
  const found: Header[] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) found.push([raw[at] ?? '', raw[at + 1] ?? '']);
  return found;
}

/** What the request asks of the source: `x-ms-source-range` and conditions become headers of a GET. */
function sourceHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const wanted: Record<string, string> = { 'x-ms-version': String(headers['x-ms-version'] ?? '') };
  const range = headers['x-ms-source-range'];
  if (typeof range === 'string') wanted['x-ms-range'] = range;
  for (const name of CONDITIONS) {
    const value = headers[`x-ms-source-${name}`];
    if (typeof value === 'string') wanted[name] = value;
  }
  return wanted;
}

/**
 * What a blob gets from its source: metadata when the request has none, and the properties that the request does not set, unless
 * it wants none (https://learn.microsoft.com/rest/api/storageservices/put-blob-from-url).
 */
function inherited(request: IncomingMessage, source: IncomingMessage): Header[] {
  const { headers } = request;
  const found: Header[] = [];
  if (!Object.keys(headers).some((name) => name.startsWith('x-ms-meta-')))
    found.push(...pairs(source.rawHeaders).filter(([name]) => /^x-ms-meta-/i.test(name)));
  if (headers['x-ms-copy-source-blob-properties'] === 'false') return found;
  for (const [from, to] of Object.entries(PROPERTIES)) {
    const value = source.headers[from];
    if (value !== undefined && headers[to] === undefined) found.push([to, String(value)]);
  }
  return found;
}

/** Headers of the request that puts the content: nothing of the source is left, which Azurite would refuse or misread. */
function putHeaders(request: IncomingMessage, source: IncomingMessage, isBlock: boolean): string[] {
  const own = pairs(request.rawHeaders).filter(
    ([name]) => !/^(?:content-length|transfer-encoding|x-ms-copy-source.*|x-ms-source-.*)$/i.test(name),
  );
  const md5 = request.headers['x-ms-source-content-md5'];
  return [
    ...own,
    ...(isBlock ? [] : inherited(request, source)),
    ...(md5 === undefined ? [] : [['Content-MD5', String(md5)] as const]),
    ['Content-Length', source.headers['content-length'] ?? '0'] as const,
  ].flat();
}

function refuse(response: ServerResponse, status: number, code: string, message: string): void {
  response.writeHead(status, { 'x-ms-error-code': code, 'content-type': 'application/xml' });
  response.end(
    `<?xml version="1.0" encoding="utf-8"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`,
  );
}

/**
 * `url` is Azurite's. Requests that copy must carry a SAS, as must the source: the put that is made of them is signed by nobody.
 */
export async function startCopyingProxy(url: string): Promise<CopyingProxy> {
  const target = new URL(url);
  const copied = { blobs: 0, blocks: 0 };

  /** Puts the source's content as it comes; the answer is the put's. */
  const put = (request: IncomingMessage, response: ServerResponse, source: IncomingMessage): void => {
    const isBlock = new URL(request.url ?? '', target).searchParams.get('comp') === 'block';
    const onward = ask({
      host: target.hostname,
      port: target.port,
      path: request.url,
      method: 'PUT',
      headers: putHeaders(request, source, isBlock),
    });
    onward.on('response', (answer) => {
      if (answer.statusCode === 201) copied[isBlock ? 'blocks' : 'blobs'] += 1;
      response.writeHead(answer.statusCode ?? 500, answer.rawHeaders);
      answer.pipe(response);
    });
    onward.on('error', () => request.socket.destroy());
    source.on('error', () => onward.destroy());
    response.on('close', () => onward.destroy());
    source.pipe(onward);
  };

  const copy = (request: IncomingMessage, response: ServerResponse, from: string): void => {
    request.resume();
    const asked = get(from, { headers: sourceHeaders(request.headers) }, (source) => {
      const status = source.statusCode ?? 500;
      if (status === 200 || status === 206) {
        put(request, response, source);
        return;
      }
      source.resume();
      refuse(response, status, 'CannotVerifyCopySource', 'The source did not answer with its content.');
    });
    asked.on('error', () => request.socket.destroy());
    response.on('close', () => asked.destroy());
  };

  const server = createServer((request, response) => {
    const from = request.headers['x-ms-copy-source'];
    if (request.method === 'PUT' && typeof from === 'string') copy(request, response, from);
    else passOn(target, request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    copied,
    stop: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

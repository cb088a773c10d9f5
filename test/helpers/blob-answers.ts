// How a blob service reads requests and words its answers: the HTTP side of faulty-blob-server.ts.
import type { IncomingMessage, ServerResponse } from 'node:http';

export type Operation =
  | 'Get Blob'
  | 'Head Blob'
  | 'Put Blob'
  | 'Put Block'
  | 'Put Block List'
  | 'Get Block List'
  | 'Set Blob Metadata'
  | 'Delete Blob';

export interface StoredBlob {
  content: Buffer;
  etag: string;
  metadata: Record<string, string>;
  /** `BlockBlob` unless a test says otherwise. */
  type: string;
  tier: string;
  /** Of a Put Blob only, as the service keeps it. */
  md5?: string | undefined;
  blocks: string[];
}

export type AnswerHeaders = Readonly<Record<string, string | undefined>>;

export function operationOf(method: string, url: URL): Operation {
  const comp = url.searchParams.get('comp');
  if (method === 'HEAD') return 'Head Blob';
  if (method === 'GET') return comp === 'blocklist' ? 'Get Block List' : 'Get Blob';
  if (method === 'DELETE') return 'Delete Blob';
  if (comp === 'block') return 'Put Block';
  if (comp === 'metadata') return 'Set Blob Metadata';
  return comp === 'blocklist' ? 'Put Block List' : 'Put Blob';
}

export async function collect(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

export function metadataOf(headers: IncomingMessage['headers']): Record<string, string> {
  const found = Object.entries(headers).filter(([key]) => key.startsWith('x-ms-meta-'));
  return Object.fromEntries(found.map(([key, value]) => [key.slice('x-ms-meta-'.length), String(value)]));
}

export function headersOf(blob: StoredBlob): AnswerHeaders {
  return {
    etag: blob.etag,
    'last-modified': 'Sun, 22 Nov 2026 09:32:49 GMT',
    'x-ms-blob-type': blob.type,
    'x-ms-access-tier': blob.tier,
    'content-md5': blob.md5,
    'content-type': 'application/octet-stream',
    ...Object.fromEntries(Object.entries(blob.metadata).map(([key, value]) => [`x-ms-meta-${key}`, value])),
  };
}

export function setHeaders(response: ServerResponse, headers: AnswerHeaders): void {
  for (const [key, value] of Object.entries(headers)) {
    if (value === undefined) response.removeHeader(key);
    else response.setHeader(key, value);
  }
}

export function fail(
  response: ServerResponse,
  status: number,
  code?: string,
  headers: AnswerHeaders = {},
  isHead = false,
): void {
  response.statusCode = status;
  const body =
    code === undefined || isHead
      ? ''
      : `<?xml version="1.0" encoding="utf-8"?><Error><Code>${code}</Code><Message>Injected.</Message></Error>`;
  setHeaders(response, {
    'content-type': 'application/xml',
    'x-ms-error-code': code,
    'content-length': String(body.length),
    ...headers,
  });
  response.end(body);
}

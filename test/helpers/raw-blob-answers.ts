// A blob service over raw-http-server.ts: the text of its answers, for scripts to send as they like, and a service that
// does everything right, for the connections behind the one that misbehaves.
import { crc64, crc64Bytes } from '../../native-bindings/crc64.js';
import type { BlobAuth, BlobLocation } from '../../daemon/blob.js';
import { startRawServer, type RawConnection, type RawRequest, type RawServer } from './raw-http-server.js';
import type { Certificate } from './self-signed.js';

export const ETAG = '"0x8D1"';

type Headers = Readonly<Record<string, string | undefined>>;

/** A head: the status line, and the headers that are not undefined. */
export function head(status: string, headers: Headers): string {
  const lines = Object.entries(headers).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key}: ${value}`],
  );
  return [`HTTP/1.1 ${status}`, ...lines, '', ''].join('\r\n');
}

/** The range that a GET asks for; the whole without one. */
export function rangeOf(request: Pick<RawRequest, 'headers'>, total: number): { start: number; end: number } {
  const match = /^bytes=(\d+)-(\d+)$/.exec(request.headers['x-ms-range'] ?? '');
  return match
    ? { start: Number(match[1]), end: Math.min(total, Number(match[2]) + 1) }
    : { start: 0, end: total };
}

/** Head and body that are right for a GET; `headers` replaces some. */
export function rangeAnswer(
  request: Pick<RawRequest, 'headers'>,
  content: Buffer,
  headers: Headers = {},
): { head: string; body: Buffer } {
  const { start, end } = rangeOf(request, content.length);
  const isRange = request.headers['x-ms-range'] !== undefined;
  return {
    head: head(isRange ? '206 Partial Content' : '200 OK', {
      'content-length': String(end - start),
      ...(isRange ? { 'content-range': `bytes ${start}-${end - 1}/${content.length}` } : {}),
      etag: ETAG,
      'x-ms-blob-type': 'BlockBlob',
      'x-ms-version': '2021-12-02',
      ...headers,
    }),
    body: content.subarray(start, end),
  };
}

/** An error as the service words it. */
export function errorAnswer(status: string, code: string, headers: Headers = {}): string {
  const body = `\ufeff<?xml version="1.0"?><Error><Code>${code}</Code><Message>m</Message></Error>`;
  const bytes = Buffer.from(body);
  return head(status, { 'content-length': String(bytes.length), ...headers }) + bytes.toString('latin1');
}

/** A body in chunks of so many bytes, the last one included. */
export function chunked(body: Buffer, chunkBytes: number): Buffer {
  const pieces: Buffer[] = [];
  for (let at = 0; at < body.length; at += chunkBytes) {
    const piece = body.subarray(at, at + chunkBytes);
    pieces.push(Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n'));
  }
  return Buffer.concat([...pieces, Buffer.from('0\r\n\r\n')]);
}

export interface RawBlobServer extends RawServer {
  /** What GETs are answered with; what uploads have made, by name. */
  content: Buffer;
  readonly blobs: Map<string, { content: Buffer; headers: RawRequest['headers'] }>;
  /** Every request that was served rightly. */
  readonly requests: RawRequest[];
  location(name: string, auth?: BlobAuth): BlobLocation;
  /** Answers requests rightly until the connection ends. */
  serve(connection: RawConnection): Promise<void>;
  /** Does and answers one request rightly. */
  answer(connection: RawConnection, request: RawRequest): Promise<void>;
  /** The same, but answers nothing: what the answer would be. */
  perform(request: RawRequest): string | Buffer;
}

const SAS: BlobAuth = { kind: 'sas', query: () => 'sv=2025-01-05&sig=c2VjcmV0' };

/** Starts a service that is right until a script says otherwise. */
export async function startRawBlobServer(certificate?: Certificate, host?: string): Promise<RawBlobServer> {
  const staged = new Map<string, Buffer>();
  const blobs: RawBlobServer['blobs'] = new Map();
  const requests: RawRequest[] = [];
  const perform = (request: RawRequest): string | Buffer => {
    const { method, path, headers, body } = request;
    const [name = '', query = ''] = path.split('?');
    const fields = new URLSearchParams(query);
    const crc = crc64Bytes(crc64(body)).toString('base64');
    if (method === 'GET' || method === 'HEAD') {
      const made = blobs.get(name);
      const content = made?.content ?? server.content;
      const metadata = Object.entries(made?.headers ?? {}).filter(([key]) => key.startsWith('x-ms-meta-'));
      const answer = rangeAnswer(request, content, Object.fromEntries(metadata));
      return method === 'HEAD'
        ? answer.head
        : Buffer.concat([Buffer.from(answer.head, 'latin1'), answer.body]);
    }
    if (fields.get('comp') === 'block') staged.set(fields.get('blockid') ?? '', body);
    else {
      const isThere = blobs.has(name);
      if (headers['if-none-match'] === '*' && isThere)
        return errorAnswer('409 Conflict', 'BlobAlreadyExists');
      const ids = [...body.toString().matchAll(/<Latest>([^<]*)<\/Latest>/g)].map((match) => match[1] ?? '');
      const blocks = ids.map((id) => staged.get(id) ?? Buffer.from('missing'));
      blobs.set(name, {
        content: fields.get('comp') === 'blocklist' ? Buffer.concat(blocks) : body,
        headers,
      });
    }
    return head('201 Created', { 'content-length': '0', etag: ETAG, 'x-ms-content-crc64': crc });
  };
  const answer: RawBlobServer['answer'] = async (connection, request) => {
    requests.push(request);
    await connection.send(perform(request));
  };
  const serve: RawBlobServer['serve'] = async (connection) => {
    for (let next = await connection.request(); next; next = await connection.request()) {
      await answer(connection, next);
    }
  };
  const raw = await startRawServer(serve, certificate, host);
  const server: RawBlobServer = {
    ...raw,
    content: Buffer.alloc(0),
    blobs,
    requests,
    location: (name, auth = SAS) => ({ url: `${raw.origin}/account/container/${name}`, auth }),
    serve,
    answer,
    perform,
  };
  return server;
}

// For the tests of the threads that get small blobs: a server that answers as each test says, a route to it, and files.
import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import type { Test } from 'tap';
import {
  getThreads,
  type GetEnd,
  type ThreadGetRequest,
  type GetRoute,
} from '../../native-bindings/get-threads.js';
import { tlsContext } from '../../native-bindings/tls-session.js';
import { scratchFolder } from '../helpers/scratch.js';
import { selfSigned } from '../helpers/self-signed.js';
import { targetIn, type Target } from './target-file.js';

export const kinds = ['plain', 'TLSv1.2', 'TLSv1.3'] as const;
export type Kind = (typeof kinds)[number];

export const folder = scratchFolder('lhsm-thread-gets-');
const certificate = selfSigned();
const trusted = tlsContext([certificate.cert]);

export function theThreads(): NonNullable<ReturnType<typeof getThreads>> {
  const threads = getThreads();
  if (!threads) throw new Error('wire.node was not built');
  return threads;
}

/** A connection of the server's, below TLS and above it. */
export interface Peer {
  readonly socket: net.Socket;
  readonly tcp: net.Socket;
  /** Which of the server's connections it is, from 0. */
  readonly index: number;
}

/** Hears of each request, of which the whole text has come. */
export type Answerer = (peer: Peer, text: string) => void;

export interface Service {
  readonly route: GetRoute;
  readonly port: number;
  /** Of connections that were accepted. */
  readonly connections: () => number;
  /** Of those that are open. */
  readonly open: () => number;
}

export async function serve(
  t: Test,
  kind: Kind,
  answer: Answerer,
  options: { readonly stallMs?: number; readonly host?: string; readonly addresses?: readonly string[] } = {},
): Promise<Service> {
  const sockets = new Set<net.Socket>();
  let accepted = 0;
  const server =
    kind === 'plain'
      ? net.createServer()
      : tls.createServer({ ...certificate, minVersion: kind, maxVersion: kind });
  let tcp: net.Socket | undefined;
  server.on('connection', (socket: net.Socket) => {
    accepted += 1;
    tcp = socket;
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('tlsClientError', () => undefined);
  server.on(kind === 'plain' ? 'connection' : 'secureConnection', (socket: net.Socket) => {
    const peer = { socket, tcp: kind === 'plain' || !tcp ? socket : tcp, index: accepted - 1 };
    let text = '';
    socket.on('error', () => undefined);
    socket.on('data', (bytes: Buffer) => {
      text += bytes.toString('latin1');
      if (!text.endsWith('\r\n\r\n')) return;
      const whole = text;
      text = '';
      answer(peer, whole);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const { host = 'localhost', stallMs = 60_000, addresses = ['127.0.0.1'] } = options;
  const route = theThreads().route({ host, port, tls: kind === 'plain' ? undefined : trusted, stallMs });
  route.setAddresses(addresses);
  t.teardown(async () => {
    route.close();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return { route, port, connections: () => accepted, open: () => sockets.size };
}

/** A new file of so many bytes, all 0xff. */
export function target(t: Test, bytes = 0): Target {
  return targetIn(folder, t, bytes);
}

/** An end whose answer is a copy. */
export interface Got {
  readonly id: number;
  readonly ended: Promise<GetEnd>;
}

/** Of the whole of a blob of so many bytes, unless it says otherwise. */
export function start(
  route: GetRoute,
  {
    bytes,
    ...wanted
  }: Pick<ThreadGetRequest, 'file'> & Partial<ThreadGetRequest> & { readonly bytes: number },
): Got {
  let id = -1;
  const ended = new Promise<GetEnd>((resolve) => {
    const whole = { start: 0, end: bytes, fileBytes: bytes, etag: undefined };
    const request = { text: 'GET /a HTTP/1.1\r\n\r\n', ...whole, ...wanted };
    id = theThreads().start(route, request, (end) => {
      resolve({ ...end, answer: Buffer.from(end.answer) });
    });
  });
  return { id, ended };
}

/** A blob's answer, as usual. */
export function usual(content: Buffer, more = ''): Buffer {
  const range =
    content.length === 0 ? '' : `Content-Range: bytes 0-${content.length - 1}/${content.length}\r\n`;
  const head =
    `HTTP/1.1 ${content.length === 0 ? '200 OK' : '206 Partial Content'}\r\nContent-Length: ${content.length}\r\n` +
    `${range}ETag: "0x1"\r\n${more}\r\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), content]);
}

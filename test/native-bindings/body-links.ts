// For the tests of the threads that take bodies: connections over loopback whose client's end is read by nobody yet, plain and with
// a TLS session, files, and a request with what most of them have.
import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import type { Test } from 'tap';
import { bodyThreads, type BodyRequest, type RunningBody } from '../../native-bindings/body-threads.js';
import { TlsSession, tlsContext, type TlsContext } from '../../native-bindings/tls-session.js';
import { scratchFolder } from '../helpers/scratch.js';
import { selfSigned } from '../helpers/self-signed.js';
import { targetIn, type Target } from './target-file.js';

export interface Link {
  /** The client's descriptor. */
  readonly fd: number;
  readonly session: TlsSession | undefined;
  readonly client: net.Socket;
  /** The other end: what is written there is encrypted, if at all. */
  readonly peer: net.Socket;
  /** The other end, below TLS. */
  readonly tcp: net.Socket;
}

export const kinds = ['plain', 'TLSv1.2', 'TLSv1.3'] as const;

const certificate = selfSigned();
let context: TlsContext | undefined;

export function descriptorOf(socket: net.Socket): number {
  return (socket as unknown as { readonly _handle: { readonly fd: number } })._handle.fd;
}

/** A client's end, and the server's socket of it. */
export async function openLink(t: Test, kind: (typeof kinds)[number]): Promise<Link> {
  const isPlain = kind === 'plain';
  const server = isPlain
    ? net.createServer()
    : tls.createServer({ ...certificate, minVersion: kind, maxVersion: kind });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const accepted = once(server, 'connection') as Promise<[net.Socket]>;
  const secured = isPlain ? accepted : (once(server, 'secureConnection') as Promise<[net.Socket]>);
  const { client, session, ready } = isPlain ? connectPlain(port) : connectTls(port);
  const [[tcp], [peer]] = await Promise.all([accepted, secured, ready]);
  t.teardown(async () => {
    client.destroy();
    tcp.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  for (const socket of [client, tcp, peer]) socket.on('error', () => undefined);
  tcp.setNoDelay(true);
  peer.resume();
  return { fd: descriptorOf(client), session, client, peer, tcp };
}

interface Client {
  readonly client: net.Socket;
  readonly session: TlsSession | undefined;
  readonly ready: Promise<unknown>;
}

function connectPlain(port: number): Client {
  const client = new net.Socket();
  client.pause();
  client.connect(port, '127.0.0.1');
  return { client, session: undefined, ready: once(client, 'connect') };
}

/** Reads until the handshake is over, and no further. */
function connectTls(port: number): Client {
  context ??= tlsContext([certificate.cert]);
  if (!context) throw new Error('wire.node was not built');
  const session = new TlsSession(context, 'localhost');
  const buffer = Buffer.alloc(64 * 1024);
  const into = Buffer.alloc(1024);
  let established = (): void => undefined;
  const ready = new Promise<void>((resolve) => {
    established = resolve;
  });
  const read = (bytes: number): boolean => {
    session.read(buffer, 0, bytes, into);
    if (session.consumed < bytes) session.keep(buffer, session.consumed, bytes);
    const answer = session.drain();
    if (answer) client.write(answer);
    if (session.established) established();
    return !session.established;
  };
  const client = net.connect({ port, host: '127.0.0.1', onread: { buffer, callback: read } });
  client.on('connect', () => {
    read(0);
  });
  return { client, session, ready };
}

export const folder = scratchFolder('lhsm-bodies-');

/** A new file of so many bytes, all 0xff. */
export function target(t: Test, bytes = 0): Target {
  return targetIn(folder, t, bytes);
}

/** Has a thread take a body off a link. */
export function take(
  { fd, session }: Pick<Link, 'fd' | 'session'>,
  wanted: Pick<BodyRequest, 'file' | 'end'> & Partial<BodyRequest>,
): RunningBody {
  const threads = bodyThreads();
  if (!threads) throw new Error('wire.node was not built');
  const contentBytes = wanted.contentBytes ?? 64 * 1024;
  return threads.take({
    socket: fd,
    session: session?.handle,
    at: 0,
    fileBytes: wanted.end,
    stallMs: 60_000,
    buffer: wanted.buffer ?? Buffer.alloc(contentBytes + 64 * 1024),
    contentBytes,
    filled: 0,
    progress: new Float64Array(1),
    slot: 0,
    keepHoles: false,
    crc: true,
    ...wanted,
  });
}

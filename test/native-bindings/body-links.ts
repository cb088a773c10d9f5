// Connections over loopback whose client's end is read by nobody yet, plain and with a TLS session, for the tests of the threads
// that take bodies.
import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import type { Test } from 'tap';
import { TlsSession, tlsContext, type TlsContext } from '../../native-bindings/tls-session.js';
import { selfSigned } from '../helpers/self-signed.js';

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

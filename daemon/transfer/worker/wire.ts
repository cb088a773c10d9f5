// What a connection reads and writes: a socket, and TLS over it. connection.ts opens one each.
import net from 'node:net';
import tls from 'node:tls';
import type { TlsContext, TlsSession } from '../../../native-bindings/tls-session.js';
import { TlsWire } from './tls-wire.js';

/** What a wire tells, and asks for. */
export interface WireEvents {
  /** Where the next bytes go: never empty. */
  target(): Buffer;
  /** So many bytes lie at the beginning of `into`. False stops the reading until `resume`. */
  received(into: Buffer, bytes: number): boolean;
  /** Ciphertext has come: `received` tells of what is content in it, which may be nothing yet. */
  stirred(): void;
  error(error: NodeJS.ErrnoException): void;
  /** No buffer of anybody's is in use any more. Once, behind everything else. */
  closed(): void;
}

/** What a thread reads a wire by. */
export interface WireSource {
  /** As it is now: -1 once the socket is closed, when the number may be another's. */
  readonly descriptor: number;
  /** Undefined without TLS. */
  readonly session: TlsSession | undefined;
}

export interface Wire {
  /** Whether it is open, and may be written to. */
  readonly writable: boolean;
  readonly destroyed: boolean;
  /** Text is Latin-1. `sent` is called when all is with the kernel, or never will be. */
  write(bytes: Buffer | string, sent?: () => void): void;
  resume(): void;
  destroy(): void;
  /** Whether the reading can be given to somebody else. */
  readonly lendable: boolean;
  /** Gives it, from within `received`, which then answers false, until `takeBack`. Throws where it cannot be given. */
  lend(): WireSource;
  takeBack(): void;
}

/** How TLS is spoken: by sessions of ours, or by node:tls where those cannot be had. */
export type TlsMeans =
  | { readonly kind: 'sessions'; readonly context: TlsContext }
  | { readonly kind: 'node'; readonly context: tls.SecureContext };

export interface WireOptions {
  readonly host: string;
  readonly port: number;
  /** Undefined for plain HTTP. */
  readonly tls: TlsMeans | undefined;
  /** Of an earlier connection to the same host. */
  readonly ticket: Buffer | undefined;
  readonly onTicket: (ticket: Buffer) => void;
}

/** Where an origin's connections end: an IPv6 address is without its brackets. */
export function endOf({ protocol, hostname, port }: URL): {
  readonly host: string;
  readonly port: number;
  readonly isTls: boolean;
} {
  const isTls = protocol === 'https:';
  return {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? (isTls ? 443 : 80) : Number(port),
    isTls,
  };
}

/** Begins to connect. */
export function openWire(options: WireOptions, events: WireEvents): Wire {
  if (options.tls?.kind === 'sessions') return new TlsWire(options, options.tls.context, events);
  const socket = options.tls ? openNodeTls(options, options.tls.context, events) : openPlain(options, events);
  socket.setNoDelay(true);
  socket.on('error', (error) => {
    events.error(error);
  });
  socket.on('close', () => {
    events.closed();
  });
  return {
    get writable() {
      return socket.writable;
    },
    get destroyed() {
      return socket.destroyed;
    },
    write(bytes, sent) {
      if (typeof bytes === 'string') socket.write(bytes, 'latin1', sent);
      else socket.write(bytes, sent);
    },
    resume() {
      socket.resume();
    },
    destroy() {
      socket.destroy();
    },
    get lendable() {
      return options.tls === undefined && descriptorOf(socket) !== undefined;
    },
    lend() {
      return sourceOf(socket, undefined);
    },
    takeBack() {
      // The socket is read again when it is resumed.
    },
  };
}

function onreadOf(events: WireEvents): net.OnReadOpts {
  return {
    buffer: () => events.target(),
    // The buffer is told because it may be older than the target: it is chosen when a read begins to be waited for.
    callback: (bytes, into) => events.received(into as Buffer, bytes),
  };
}

function openPlain({ host, port }: WireOptions, events: WireEvents): net.Socket {
  return net.connect({ host, port, onread: onreadOf(events) });
}

function openNodeTls(options: WireOptions, context: tls.SecureContext, events: WireEvents): net.Socket {
  const { host, port, ticket, onTicket } = options;
  const socket = tls.connect({
    host,
    port,
    onread: onreadOf(events),
    rejectUnauthorized: true,
    ...(net.isIP(host) === 0 ? { servername: host } : {}),
    secureContext: context,
    ...(ticket ? { session: ticket } : {}),
  } as tls.ConnectionOptions);
  socket.on('session', onTicket);
  return socket;
}

/** A socket's descriptor, which Node keeps where its types do not say. */
export function descriptorOf(socket: net.Socket): number | undefined {
  const { _handle: handle } = socket as { _handle?: { readonly fd?: number } | null };
  const fd = handle?.fd;
  return fd !== undefined && fd >= 0 ? fd : undefined;
}

export function sourceOf(socket: net.Socket, session: TlsSession | undefined): WireSource {
  return {
    get descriptor() {
      return descriptorOf(socket) ?? -1;
    },
    session,
  };
}

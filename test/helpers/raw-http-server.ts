// A TCP or TLS server that speaks HTTP as badly as a test wants it: each connection follows a script that sends bytes
// when it pleases, and may pause, end or reset. raw-blob-answers.ts has the words of a blob service.
import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import type { Certificate } from './self-signed.js';

export interface RawRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  /** By lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** What a script has of its connection. */
export class RawConnection {
  /** From 0, in the order of arrival. */
  readonly number: number;
  /** TLS: the client has come with a session of an earlier connection. */
  readonly sessionReused: boolean;
  readonly #socket: net.Socket;
  /** What the socket is beneath TLS. */
  readonly #tcp: net.Socket;
  /** What arrived and no request has taken. */
  #chunks: Buffer[] = [];
  #bytes = 0;
  #over = false;
  #waiting: (() => void)[] = [];

  constructor(number: number, socket: net.Socket, tcp: net.Socket) {
    this.number = number;
    this.#socket = socket;
    this.#tcp = tcp;
    this.sessionReused = socket instanceof tls.TLSSocket && socket.isSessionReused();
    socket.on('data', (bytes: Buffer) => {
      this.#chunks.push(bytes);
      this.#bytes += bytes.length;
      this.#tell();
    });
    for (const event of ['end', 'close']) {
      socket.on(event, () => {
        this.#over = true;
        this.#tell();
      });
    }
    socket.on('error', () => undefined);
  }

  /** Whether the peer has closed, in whichever way. */
  get isOver(): boolean {
    return this.#over;
  }

  /** All bytes that arrived and no request has taken. */
  get unread(): Buffer {
    const all = this.#chunks.length === 1 ? this.#chunks[0] : undefined;
    this.#chunks = [all ?? Buffer.concat(this.#chunks)];
    return this.#chunks[0] ?? Buffer.alloc(0);
  }

  /** Resolves when at least so many bytes are unread; answers false when the peer has gone before. */
  async arrived(bytes: number): Promise<boolean> {
    while (this.#bytes < bytes && !this.#over) await this.#news();
    return this.#bytes >= bytes;
  }

  /** The head of the next request; undefined when the peer has gone. Its body stays unread. */
  async head(): Promise<Omit<RawRequest, 'body'> | undefined> {
    let end = -1;
    for (let wanted = 1; end < 0; wanted = this.#bytes + 1) {
      if (!(await this.arrived(wanted))) return undefined;
      end = this.unread.indexOf('\r\n\r\n');
    }
    const [line = '', ...lines] = this.unread.toString('latin1', 0, end).split('\r\n');
    this.#take(end + 4);
    const [method = '', path = ''] = line.split(' ');
    const fields = lines.map((each): [string, string] => {
      const colon = each.indexOf(':');
      return [each.slice(0, colon).toLowerCase(), each.slice(colon + 1).trim()];
    });
    return { method, path, headers: Object.fromEntries(fields) };
  }

  /** The next request, whole; undefined when the peer has gone. */
  async request(): Promise<RawRequest | undefined> {
    const head = await this.head();
    const length = Number(head?.headers['content-length'] ?? 0);
    if (!head || !(await this.arrived(length))) return undefined;
    return { ...head, body: this.#take(length) };
  }

  /** Resolves when the kernel has the bytes, or the peer is gone. */
  send(bytes: Buffer | string): Promise<void> {
    if (this.#over || this.#socket.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      this.#socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes, () => {
        resolve();
      });
    });
  }

  /** Beneath TLS, as they are: no record of it. */
  sendBare(bytes: Buffer): void {
    this.#tcp.write(bytes);
  }

  /** As `send`, each byte in a packet of its own, or so many at a time. */
  async trickle(bytes: Buffer | string, atOnce = 1): Promise<void> {
    const all = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes;
    for (let at = 0; at < all.length; at += atOnce) {
      await this.send(all.subarray(at, at + atOnce));
      // The next one only when this one has been on its way: another turn of both ends.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Takes in nothing more, as a server does that has seen enough of a body. */
  stopReading(): void {
    this.#socket.pause();
  }

  /** Closes properly: FIN, over TLS with its farewell. */
  end(): void {
    this.#socket.end();
  }

  /** Closes with RST. */
  reset(): void {
    // Not within a callback of the TLS layer above: Node would crash.
    setImmediate(() => {
      this.#tcp.resetAndDestroy();
      this.#socket.destroy();
    });
  }

  /** Resolves when the peer has closed, in whichever way. */
  async closed(): Promise<void> {
    while (!this.#over) await this.#news();
  }

  #take(bytes: number): Buffer {
    const all = this.unread;
    this.#chunks = [all.subarray(bytes)];
    this.#bytes -= bytes;
    return all.subarray(0, bytes);
  }

  #news(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  #tell(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const each of waiting) each();
  }
}

export type Script = (connection: RawConnection) => Promise<void>;

export interface RawServer {
  /** `http:` or `https:`, address and port. */
  readonly origin: string;
  readonly port: number;
  /** Every connection so far. */
  readonly connections: readonly RawConnection[];
  /** Connections to come follow these, one each; those after them what the server was started with. */
  follow(...scripts: readonly Script[]): void;
  /** Resolves when there are so many connections. */
  connected(count: number): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a server on loopback. A script that throws resets its connection. */
export async function startRawServer(
  usual: Script,
  certificate?: Certificate,
  host = '127.0.0.1',
): Promise<RawServer> {
  const scripts: Script[] = [];
  const connections: RawConnection[] = [];
  const sockets = new Set<net.Socket>();
  const byPort = new Map<number | undefined, net.Socket>();
  let tell: () => void = () => undefined;
  const serve = (socket: net.Socket): void => {
    const tcp = byPort.get(socket.remotePort) ?? socket;
    socket.setNoDelay(true);
    const connection = new RawConnection(connections.length, socket, tcp);
    connections.push(connection);
    tell();
    (scripts.shift() ?? usual)(connection).catch(() => {
      connection.reset();
    });
  };
  const server = certificate ? tls.createServer(certificate) : net.createServer();
  server.on('connection', (tcp: net.Socket) => {
    sockets.add(tcp);
    byPort.set(tcp.remotePort, tcp);
    tcp.on('close', () => {
      sockets.delete(tcp);
    });
    tcp.on('error', () => undefined);
  });
  server.on(certificate ? 'secureConnection' : 'connection', serve);
  server.on('tlsClientError', () => undefined);
  server.listen(0, host);
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  return {
    origin: `${certificate ? 'https' : 'http'}://${host}:${port}`,
    port,
    connections,
    follow: (...more) => {
      scripts.push(...more);
    },
    async connected(count) {
      while (connections.length < count) {
        await new Promise<void>((resolve) => {
          tell = resolve;
        });
      }
    },
    async stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

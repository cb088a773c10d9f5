// The keep-alive connections of one worker: lent for one request each, closed when idle for long, given up when stalled.
import { createSecureContext } from 'node:tls';
import { tlsContext, type TlsContext } from '../../../native-bindings/tls-session.js';
import { Connection } from './connection.js';
import { WireError } from './wire-error.js';
import type { TlsMeans } from './wire.js';

/**
 * An unused connection is closed after that long: longer ones may have been dropped on the way by a firewall, which
 * shows only when a request on them gets no answer.
 */
export const IDLE_MS = 30_000;

export interface ConnectionsOptions {
  readonly stallTimeoutMs: number;
  readonly ca: readonly string[] | undefined;
}

export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #all = new Set<Connection>();
  /** By origin, the one used last at the end. */
  readonly #idle = new Map<string, Connection[]>();
  readonly #tickets = new Map<string, Buffer>();
  #tls: TlsMeans | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  /** A connection for one request; `fresh`: not one that may have been closed meanwhile. */
  take(origin: string, fresh = false): Connection {
    const idle = this.#idle.get(origin);
    while (!fresh && idle !== undefined) {
      const last = idle.pop();
      if (!last) break;
      if (last.reusable) return last;
      // Closed by the peer meanwhile: out of the list, nobody else would forget it.
      void this.#destroy(last);
    }
    return this.#open(origin);
  }

  /** Gives it back. One that cannot be used again is closed: resolves when no buffer of the caller's is in use. */
  async release(origin: string, connection: Connection): Promise<void> {
    if (!connection.reusable) {
      await this.#destroy(connection);
      return;
    }
    const idle = this.#idle.get(origin);
    if (idle) idle.push(connection);
    else this.#idle.set(origin, [connection]);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#idle.clear();
    await Promise.all([...this.#all].map((connection) => this.#destroy(connection)));
  }

  #open(origin: string): Connection {
    const url = new URL(origin);
    const connection = new Connection({
      origin: url,
      tls: url.protocol === 'https:' ? this.#tlsMeans() : undefined,
      ticket: this.#tickets.get(origin),
      onTicket: (ticket) => {
        this.#tickets.set(origin, ticket);
      },
    });
    this.#all.add(connection);
    const everyMs = Math.max(10, Math.min(1000, this.#options.stallTimeoutMs / 4));
    this.#timer ??= setInterval(() => {
      this.#sweep();
    }, everyMs);
    return connection;
  }

  /** One for all: reading a hundred and fifty certificates takes longer than a handshake. */
  #tlsMeans(): TlsMeans {
    if (this.#tls) return this.#tls;
    const { ca } = this.#options;
    const context = contextOf(ca);
    this.#tls = context
      ? { kind: 'sessions', context }
      : { kind: 'node', context: createSecureContext(ca === undefined ? {} : { ca: [...ca] }) };
    return this.#tls;
  }

  async #destroy(connection: Connection): Promise<void> {
    await connection.destroy();
    this.#all.delete(connection);
    if (this.#all.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #sweep(): void {
    const now = performance.now();
    for (const [origin, idle] of this.#idle) {
      const stale = idle.filter((each) => !each.reusable || now - each.idleSinceMs > IDLE_MS);
      if (stale.length === 0) continue;
      this.#idle.set(
        origin,
        idle.filter((each) => !stale.includes(each)),
      );
      for (const each of stale) void this.#destroy(each);
    }
    for (const connection of this.#all) {
      if (this.#isStalled(connection, now)) this.#suspect(connection);
    }
  }

  #isStalled(connection: Connection, now: number): boolean {
    return connection.waitsForPeer && now - connection.lastMoveMs > this.#options.stallTimeoutMs;
  }

  /** After a busy turn of the event loop, timers come before the bytes that have long been there. */
  #suspect(connection: Connection): void {
    setImmediate(() => {
      if (this.#isStalled(connection, performance.now())) connection.fail(new WireError({ kind: 'stall' }));
    });
  }
}

function contextOf(ca: readonly string[] | undefined): TlsContext | undefined {
  try {
    return tlsContext(ca);
  } catch (error) {
    const { code = 'UNKNOWN', message } = error as NodeJS.ErrnoException;
    throw new WireError({ kind: 'network', code, message: `TLS cannot be set up: ${message}` });
  }
}

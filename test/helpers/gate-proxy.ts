// A TCP proxy in front of a server that can be closed and opened like a gate: what is under way stands still until it
// is opened again. Tests and the demo hold transfers in flight with it, with no timing involved.
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface GateProxy {
  readonly port: number;
  /** From now on no byte comes back from the server. */
  hold(): void;
  open(): void;
  /**
   * Resolves when at least this many connections wait for an answer that is held; with `about`, for that of a request whose
   * first line has that: others may be probes.
   */
  held(connections: number, about?: string): Promise<void>;
  stop(): Promise<void>;
}

export async function startGateProxy(targetPort: number): Promise<GateProxy> {
  const sockets = new Set<Socket>();
  const upstreams = new Set<Socket>();
  /** What each has sent first while it was held. */
  const waiting = new Map<Socket, string>();
  let watchers: (() => void)[] = [];
  let holding = false;

  const server = createServer((client) => {
    const upstream = connect(targetPort, '127.0.0.1');
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => socket.destroy());
    }
    upstreams.add(upstream);
    if (holding) upstream.pause();
    client.on('data', (chunk) => {
      upstream.write(chunk);
      if (holding) {
        if (!waiting.has(upstream)) waiting.set(upstream, chunk.toString('latin1', 0, 512));
        const tell = watchers;
        watchers = [];
        for (const each of tell) each();
      }
    });
    upstream.on('data', (chunk) => {
      // A client that does not read must not make the proxy keep everything in memory.
      if (!client.write(chunk) && !holding) upstream.pause();
    });
    client.on('drain', () => {
      if (!holding) upstream.resume();
    });
    client.on('close', () => {
      sockets.delete(client);
      upstream.destroy();
    });
    upstream.on('close', () => {
      sockets.delete(upstream);
      upstreams.delete(upstream);
      waiting.delete(upstream);
      client.destroy();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    port: (server.address() as AddressInfo).port,
    hold: () => {
      holding = true;
      for (const upstream of upstreams) upstream.pause();
    },
    open: () => {
      holding = false;
      waiting.clear();
      for (const upstream of upstreams) upstream.resume();
    },
    held: async (connections, about = '') => {
      const count = (): number =>
        [...waiting.values()].filter((text) => text.split('\r\n')[0]?.includes(about)).length;
      while (count() < connections) await new Promise<void>((resolve) => watchers.push(resolve));
    },
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

// TLS over a socket by sessions of ours: what is written early or at length arrives, a stopped reading loses nothing, and a session
// is given back before it goes.
import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import t, { type Test } from 'tap';
import { tlsContext } from '../../../../native-bindings/tls-session.js';
import { openWire, type Wire } from '../../../../daemon/transfer/worker/wire.js';
import { selfSigned } from '../../../helpers/self-signed.js';
import { RecordPeer } from '../../../native-bindings/tls-records.js';

const certificate = selfSigned();

class Bench {
  received = Buffer.alloc(0);
  readonly tickets: Buffer[] = [];
  readonly errors: string[] = [];
  closed = 0;
  stirred = 0;
  /** What `received` answers. */
  goOn = true;
  /** Called in each `received`. */
  onReceived: () => void = () => undefined;
  readonly #changed: (() => void)[] = [];

  open(port: number, ca: string): Wire {
    const context = tlsContext([ca]);
    if (!context) throw new Error('wire.node was not built');
    const memory = Buffer.alloc(64 * 1024);
    const onTicket = (ticket: Buffer): void => {
      this.tickets.push(ticket);
      this.#tell();
    };
    const means = { kind: 'sessions', context } as const;
    return openWire(
      { host: '127.0.0.1', port, tls: means, ticket: undefined, onTicket },
      {
        target: () => memory,
        received: (into, bytes) => {
          this.received = Buffer.concat([this.received, into.subarray(0, bytes)]);
          this.onReceived();
          this.#tell();
          return this.goOn;
        },
        stirred: () => {
          this.stirred += 1;
          this.#tell();
        },
        error: ({ code }) => {
          this.errors.push(code ?? '');
        },
        closed: () => {
          this.closed += 1;
          this.#tell();
        },
      },
    );
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      await new Promise<void>((resolve) => {
        this.#changed.push(resolve);
      });
    }
  }

  #tell(): void {
    for (const each of this.#changed.splice(0)) each();
  }
}

async function serve(t: Test): Promise<{ port: number; peer: Promise<tls.TLSSocket> }> {
  const server = tls.createServer(certificate);
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sockets: net.Socket[] = [];
  server.on('connection', (socket: net.Socket) => sockets.push(socket));
  const peer = (once(server, 'secureConnection') as Promise<[tls.TLSSocket]>).then(([socket]) => {
    socket.on('error', () => undefined);
    return socket;
  });
  peer.catch(() => undefined);
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return { port: (server.address() as net.AddressInfo).port, peer };
}

t.test('what is written before the handshake, and at length, arrives in its order', async (t) => {
  const { port, peer } = await serve(t);
  const at = new Bench();
  const wire = at.open(port, certificate.cert);
  const large = Buffer.alloc(3_000_001, 'large ');
  const sent: number[] = [];
  wire.write('early ', () => sent.push(1));
  wire.write(large, () => sent.push(2));
  const socket = await peer;
  wire.write('late', () => sent.push(3));
  const should = Buffer.concat([Buffer.from('early '), large, Buffer.from('late')]);
  const came: Buffer[] = [];
  for (let bytes = 0; bytes < should.length;) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    came.push(chunk);
    bytes += chunk.length;
  }
  t.ok(Buffer.concat(came).equals(should));
  t.same(sent, [1, 2, 3]);
  socket.write('answer');
  await at.until(() => at.received.length > 0);
  t.equal(at.received.toString(), 'answer');
  t.ok(at.tickets.length > 0);
  wire.destroy();
  await at.until(() => at.closed > 0);
  t.same(at.errors, []);
});

t.test('a reading that was stopped goes on where it stopped, even when the peer has gone', async (t) => {
  const { port, peer } = await serve(t);
  const at = new Bench();
  const wire = at.open(port, certificate.cert);
  const socket = await peer;
  at.goOn = false;
  const content = Buffer.alloc(200_000, 'content ');
  socket.end(content);
  while (at.received.length < content.length) {
    const before = at.received.length;
    await at.until(() => at.received.length > before);
    if (at.closed > 0) throw new Error('closed before all was told');
    // Not from within: the reading is stopped now.
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(at.closed, 0);
    wire.resume();
  }
  t.ok(at.received.equals(content));
  wire.resume();
  await at.until(() => at.closed > 0);
  t.equal(at.closed, 1);
});

t.test('a session that is lent is not closed before it is given back', async (t) => {
  const { port, peer } = await serve(t);
  const at = new Bench();
  const wire = at.open(port, certificate.cert);
  const socket = await peer;
  at.goOn = false;
  const lent: ReturnType<Wire['lend']>[] = [];
  at.onReceived = () => lent.push(wire.lend());
  socket.write('head');
  await at.until(() => lent.length > 0);
  const source = lent[0];
  t.ok(wire.lendable);
  t.ok((source?.descriptor ?? -1) >= 0);
  t.ok(source?.session);
  wire.destroy();
  t.equal(source?.descriptor, -1, 'the number may be another socket soon');
  t.ok(wire.destroyed);
  await once(socket, 'close');
  for (let turns = 0; turns < 5; turns += 1) await new Promise((resolve) => setImmediate(resolve));
  t.equal(at.closed, 0);
  wire.takeBack();
  await at.until(() => at.closed > 0);
  t.equal(at.closed, 1);
  t.throws(() => source?.session?.keep(Buffer.alloc(1), 0, 1), TypeError, 'freed');
});

t.test(
  'what is written within a message of the handshake that comes in pieces waits for its end',
  async (t) => {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const at = new Bench();
    const connecting = once(server, 'connection') as Promise<[net.Socket]>;
    const wire = at.open((server.address() as net.AddressInfo).port, certificate.cert);
    const [tcp] = await connecting;
    t.teardown(async () => {
      tcp.destroy();
      await new Promise((resolve) => server.close(resolve));
    });
    const sealing = await RecordPeer.accept(tcp, certificate);
    const { peer } = sealing;
    // Those of the handshake, in one piece.
    await at.until(() => at.tickets.length > 0);
    for (let round = 1; round <= 2; round += 1) {
      const tickets = at.tickets.length;
      const before = at.stirred;
      const pieces = Buffer.concat(sealing.ticket(500, 60));
      tcp.write(pieces.subarray(0, 100));
      await at.until(() => at.stirred > before);
      const sent: number[] = [];
      wire.write(`held ${round}`, () => sent.push(round));
      wire.write(', too. ', () => sent.push(round + 1));
      const toldAt = at.stirred;
      tcp.write(pieces.subarray(100, -1));
      await at.until(() => at.stirred > toldAt);
      t.same(sent, []);
      tcp.write(pieces.subarray(-1));
      while (peer.received.length < 13 * round) await new Promise((resolve) => setImmediate(resolve));
      t.same(sent, [round, round + 1]);
      t.equal(at.tickets.length, tickets + 1);
    }
    t.equal(peer.received.toString(), 'held 1, too. held 2, too. ');
    t.same(at.errors, []);
    wire.destroy();
    await at.until(() => at.closed > 0);
  },
);

t.test('who is not trusted is an error, and then closed; what was to be sent is let go', async (t) => {
  const { port } = await serve(t);
  const at = new Bench();
  const wire = at.open(port, selfSigned().cert);
  let sent = 0;
  wire.write('secret', () => (sent += 1));
  await at.until(() => at.closed > 0);
  t.same(at.errors, ['DEPTH_ZERO_SELF_SIGNED_CERT']);
  t.equal(at.closed, 1);
  t.equal(sent, 1);
});

t.test('nobody there', async (t) => {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  const at = new Bench();
  at.open(port, certificate.cert);
  await at.until(() => at.closed > 0);
  t.same(at.errors, ['ECONNREFUSED']);
});

// Slow is not stalled: a byte that comes is life, content or half a record of TLS's; nothing for as long as the timeout is not, and
// the rest is asked for again.
import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { rangeAnswer, rangeOf } from '../../helpers/raw-blob-answers.js';
import { RecordPeer } from '../../native-bindings/tls-records.js';
import { KIB, openBenchAt, pattern, type Bench, type Service } from './bench.js';
import { caFile, certificate, ONE_RANGE } from './raw-bench.js';

t.jobs = 4;
const stallTimeoutMs = 1000;
/** Together longer than the timeout; each pause is so much shorter that a busy machine does not make it as long. */
const paces = { bytes: 25, everyMs: 50 };
const RECORD_BYTES = 16 * KIB;

interface Paced extends Service {
  /** Where the ranges began that were asked for. */
  readonly starts: number[];
}

/** Sends answers: `slowly` says which bytes of the first one, as they go over the wire, come one by one. */
async function serve(
  t: Test,
  isTls: boolean,
  content: Buffer,
  slowly: (all: number) => { readonly from: number; readonly stops: boolean },
): Promise<Bench<Paced>> {
  const starts: number[] = [];
  const answer = async (tcp: net.Socket): Promise<void> => {
    const peer = isTls ? await RecordPeer.accept(tcp, certificate) : undefined;
    let asked = '';
    while (!asked.includes('\r\n\r\n')) {
      if (peer) await new Promise((resolve) => setImmediate(resolve));
      else asked += String((await once(tcp, 'data'))[0]);
      if (peer) asked = peer.peer.received.toString();
    }
    const range = /x-ms-range: (.*)\r/.exec(asked)?.[1] ?? '';
    const request = { headers: { 'x-ms-range': range } };
    const { head, body } = rangeAnswer(request, content);
    const isFirst = starts.push(rangeOf(request, content.length).start) === 1;
    const pieces = [Buffer.from(head), body];
    const sent = Buffer.concat(peer ? pieces.map((piece) => peer.content(piece, RECORD_BYTES)) : pieces);
    if (!isFirst) {
      tcp.write(sent);
      return;
    }
    const { from, stops } = slowly(sent.length);
    tcp.write(sent.subarray(0, from));
    for (let at = from; at < from + paces.bytes; at += 1) {
      await pause(paces.everyMs);
      tcp.write(sent.subarray(at, at + 1));
    }
    if (!stops) tcp.write(sent.subarray(from + paces.bytes));
  };
  const sockets: net.Socket[] = [];
  const server = net.createServer((tcp) => {
    sockets.push(tcp);
    tcp.setNoDelay(true);
    tcp.on('error', () => undefined);
    answer(tcp).catch(() => tcp.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const service: Paced = {
    starts,
    location: (name) => ({
      url: `${isTls ? 'https' : 'http'}://127.0.0.1:${port}/account/container/${name}`,
      auth: { kind: 'sas', query: () => 'sv=2025-01-05&sig=c2VjcmV0' },
    }),
    async stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
  return openBenchAt(t, service, { ...ONE_RANGE, stallTimeoutMs, caFile: isTls ? caFile : undefined });
}

const large = pattern(200 * KIB);
const small = pattern(5000);

for (const isTls of [false, true]) {
  const over = isTls ? 'TLS' : 'HTTP';
  for (const content of [large, small]) {
    for (const [what, from] of [
      ['a head', () => 20],
      ['the end of a body', (all: number) => all - 100],
    ] as const) {
      const name = `${what} that comes byte by byte, ${content.length} bytes, over ${over}`;
      t.test(name, { buffered: true }, async (t) => {
        const at = await serve(t, isTls, content, (all) => ({ from: from(all), stops: false }));
        await at.download({ sizeBytes: content.length });
        t.ok(at.target().equals(content));
        t.match(at.counters, { retries: 0, bytes: content.length });
      });
    }
  }

  t.test(`a peer that stops where a byte more would go on, over ${over}`, { buffered: true }, async (t) => {
    const at = await serve(t, isTls, large, (all) => ({ from: all - 100, stops: true }));
    await at.download({ sizeBytes: large.length });
    t.ok(at.target().equals(large));
    t.match(at.counters, { retries: 1, bytes: large.length });
    const last = large.length - (large.length % RECORD_BYTES || RECORD_BYTES);
    t.same(at.server.starts, [0, isTls ? last : large.length - 100 + paces.bytes], 'only what is missing');
  });
}

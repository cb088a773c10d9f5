// What a peer may send beside content, behind the handshake, in memory and to the threads that take bodies: content stays whole,
// what is to be answered is, and nobody is kept busy for ever or loses all memory.
import t, { type Test } from 'tap';
import { crc64 } from '../../native-bindings/crc64.js';
import { TlsSession, tlsContext, type TlsContext } from '../../native-bindings/tls-session.js';
import { selfSigned } from '../helpers/self-signed.js';
import { openLink, take, target, type Link } from './body-links.js';
import { decrypt, encrypt } from './tls-peer.js';
import { CONTENT, RecordPeer } from './tls-records.js';

const certificate = selfSigned();
const trusting = contextOf(certificate.cert);
const none = Buffer.alloc(1);

function contextOf(ca: string): TlsContext {
  const context = tlsContext([ca]);
  if (!context) throw new Error('wire.node was not built');
  return context;
}

interface Met {
  readonly session: TlsSession;
  readonly peer: RecordPeer;
}

async function meet(t: Test): Promise<Met> {
  const session = new TlsSession(trusting, 'localhost');
  const peer = await RecordPeer.meet(session, certificate);
  t.teardown(() => {
    peer.peer.destroy();
  });
  return { session, peer };
}

/** The same, and a connection that what is sealed can be sent over. */
async function link(t: Test): Promise<Met & Pick<Link, 'fd' | 'tcp'>> {
  const met = await meet(t);
  const { fd, tcp } = await openLink(t, 'plain');
  return { ...met, fd, tcp };
}

/** What the other end hears when that is written. */
async function heard({ session, peer }: Met, bytes: Buffer): Promise<Buffer> {
  peer.peer.received = Buffer.alloc(0);
  const drained = session.drain();
  if (drained) peer.peer.hear(drained);
  peer.peer.hear(encrypt(session, bytes));
  await peer.peer.said();
  return peer.peer.received;
}

const content = Buffer.alloc(200_000, 'content that is long ');

/** Content with all that may stand between. */
function mixed(peer: RecordPeer): Buffer {
  const pieces: Buffer[] = [];
  const sizes = [1, 16_384, 5000, 1, 1, 300];
  for (let at = 0, n = 0; at < content.length; n += 1) {
    const size = sizes[n % sizes.length] ?? 1;
    const between = [
      () => [peer.keyUpdate(n % 2 === 0)],
      () => peer.ticket(400, 33),
      () => peer.ticket(40_000),
      () => [peer.record(CONTENT, Buffer.alloc(0), 100)],
      () => [],
    ];
    pieces.push(peer.record(CONTENT, content.subarray(at, at + size), (n * 777) % 9000 > size ? 30 : 0));
    pieces.push(...(between[n % between.length] ?? (() => []))());
    at += size;
  }
  return Buffer.concat(pieces);
}

t.test('content with all that may stand between, in memory', async (t) => {
  const met = await meet(t);
  for (const cuts of [[100_000], [1, 17, 999], [5, 16_384]]) {
    t.ok(decrypt(met.session, mixed(met.peer), cuts, 7001).equals(content));
    t.ok((await heard(met, content)).equals(content), 'the answers were right');
    t.ok(met.session.ticket());
  }
});

t.test('content with all that may stand between, taken by threads', async (t) => {
  const at = await link(t);
  for (const pieceBytes of [1e9, 40_000, 1111]) {
    const file = target(t);
    const body = take(at, { file: file.fd, end: content.length });
    const cipher = mixed(at.peer);
    for (let from = 0; from < cipher.length; from += pieceBytes) {
      at.tcp.write(cipher.subarray(from, from + pieceBytes));
      await new Promise((resolve) => setImmediate(resolve));
    }
    t.match(await body.ended, { outcome: 'whole', crc: crc64(content) });
    t.ok(file.content().equals(content));
    at.session.read(none, 0, 0, none);
    t.ok((await heard(at, content)).equals(content), 'the answers were right');
  }
});

t.test(
  'a message of the handshake in pieces: what is written meanwhile is refused until its end',
  async (t) => {
    const met = await meet(t);
    const { session, peer } = met;
    t.ok(session.ticket(), 'of the handshake');
    const pieces = peer.ticket(500, 60);
    for (const [index, piece] of pieces.entries()) {
      t.equal(decrypt(session, piece, [7]).length, 0);
      const isLast = index === pieces.length - 1;
      t.equal(session.established, isLast);
      if (!isLast) t.throws(() => encrypt(session, content));
    }
    t.ok(session.ticket());
    t.ok((await heard(met, content)).equals(content), 'what was refused did no harm');
    t.ok(decrypt(session, peer.content(content)).equals(content));
  },
);

t.test('a body behind which a message of the handshake has begun', async (t) => {
  const at = await link(t);
  const { session, peer, tcp } = at;
  session.ticket();
  const file = target(t);
  const body = take(at, { file: file.fd, end: content.length });
  const cipher = peer.content(content);
  const pieces = peer.ticket(500, 60);
  const [begun = none] = pieces;
  tcp.write(Buffer.concat([cipher, begun.subarray(0, 20)]));
  t.match(await body.ended, { outcome: 'whole', crc: crc64(content) });
  // What of it came with the body is with the session, the rest is still with the kernel.
  const more = target(t);
  const next = take(at, { file: more.fd, end: 5 });
  tcp.write(Buffer.concat([begun.subarray(20), ...pieces.slice(1), peer.content(Buffer.from('again'))]));
  t.match(await next.ended, { outcome: 'whole' });
  t.equal(more.content().toString(), 'again');
  session.read(none, 0, 0, none);
  t.ok(session.ticket());
  t.ok((await heard(at, content)).equals(content));
});

t.test('a farewell, or none, in the middle of a body', async (t) => {
  for (const says of [true, false]) {
    const at = await link(t);
    const file = target(t);
    const body = take(at, { file: file.fd, end: 2 * content.length });
    at.tcp.end(Buffer.concat([at.peer.content(content), says ? at.peer.farewell() : Buffer.of(23, 3, 3, 1)]));
    t.match(await body.ended, { outcome: 'ended', at: content.length, crc: crc64(content) });
    t.ok(file.content().equals(content));
  }
});

t.test('a peer that has us answer without end: what waits to be sent is bounded', async (t) => {
  const one = Buffer.from('1');
  const rounds = 45_000;
  const flood = (peer: RecordPeer): Buffer => {
    const records: Buffer[] = [];
    for (let n = 0; n < rounds; n += 1) records.push(peer.keyUpdate(true), peer.record(CONTENT, one));
    return Buffer.concat(records);
  };
  const at = await link(t);
  const cipher = flood(at.peer);
  const file = target(t);
  const body = take(at, { file: file.fd, end: content.length });
  at.tcp.write(cipher);
  const end = await body.ended;
  t.match(end, { outcome: 'tls', code: 'ERR_SSL_UNKNOWN' });
  t.ok(end.at > 30_000 && end.at < rounds, 'some 27 bytes are the answer to each');
  t.ok(file.content().equals(Buffer.alloc(end.at, '1')), 'what has come is kept');
});

t.test('a peer that sends without end, and none of it is content', async (t) => {
  for (const what of ['in memory', 'to a thread']) {
    const at = await link(t);
    const file = target(t);
    const first = at.peer.content(Buffer.from('first'));
    const tickets: Buffer[] = [];
    for (let n = 0; n < 20; n += 1) tickets.push(...at.peer.ticket(60_000));
    const cipher = Buffer.concat([first, ...tickets]);
    if (what === 'in memory')
      t.throws(() => decrypt(at.session, cipher), { code: 'ERR_SSL_NO_CONTENT' }, what);
    else {
      const body = take(at, { file: file.fd, end: 100 });
      at.tcp.write(cipher);
      t.match(await body.ended, { outcome: 'tls', code: 'ERR_SSL_NO_CONTENT', at: 5 }, what);
    }
  }
});

// What is life of the peer's to a thread that takes a body: any byte, of content or of a record that is not whole yet.
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { crc64 } from '../../native-bindings/crc64.js';
import { TlsSession, tlsContext } from '../../native-bindings/tls-session.js';
import { selfSigned } from '../helpers/self-signed.js';
import { openLink, take, target } from './body-links.js';
import { RecordPeer } from './tls-records.js';

t.jobs = 4;

const certificate = selfSigned();
const stallMs = 1000;
/** Together longer than the timeout; each pause is so much shorter that a busy machine does not make it as long. */
const paces = { bytes: 25, everyMs: 50 };
const before = Buffer.alloc(1000, 'before ');
const content = Buffer.concat([before, Buffer.alloc(500, 'slow ')]);

for (const kind of ['content', 'a record'] as const) {
  for (const then of ['goes on', 'says nothing more'] as const) {
    t.test(`${kind} that comes byte by byte, and then the peer ${then}`, { buffered: true }, async (t) => {
      const link = await openLink(t, 'plain');
      const context = tlsContext([certificate.cert]);
      if (!context) throw new Error('wire.node was not built');
      const session = kind === 'content' ? undefined : new TlsSession(context, 'localhost');
      const peer = session && (await RecordPeer.meet(session, certificate));
      t.teardown(() => peer?.peer.destroy());
      const pieces = [before, content.subarray(before.length)];
      const sent = Buffer.concat(peer ? pieces.map((piece) => peer.content(piece)) : pieces);
      const slowFrom = sent.length - 400;
      const slowTo = slowFrom + paces.bytes;
      const file = target(t);
      const body = take({ fd: link.fd, session }, { file: file.fd, end: content.length, stallMs });
      link.tcp.write(sent.subarray(0, slowFrom));
      for (let at = slowFrom; at < slowTo; at += 1) {
        await pause(paces.everyMs);
        link.tcp.write(sent.subarray(at, at + 1));
      }
      if (then === 'goes on') link.tcp.write(sent.subarray(slowTo));
      const whole = then === 'goes on' ? content.length : kind === 'content' ? slowTo : before.length;
      const has = content.subarray(0, whole);
      const outcome = then === 'goes on' ? 'whole' : 'stalled';
      t.match(await body.ended, { outcome, at: has.length, crc: crc64(has) });
      t.ok(file.content().equals(has), 'what has come is kept');
    });
  }
}

// A server's end of TLS 1.3 that seals its own records, for what node:tls does not send: key updates, messages of the handshake in
// pieces, padding, empty records. node:tls makes the handshake and hears what comes (RFC 8446).
import { createCipheriv, createHmac } from 'node:crypto';
import type net from 'node:net';
import tls from 'node:tls';
import type { TlsSession } from '../../native-bindings/tls-session.js';
import type { Certificate } from '../helpers/self-signed.js';
import { decrypt, TlsPeer } from './tls-peer.js';

/** Content types (5.1). */
export const [ALERT, HANDSHAKE, CONTENT] = [21, 22, 23];
/** HKDF-Expand of one block, with a label of TLS's (7.1), without context. */
function expand(secret: Buffer, label: string, bytes: number): Buffer {
  const full = Buffer.from(`tls13 ${label}`);
  const info = Buffer.concat([Buffer.of(bytes >> 8, bytes & 255, full.length), full, Buffer.of(0, 1)]);
  return createHmac('sha256', secret).update(info).digest().subarray(0, bytes);
}

export class RecordPeer {
  readonly peer: TlsPeer;
  #secret: Buffer = Buffer.alloc(0);
  /** Of the next record by the keys of content: behind tickets, which node:tls has sent. */
  #sequence = 0;
  #isSecure = false;

  private constructor({ cert, key }: Certificate) {
    const options = { cert, key, minVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256' } as const;
    this.peer = new TlsPeer({ secureContext: tls.createSecureContext(options) });
    this.peer.socket.on('keylog', (line: Buffer) => {
      const [label, , hex = ''] = line.toString().trim().split(' ');
      if (label === 'SERVER_TRAFFIC_SECRET_0') this.#secret = Buffer.from(hex, 'hex');
    });
    this.peer.socket.on('secure', () => {
      this.#isSecure = true;
    });
  }

  /** Carries a new session through its handshake, and past the tickets behind it. */
  static async meet(session: TlsSession, certificate: Certificate): Promise<RecordPeer> {
    const made = new RecordPeer(certificate);
    const none = Buffer.alloc(1);
    session.read(none, 0, 0, none);
    while (!made.#isSecure) {
      const said = session.drain();
      if (!said) throw made.peer.error ?? new Error('the handshake does not end');
      made.peer.hear(said);
      decrypt(session, await made.#said());
    }
    return made;
  }

  /** The same with whoever is at the other end of a connection. */
  static async accept(tcp: net.Socket, certificate: Certificate): Promise<RecordPeer> {
    const made = new RecordPeer(certificate);
    tcp.on('data', (bytes: Buffer) => {
      made.peer.hear(bytes);
    });
    while (!made.#isSecure) {
      const said = await made.#said();
      if (said.length > 0) tcp.write(said);
    }
    return made;
  }

  async #said(): Promise<Buffer> {
    const cipher = await this.peer.said();
    for (let at = 0; this.#isSecure && at < cipher.length; at += 5 + cipher.readUInt16BE(at + 3))
      this.#sequence += 1;
    return cipher;
  }

  /** One record: type, content, and so many zeros of padding behind it. */
  record(type: number, content: Uint8Array, padding = 0): Buffer {
    const inner = Buffer.concat([content, Buffer.of(type), Buffer.alloc(padding)]);
    const bytes = inner.length + 16;
    const header = Buffer.of(CONTENT, 3, 3, bytes >> 8, bytes & 255);
    const nonce = expand(this.#secret, 'iv', 12);
    nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ this.#sequence) >>> 0, 8);
    this.#sequence += 1;
    const cipher = createCipheriv('aes-128-gcm', expand(this.#secret, 'key', 16), nonce).setAAD(header);
    return Buffer.concat([header, cipher.update(inner), cipher.final(), cipher.getAuthTag()]);
  }

  /** Content in records of so many bytes. */
  content(bytes: Buffer, recordBytes = 16 * 1024): Buffer {
    const records: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += recordBytes)
      records.push(this.record(CONTENT, bytes.subarray(at, at + recordBytes)));
    return Buffer.concat(records);
  }

  /** A message of the handshake, in records of so many bytes of it. */
  message(type: number, body: Uint8Array, recordBytes = 16 * 1024): Buffer[] {
    const message = Buffer.concat([Buffer.of(type, 0, body.length >> 8, body.length & 255), body]);
    const records: Buffer[] = [];
    for (let at = 0; at < message.length; at += recordBytes)
      records.push(this.record(HANDSHAKE, message.subarray(at, at + recordBytes)));
    return records;
  }

  /** Changes its own keys, and may ask that the client does (4.6.3); in one record, as it must be. */
  keyUpdate(isAsked: boolean): Buffer {
    const records = this.message(24, Buffer.of(isAsked ? 1 : 0));
    this.#secret = expand(this.#secret, 'traffic upd', 32);
    this.#sequence = 0;
    return Buffer.concat(records);
  }

  /** A ticket of so many bytes, in records of so many (4.6.1). */
  ticket(bytes: number, recordBytes?: number): Buffer[] {
    const body = Buffer.concat([
      Buffer.of(0, 0, 14, 16, 1, 2, 3, 4, 1, 7, bytes >> 8, bytes & 255),
      Buffer.alloc(bytes, 'ticket '),
      Buffer.of(0, 0),
    ]);
    return this.message(4, body, recordBytes);
  }

  /** Says that there is no more (6.1). */
  farewell(): Buffer {
    return this.record(ALERT, Buffer.of(1, 0));
  }
}

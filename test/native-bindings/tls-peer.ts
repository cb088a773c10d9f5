// The server's end of a TLS connection in memory, by node:tls, for the tests of the client's end: every byte of ciphertext goes
// through the test's hands.
import { Duplex } from 'node:stream';
import tls from 'node:tls';
import { encryptedBytes, type TlsSession } from '../../native-bindings/tls-session.js';

export class TlsPeer {
  readonly socket: tls.TLSSocket;
  /** Content that has come. */
  received = Buffer.alloc(0);
  error: Error | undefined;
  readonly #wire: Duplex;
  #sent: Buffer[] = [];

  constructor(options: tls.TLSSocketOptions) {
    this.#wire = new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _encoding, done) => {
        this.#sent.push(chunk);
        done();
      },
    });
    this.socket = new tls.TLSSocket(this.#wire, { ...options, isServer: true });
    this.socket.on('data', (bytes: Buffer) => {
      this.received = Buffer.concat([this.received, bytes]);
    });
    this.socket.on('error', (error: Error) => {
      this.error = error;
    });
  }

  /** Gives it ciphertext. */
  hear(bytes: Uint8Array): void {
    this.#wire.push(bytes);
  }

  /** Its ciphertext so far, once it had its turns of the event loop. */
  async said(): Promise<Buffer> {
    for (let turns = 0; turns < 6; turns += 1) await new Promise((resolve) => setImmediate(resolve));
    const all = Buffer.concat(this.#sent);
    this.#sent = [];
    return all;
  }

  /** Encrypts. */
  async say(content: Uint8Array): Promise<Buffer> {
    this.socket.write(content);
    return await this.said();
  }

  destroy(): void {
    this.socket.destroy();
    this.#wire.destroy();
  }
}

/** All content of some ciphertext, given in pieces of these sizes, over and over, into memory of so many bytes. */
export function decrypt(
  session: TlsSession,
  cipher: Buffer,
  sizes: readonly number[] = [cipher.length],
  intoBytes = 64 * 1024,
): Buffer {
  const content: Buffer[] = [];
  const into = Buffer.alloc(intoBytes);
  for (let at = 0, n = 0; at < cipher.length; n += 1) {
    const to = Math.min(cipher.length, at + Math.max(1, sizes[n % sizes.length] ?? 1));
    for (let plain = intoBytes; plain === intoBytes;) {
      plain = session.read(cipher, at, to, into);
      content.push(Buffer.from(into.subarray(0, plain)));
      at += session.consumed;
    }
  }
  return Buffer.concat(content);
}

/** Carries the handshake to its end, with what follows of it: tickets. */
export async function shakeHands(session: TlsSession, peer: TlsPeer): Promise<void> {
  const into = Buffer.alloc(1024);
  session.read(into, 0, 0, into);
  for (let rounds = 0; rounds < 8; rounds += 1) {
    const mine = session.drain();
    if (mine) peer.hear(mine);
    const cipher = await peer.said();
    if (!mine && cipher.length === 0) break;
    decrypt(session, cipher);
  }
  if (!session.established) throw peer.error ?? new Error('the handshake does not end');
}

/** The session's ciphertext for some content. */
export function encrypt(session: TlsSession, content: Uint8Array): Buffer {
  const out = Buffer.alloc(encryptedBytes(content.length));
  const bytes = session.write(content, out);
  return Buffer.concat([out.subarray(0, bytes), session.drain() ?? Buffer.alloc(0)]);
}

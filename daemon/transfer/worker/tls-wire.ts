// TLS over a socket by a session of ours: reads of the socket are decrypted to where they belong, as many records as came.
// wire.ts makes one for each connection.
import net from 'node:net';
import { encryptedBytes, TlsSession, type TlsContext } from '../../../native-bindings/tls-session.js';
import {
  descriptorOf,
  sourceOf,
  type Wire,
  type WireEvents,
  type WireOptions,
  type WireSource,
} from './wire.js';

/**
 * Ciphertext that is read at once. One buffer for all of a thread's connections: it is decrypted before the next read, by
 * whichever of them. Not large: what a thread is going to take of a body is copied once more when it comes here.
 */
const cipher = Buffer.allocUnsafeSlow(64 * 1024);
const NOTHING = Buffer.alloc(0);
const NONE = { bytes: NOTHING, from: 0, to: 0 };

/** What is encrypted at once. */
const PIECE_BYTES = 256 * 1024;
/** For less than that, memory is taken as it comes. */
const SMALL_BYTES = 4 * 1024;

/** Memory for pieces, used again by all of a thread's connections: new memory for each costs more than to encrypt. */
const spare: Buffer[] = [];
const MAX_SPARE = 32;

function takeSpare(): Buffer {
  return spare.pop() ?? Buffer.allocUnsafeSlow(encryptedBytes(PIECE_BYTES));
}

function giveSpare(memory: Buffer): void {
  if (spare.length < MAX_SPARE) spare.push(memory);
}

interface Waiting {
  readonly plain: Buffer;
  readonly sent: (() => void) | undefined;
}

export class TlsWire implements Wire {
  readonly #events: WireEvents;
  readonly #onTicket: (ticket: Buffer) => void;
  readonly #session: TlsSession;
  readonly #socket: net.Socket;
  /** What is written before the handshake is over, or within a later message of it. */
  #waiting: Waiting[] = [];
  /** The reading was stopped: what had come is kept by the session. */
  #isStopped = false;
  #isLent = false;
  /** Ciphertext that `received` is not told of yet. */
  #unread: { readonly bytes: Buffer; readonly from: number; readonly to: number } = NONE;
  #error: NodeJS.ErrnoException | undefined;
  #isClosed = false;
  #isGivenUp = false;
  #isTold = false;

  constructor({ host, port, ticket, onTicket }: WireOptions, context: TlsContext, events: WireEvents) {
    this.#events = events;
    this.#onTicket = onTicket;
    this.#session = new TlsSession(context, host, ticket);
    this.#socket = net.connect({
      host,
      port,
      onread: { buffer: cipher, callback: (bytes) => this.#take(cipher, bytes) },
    });
    this.#socket.setNoDelay(true);
    this.#socket.on('connect', () => {
      this.#take(NOTHING, 0);
    });
    this.#socket.on('error', (error) => {
      this.#error ??= error;
    });
    this.#socket.on('close', () => {
      this.#isClosed = true;
      this.#tellEnd();
    });
  }

  get writable(): boolean {
    return this.#socket.writable;
  }

  get destroyed(): boolean {
    return this.#socket.destroyed && !this.#isStopped;
  }

  write(bytes: Buffer | string, sent?: () => void): void {
    const plain = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes;
    if (this.#session.established) this.#send(plain, sent);
    else this.#waiting.push({ plain, sent });
  }

  resume(): void {
    const wasStopped = this.#isStopped;
    this.#isStopped = false;
    if (wasStopped && !this.#take(NOTHING, 0)) return;
    if (this.#isClosed) this.#tellEnd();
    else this.#socket.resume();
  }

  destroy(): void {
    // What had come is of no use to anybody now.
    this.#isGivenUp = true;
    this.#isStopped = false;
    this.#socket.destroy();
    if (this.#isClosed) this.#tellEnd();
  }

  get lendable(): boolean {
    return descriptorOf(this.#socket) !== undefined;
  }

  lend(): WireSource {
    this.#keepUnread();
    this.#isLent = true;
    return sourceOf(this.#socket, this.#session);
  }

  takeBack(): void {
    this.#isLent = false;
    if (this.#isClosed) this.#tellEnd();
  }

  /** Decrypts so many bytes. False when the reading is to stop. */
  #take(bytes: Buffer, length: number): boolean {
    let at = 0;
    if (length > 0) this.#events.stirred();
    try {
      for (;;) {
        const into = this.#events.target();
        const plain = this.#session.read(bytes, at, length, into);
        at += this.#session.consumed;
        this.#flush();
        if (plain > 0) {
          this.#unread = { bytes, from: at, to: length };
          if (!this.#events.received(into, plain)) {
            this.#keepUnread();
            this.#isStopped = !this.#isGivenUp;
            return false;
          }
        }
        if (this.#session.closed) {
          this.#socket.destroy();
          return false;
        }
        if (plain < into.length) return true;
      }
    } catch (error) {
      // The alert that tells the peer.
      this.#sendDrained();
      this.#socket.destroy(error as Error);
      return false;
    }
  }

  #keepUnread(): void {
    const { bytes, from, to } = this.#unread;
    this.#unread = NONE;
    if (to > from && !this.#isGivenUp) this.#session.keep(bytes, from, to);
  }

  /** What follows from a read: something to send, the handshake's end, a new ticket. */
  #flush(): void {
    this.#sendDrained();
    const ticket = this.#session.ticket();
    if (ticket) this.#onTicket(ticket);
    if (this.#waiting.length === 0 || !this.#session.established) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { plain, sent } of waiting) this.#send(plain, sent);
  }

  #sendDrained(): void {
    const drained = this.#session.drain();
    if (drained) this.#socket.write(drained);
  }

  /** In pieces, so that one size of memory does for all. */
  #send(plain: Buffer, sent: (() => void) | undefined): void {
    for (let at = 0; ; at += PIECE_BYTES) {
      const isLast = at + PIECE_BYTES >= plain.length;
      this.#sendPiece(
        at === 0 && isLast ? plain : plain.subarray(at, at + PIECE_BYTES),
        isLast ? sent : undefined,
      );
      if (isLast) return;
    }
  }

  #sendPiece(plain: Buffer, sent: (() => void) | undefined): void {
    const isSmall = plain.length <= SMALL_BYTES;
    const out = isSmall ? Buffer.allocUnsafe(encryptedBytes(plain.length)) : takeSpare();
    let bytes = 0;
    try {
      bytes = this.#session.write(plain, out);
    } catch (error) {
      // What follows is not sent either: its callback comes at once.
      this.#socket.destroy(error as Error);
    }
    this.#socket.write(out.subarray(0, bytes), () => {
      if (!isSmall) giveSpare(out);
      sent?.();
    });
    this.#sendDrained();
  }

  #tellEnd(): void {
    if (this.#isStopped || this.#isLent || this.#isTold) return;
    this.#isTold = true;
    for (const { sent } of this.#waiting) sent?.();
    if (this.#error) this.#events.error(this.#error);
    this.#events.closed();
    this.#session.free();
  }
}

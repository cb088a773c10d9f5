// One PUT of a piece of a file: read into a buffer, its CRC taken, sent. A block too large to be held whole is sent while
// it is read; then the CRC that the service computed is what is compared.
import { crc64, crc64Bytes } from '../../../native-bindings/crc64.js';
import type { PooledBuffer } from '../buffer-pool.js';
import type { Connection, Received } from './connection.js';
import { Job, serviceCodeOf, wasStale } from './job.js';
import type { DoneEvent, PutCommand } from './messages.js';
import { WireError, failureOf } from './wire-error.js';

const MIB = 1024 * 1024;

/** Sent behind its head in one piece: one call, and over TLS one packet. */
const ONE_PIECE_BYTES = 64 * 1024;

/**
 * What is handed to the socket at once: TLS encrypts all of it into memory of its own, and a connection on which no whole
 * piece moves for the stall timeout counts as stalled.
 */
const PIECE_BYTES = { plain: MIB, tls: MIB / 4 };

/** What a streamed block is read in. */
const STREAM_BYTES = MIB;

export class PutJob extends Job<PutCommand> {
  #crc = 0n;

  async run(): Promise<DoneEvent> {
    const { id, bytes, stream } = this.command;
    let buffer: PooledBuffer | undefined;
    try {
      const size = stream ? Math.min(bytes, STREAM_BYTES, this.tools.pool.maxBytes) : bytes;
      if (size > 0) buffer = await this.tools.pool.acquire(size, this.stop.signal);
      const memory = buffer?.bytes ?? Buffer.alloc(0);
      if (!stream) {
        await this.#read(memory, this.command.position);
        this.#crc = crc64(memory);
      }
      const { answer } = await this.#request(memory, await this.#more());
      this.#checkCrc(answer.headers['x-ms-content-crc64']);
      const { status, headers, lengthBytes } = answer;
      return { type: 'done', id, bytes, crc: this.#crc, answer: { status, headers, lengthBytes } };
    } catch (error) {
      const failure = this.stop.aborted ? ({ kind: 'aborted' } as const) : failureOf(error);
      return { type: 'done', id, bytes: 0, crc: this.#crc, failure };
    } finally {
      buffer?.release();
    }
  }

  /** The header lines that depend on the content. */
  async #more(): Promise<string> {
    const { id, hold, stream, sendCrc } = this.command;
    const own =
      sendCrc && !stream ? `x-ms-content-crc64: ${crc64Bytes(this.#crc).toString('base64')}\r\n` : '';
    if (!hold) return own;
    this.tools.post({ type: 'read', id, crc: this.#crc });
    const { headers = '' } = await this.permission.given;
    return own + headers;
  }

  async #read(into: Buffer, position: number): Promise<void> {
    if (into.length === 0) return;
    const bytes = await this.tools.io.read(this.command.fd, into, position, this.stop);
    if (bytes < into.length) throw new WireError({ kind: 'file-ended', at: position + bytes });
  }

  async #request(memory: Buffer, more: string): Promise<Received> {
    const { target, bytes, idempotent } = this.command;
    const head = Buffer.from(
      `PUT ${target.path} HTTP/1.1\r\n${target.headers}${more}content-length: ${bytes}\r\n\r\n`,
      'latin1',
    );
    for (let fresh = false; ; fresh = true) {
      if (this.stop.aborted) throw new WireError({ kind: 'aborted' });
      const connection = this.tools.connections.take(target.origin, fresh);
      this.connection = connection;
      try {
        return await this.#exchange(connection, head, memory);
      } catch (error) {
        if (fresh || !idempotent || !wasStale(error, connection.requests, false)) throw error;
      } finally {
        this.connection = undefined;
        // The kernel, and libuv, read from the buffer no more when this is over.
        await this.tools.connections.release(target.origin, connection);
      }
    }
  }

  async #exchange(connection: Connection, head: Buffer, memory: Buffer): Promise<Received> {
    const state = { answered: false };
    const received = connection.begin({ onHead: () => undefined }).finally(() => {
      state.answered = true;
    });
    const sending = this.#send(connection, head, memory, () => state.answered);
    try {
      const whole = await received;
      const { status, headers, lengthBytes } = whole.answer;
      const isSent = await settledNow(sending);
      if (status >= 300) {
        const answer = { status, headers, lengthBytes };
        const serviceCode = serviceCodeOf(headers, whole.body);
        // A refusal may come before all is sent: the rest would be taken for another request.
        if (!isSent) await connection.destroy();
        throw new WireError({ kind: 'status', answer, serviceCode });
      }
      // Nothing else says that something was made (Put Blob, Put Block: "returns status code 201 (Created)").
      if (status !== 201) throw new WireError({ kind: 'bad-answer', what: `status ${status} for a PUT` });
      if (!isSent) throw new WireError({ kind: 'bad-answer', what: 'thanks for half of the content' });
      return whole;
    } catch (error) {
      if (!(error instanceof WireError && error.failure.kind === 'status')) await connection.destroy();
      await sending;
      throw error;
    }
  }

  /** Answers whether all has been sent. */
  async #send(connection: Connection, head: Buffer, memory: Buffer, isOver: () => boolean): Promise<boolean> {
    const { bytes, stream } = this.command;
    if (stream) {
      await connection.send(head);
      return this.#sendStream(connection, memory, isOver);
    }
    if (bytes <= ONE_PIECE_BYTES) {
      await connection.send(Buffer.concat([head, memory]));
    } else {
      await connection.send(head);
      return this.#sendPieces(connection, memory, isOver);
    }
    return true;
  }

  async #sendPieces(connection: Connection, bytes: Buffer, isOver: () => boolean): Promise<boolean> {
    const piece = connection.isTls ? PIECE_BYTES.tls : PIECE_BYTES.plain;
    for (let at = 0; at < bytes.length; at += piece) {
      if (isOver()) return false;
      await connection.send(bytes.subarray(at, Math.min(bytes.length, at + piece)));
    }
    return true;
  }

  async #sendStream(connection: Connection, memory: Buffer, isOver: () => boolean): Promise<boolean> {
    const { bytes, position } = this.command;
    let crc = 0n;
    try {
      for (let at = 0; at < bytes; at += memory.length) {
        const chunk = memory.subarray(0, Math.min(memory.length, bytes - at));
        connection.hold(true);
        await this.#read(chunk, position + at);
        connection.hold(false);
        crc = crc64(chunk, crc);
        if (!(await this.#sendPieces(connection, chunk, isOver))) return false;
      }
      this.#crc = crc;
      return true;
    } catch (error) {
      connection.fail(error as Error);
      return false;
    }
  }

  #checkCrc(theirs: string | undefined): void {
    if (theirs === undefined || theirs === crc64Bytes(this.#crc).toString('base64')) return;
    throw new WireError({ kind: 'crc', theirs });
  }
}

/**
 * Whether all was sent, or never will be, by now, give or take a few turns of the event loop: our own callback may still be to
 * come. Who waits for it beyond that may wait for a peer that does not read.
 */
async function settledNow(sending: Promise<boolean>): Promise<boolean> {
  let isSent: boolean | undefined;
  void sending.then((value) => (isSent = value));
  for (let turns = 0; isSent === undefined && turns < 3; turns += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  return isSent ?? false;
}

// One ranged GET: what is expected is written at once; of anything else the head is told, and written is only once the
// caller has agreed to it.
import { crc64 } from '../../../native-bindings/crc64.js';
import type { PooledBuffer } from '../buffer-pool.js';
import { HOLE_BYTES, dataPieces } from '../slab.js';
import { BodyTake } from './body-take.js';
import {
  SMALL_BODY_BYTES,
  type BodySink,
  type BodyTaker,
  type Connection,
  type Received,
} from './connection.js';
import { howIfExpected } from './expected.js';
import { Job, serviceCodeOf, wasStale, type JobTools } from './job.js';
import type { Answer, DoneEvent, GetCommand, GoCommand } from './messages.js';
import { SlabWriter } from './slab-writer.js';
import { WireError, failureOf } from './wire-error.js';

/** What a thread that takes a body writes at once: small enough to be in a core's cache still, with as much ciphertext. */
export const BODY_BYTES = 512 * 1024;

/** What is written at once without such threads, each write by another one: large enough that it costs nothing beside its bytes. */
const SLAB_BYTES = 2 * 1024 * 1024;

export class GetJob extends Job<GetCommand> {
  #writer: SlabWriter | undefined;
  #taker: BodyTake | undefined;
  #answer: Answer | undefined;
  #answerBegun = false;
  #writtenTo: number;
  #crc = 0n;

  constructor(command: GetCommand, tools: JobTools) {
    super(command, tools);
    this.#writtenTo = command.start;
  }

  override go(command: GoCommand): void {
    this.#writer?.go({ keepHoles: command.keepHoles === true, crc: command.crc === true });
    super.go(command);
  }

  async run(): Promise<DoneEvent> {
    const { start, end } = this.command;
    let buffer: PooledBuffer | undefined;
    try {
      let memory: Memory | undefined;
      // A small body has its place behind its head.
      if (end - start > SMALL_BODY_BYTES) {
        const { pool } = this.tools;
        const most = this.tools.bodies ? BODY_BYTES : SLAB_BYTES;
        const slab = slabBytes(end - start, pool.maxBytes, most);
        const slabs = end - start > slab || this.tools.bodies ? 2 : 1;
        buffer = await pool.acquire(Math.min(pool.maxBytes, slabs * slab), this.stop.signal);
        memory = { bytes: buffer.bytes, slab };
      }
      await this.#request(memory);
      return this.#done(undefined);
    } catch (error) {
      return this.#done(error);
    } finally {
      buffer?.release();
    }
  }

  #done(error: unknown): DoneEvent {
    const { id } = this.command;
    const failure =
      error === undefined ? undefined : this.stop.aborted ? ({ kind: 'aborted' } as const) : failureOf(error);
    return { type: 'done', id, bytes: this.#writtenTo, crc: this.#crc, answer: this.#answer, failure };
  }

  async #request(memory: Memory | undefined): Promise<void> {
    for (let fresh = false; ; fresh = true) {
      if (this.stop.aborted) throw new WireError({ kind: 'aborted' });
      const { origin } = this.command.target;
      const connection = this.tools.connections.take(origin, fresh);
      this.connection = connection;
      try {
        await this.#exchange(connection, memory);
        return;
      } catch (error) {
        if (fresh || !wasStale(error, connection.requests, this.#answerBegun)) throw error;
      } finally {
        this.connection = undefined;
        // No read of the kernel's goes into the buffer any more when this is over.
        await this.tools.connections.release(origin, connection);
      }
    }
  }

  async #exchange(connection: Connection, memory: Memory | undefined): Promise<void> {
    const { target } = this.command;
    const received = connection.begin({
      onHead: (answer, canLend) => this.#onHead(answer, canLend, connection, memory),
    });
    connection.sendNow(`GET ${target.path} HTTP/1.1\r\n${target.headers}\r\n`);
    try {
      const whole = await received;
      if (whole.answer.status !== 200 && whole.answer.status !== 206) throw refused(whole);
      await this.permission.given;
      if (!this.#taker) await (this.#writer?.finish() ?? this.#writeSmall(whole.body, connection));
      this.#checkEnd(whole.answer);
    } catch (error) {
      // What has arrived is kept, and not asked for again; a file that cannot be written takes no more.
      await this.#keepWhatCame(error);
      // Who has answered wrongly once is not asked on that connection again.
      if (!(error instanceof WireError && error.failure.kind === 'status')) connection.fail(error as Error);
      throw error;
    } finally {
      const over = this.#taker ?? this.#writer;
      if (over) {
        this.#writtenTo = over.writtenTo;
        this.#crc = over.crc;
      }
    }
  }

  /** What has arrived of a broken answer is written, if the caller agrees to its head or expected it, and not asked for again. */
  async #keepWhatCame(error: unknown): Promise<void> {
    await this.#taker?.over;
    const writer = this.#writer;
    if (!writer) return;
    if (error instanceof WireError) await Promise.resolve(this.permission.given).catch(() => undefined);
    if (this.stop.aborted || !(error instanceof WireError)) await writer.stop();
    else await writer.finish();
  }

  #onHead(
    answer: Answer,
    canLend: boolean,
    connection: Connection,
    memory: Memory | undefined,
  ): BodySink | BodyTaker | undefined {
    this.#answerBegun = true;
    if (answer.status !== 200 && answer.status !== 206) return undefined;
    const { id } = this.command;
    const { status, headers, lengthBytes } = answer;
    this.#answer = { status, headers, lengthBytes };
    const place = memory && this.#place(this.#answer, canLend, connection, memory);
    const how = howIfExpected(this.#answer, this.command);
    if (how) this.go({ type: 'go', id, ...how });
    else this.tools.post({ type: 'head', id, answer: this.#answer });
    return place;
  }

  /** Where a body goes that is not small. */
  #place(
    { lengthBytes }: Answer,
    canLend: boolean,
    connection: Connection,
    memory: Memory,
  ): BodySink | BodyTaker {
    const { fd, start, end, fileBytes, slot } = this.command;
    const { bodies, progress, stallTimeoutMs } = this.tools;
    // Whatever has another length is going to be refused; and what has come with the head must have room.
    if (bodies && canLend && lengthBytes === end - start && memory.bytes.length >= 2 * HOLE_BYTES) {
      const { permission } = this;
      const buffer = memory.bytes;
      const options = {
        threads: bodies,
        permission,
        fd,
        start,
        end,
        fileBytes,
        stallTimeoutMs,
        buffer,
        progress,
        slot,
      };
      return (this.#taker = new BodyTake(options));
    }
    return (this.#writer = new SlabWriter({
      io: this.tools.io,
      fd,
      stop: this.stop,
      slabs: split(memory),
      start,
      end,
      fileBytes,
      onRoom: () => {
        connection.resume();
      },
      onWritten: (bytes) => {
        this.tools.count(slot, bytes);
      },
      onError: (error) => {
        connection.fail(error as Error);
      },
    }));
  }

  async #writeSmall(body: Buffer, connection: Connection): Promise<void> {
    const { fd, start, end, fileBytes, slot } = this.command;
    if (body.length !== end - start || body.length === 0) return;
    const { keepHoles, crc } = await this.permission.given;
    // The body lies where the next answer would: what comes unasked writes over it.
    const refuseIfOverrun = (): void => {
      if (connection.overrun) throw new WireError({ kind: 'bad-answer', what: 'more than an answer' });
    };
    refuseIfOverrun();
    if (crc === true) this.#crc = crc64(body);
    if (keepHoles === true) {
      for (const piece of dataPieces(body, start, fileBytes)) {
        await this.tools.io.write(fd, piece.bytes, piece.position, this.stop);
      }
    } else await this.tools.io.write(fd, body, start, this.stop);
    refuseIfOverrun();
    this.#writtenTo = start + body.length;
    this.tools.count(slot, body.length);
  }

  #checkEnd(answer: Answer): void {
    const { start, end } = this.command;
    const writtenTo = (this.#taker ?? this.#writer)?.writtenTo ?? this.#writtenTo;
    if (writtenTo === end) return;
    throw new WireError({
      kind: 'bad-answer',
      what: `${writtenTo - start} bytes with status ${answer.status} where ${end - start} were asked for`,
    });
  }
}

/** Memory for a body, and the part of it that is written at once. */
interface Memory {
  readonly bytes: Buffer;
  readonly slab: number;
}

/** Whole blocks of zeros, so that they can stay holes; several slabs to a pool. */
export function slabBytes(rangeBytes: number, poolBytes: number, most: number): number {
  const wanted = Math.min(most, Math.floor(poolBytes / 16), rangeBytes);
  return Math.max(1, Math.ceil(wanted / HOLE_BYTES)) * HOLE_BYTES;
}

function split({ bytes, slab }: Memory): Buffer[] {
  const slabs = [bytes.subarray(0, Math.min(slab, bytes.length))];
  if (bytes.length >= 2 * slab) slabs.push(bytes.subarray(slab, 2 * slab));
  return slabs;
}

function refused({ answer, body }: Received): WireError {
  const { status, headers, lengthBytes } = answer;
  return new WireError({
    kind: 'status',
    answer: { status, headers, lengthBytes },
    serviceCode: serviceCodeOf(headers, body),
  });
}

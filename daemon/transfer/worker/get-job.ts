// One ranged GET: the answer's head is told, and written is only once the caller has agreed to it.
import { crc64 } from '../../../native-bindings/crc64.js';
import type { PooledBuffer } from '../buffer-pool.js';
import { HOLE_BYTES, dataPieces } from '../slab.js';
import { SMALL_BODY_BYTES, type BodySink, type Connection, type Received } from './connection.js';
import { Job, serviceCodeOf, wasStale, type JobTools } from './job.js';
import type { Answer, DoneEvent, GetCommand, GoCommand } from './messages.js';
import { SlabWriter } from './slab-writer.js';
import { WireError, failureOf } from './wire-error.js';

/** What is written at once: large enough that a write costs nothing beside its bytes, small enough to have many. */
const SLAB_BYTES = 2 * 1024 * 1024;

export class GetJob extends Job<GetCommand> {
  #writer: SlabWriter | undefined;
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
      let slabs: Buffer[] = [];
      // A small body has its place behind its head.
      if (end - start > SMALL_BODY_BYTES) {
        const { pool } = this.tools;
        const slab = slabBytes(end - start, pool.maxBytes);
        buffer = await pool.acquire(
          Math.min(pool.maxBytes, end - start > slab ? 2 * slab : slab),
          this.stop.signal,
        );
        slabs = split(buffer.bytes, slab);
      }
      await this.#request(slabs);
      return this.#done(undefined);
    } catch (error) {
      return this.#done(error);
    } finally {
      buffer?.release();
    }
  }

  #done(error: unknown): DoneEvent {
    const { id } = this.command;
    const done = { type: 'done', id, bytes: this.#writtenTo, crc: this.#crc } as const;
    const failure =
      error === undefined ? undefined : this.stop.aborted ? ({ kind: 'aborted' } as const) : failureOf(error);
    return {
      ...done,
      ...(this.#answer === undefined ? {} : { answer: this.#answer }),
      ...(failure === undefined ? {} : { failure }),
    };
  }

  async #request(slabs: readonly Buffer[]): Promise<void> {
    for (let fresh = false; ; fresh = true) {
      if (this.stop.aborted) throw new WireError({ kind: 'aborted' });
      const { origin } = this.command.target;
      const connection = this.tools.connections.take(origin, fresh);
      this.connection = connection;
      try {
        await this.#exchange(connection, slabs);
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

  async #exchange(connection: Connection, slabs: readonly Buffer[]): Promise<void> {
    const { target } = this.command;
    const received = connection.begin({ onHead: (answer) => this.#onHead(answer, connection, slabs) });
    connection.sendNow(`GET ${target.path} HTTP/1.1\r\n${target.headers}\r\n`);
    try {
      const whole = await received;
      if (whole.answer.status !== 200 && whole.answer.status !== 206) throw refused(whole);
      await this.permission.given;
      await (this.#writer?.finish() ?? this.#writeSmall(whole.body, connection));
      this.#checkEnd(whole.answer);
    } catch (error) {
      // What has arrived is kept, and not asked for again; a file that cannot be written takes no more.
      await this.#keepWhatCame(error);
      // Who has answered wrongly once is not asked on that connection again.
      if (!(error instanceof WireError && error.failure.kind === 'status')) connection.fail(error as Error);
      throw error;
    } finally {
      const over = this.#writer;
      if (over) {
        this.#writtenTo = over.writtenTo;
        this.#crc = over.crc;
      }
    }
  }

  /** What has arrived of a broken answer is written, if the caller agrees to its head, and not asked for again. */
  async #keepWhatCame(error: unknown): Promise<void> {
    const writer = this.#writer;
    if (!writer) return;
    if (error instanceof WireError) await this.permission.given.catch(() => undefined);
    if (this.stop.aborted || !(error instanceof WireError)) await writer.stop();
    else await writer.finish();
  }

  #onHead(answer: Answer, connection: Connection, slabs: readonly Buffer[]): BodySink | undefined {
    this.#answerBegun = true;
    if (answer.status !== 200 && answer.status !== 206) return undefined;
    const { id, fd, start, end, fileBytes, slot } = this.command;
    const { status, headers, lengthBytes } = answer;
    this.#answer = { status, headers, lengthBytes };
    this.tools.post({ type: 'head', id, answer: this.#answer });
    if (slabs.length === 0) return undefined;
    this.#writer = new SlabWriter({
      io: this.tools.io,
      fd,
      stop: this.stop,
      slabs,
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
    });
    return this.#writer;
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
    const writtenTo = this.#writer?.writtenTo ?? this.#writtenTo;
    if (writtenTo === end) return;
    throw new WireError({
      kind: 'bad-answer',
      what: `${writtenTo - start} bytes with status ${answer.status} where ${end - start} were asked for`,
    });
  }
}

/** Whole blocks of zeros, so that they can stay holes; several slabs to a pool. */
function slabBytes(rangeBytes: number, poolBytes: number): number {
  const wanted = Math.min(SLAB_BYTES, Math.floor(poolBytes / 16), rangeBytes);
  return Math.max(1, Math.ceil(wanted / HOLE_BYTES)) * HOLE_BYTES;
}

function split(buffer: Buffer, slab: number): Buffer[] {
  const slabs = [buffer.subarray(0, Math.min(slab, buffer.length))];
  if (buffer.length >= 2 * slab) slabs.push(buffer.subarray(slab, 2 * slab));
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

// Has a thread take a body off a connection and write it: what get-job.ts does with every body that is not small, where the
// addon is there.
import type { BodyThreads, RunningBody } from '../../../native-bindings/body-threads.js';
import type { BodyTaker } from './connection.js';
import type { Permission } from './job.js';
import { errorOfEnd } from './end-error.js';
import { WireError } from './wire-error.js';
import type { WireSource } from './wire.js';

export interface BodyTakeOptions {
  readonly threads: BodyThreads;
  /** How to write is known, and allowed, when it is given. */
  readonly permission: Permission;
  readonly fd: number;
  readonly start: number;
  readonly end: number;
  readonly fileBytes: number;
  readonly stallTimeoutMs: number;
  /** Memory to work with. */
  readonly buffer: Buffer;
  readonly progress: Float64Array;
  readonly slot: number;
}

export class BodyTake implements BodyTaker {
  readonly #options: BodyTakeOptions;
  #running: RunningBody | undefined;
  #isStopped = false;
  #writtenTo: number;
  #crc = 0n;
  #over: Promise<void> = Promise.resolve();

  constructor(options: BodyTakeOptions) {
    this.#options = options;
    this.#writtenTo = options.start;
  }

  /** Everything from the start to here is in the file. */
  get writtenTo(): number {
    return this.#writtenTo;
  }

  /** Of what is in the file, where asked for. */
  get crc(): bigint {
    return this.#crc;
  }

  /** Resolves when nothing of it is under way any more. */
  get over(): Promise<void> {
    return this.#over;
  }

  /**
   * Rejects with WireError (network, broken, stall, aborted), LhsmError when the file cannot be written, or what the permission
   * was refused with.
   */
  take(first: Buffer, source: WireSource): Promise<boolean> {
    const taking = this.#take(first, source);
    const over = (): void => undefined;
    this.#over = taking.then(over, over);
    return taking;
  }

  stop(): void {
    this.#isStopped = true;
    this.#running?.stop();
  }

  async #take(first: Buffer, source: WireSource): Promise<boolean> {
    const { permission, threads, fd, end, fileBytes, stallTimeoutMs, buffer, progress, slot } = this.#options;
    const { keepHoles = false, crc = false } = await permission.given;
    if (this.#isStopped) throw new WireError({ kind: 'aborted' });
    first.copy(buffer);
    try {
      this.#running = threads.take({
        socket: source.descriptor,
        session: source.session?.handle,
        file: fd,
        at: this.#options.start,
        end,
        fileBytes,
        stallMs: stallTimeoutMs,
        buffer,
        // The other half is for ciphertext.
        contentBytes: source.session ? buffer.length / 2 : buffer.length,
        filled: first.length,
        progress,
        slot,
        keepHoles,
        crc,
      });
    } catch (error) {
      throw new WireError({
        kind: 'broken',
        what: `nothing could take its body: ${(error as Error).message}`,
      });
    }
    const over = await this.#running.ended;
    this.#writtenTo = over.at;
    this.#crc = over.crc;
    const error = errorOfEnd(over);
    if (error) throw error;
    return over.hasMore;
  }
}

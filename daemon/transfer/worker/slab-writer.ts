// Where a range's bytes go between socket and file: one slab fills while the other is written. get-job.ts makes one for
// each request that is not small.
import { crc64 } from '../../../native-bindings/crc64.js';
import type { Ends } from '../../stop.js';
import type { FileIo } from '../file-io.js';
import { dataPieces } from '../slab.js';
import type { BodySink } from './connection.js';
import { BadAnswer } from './response-parser.js';

export interface SlabWriterOptions {
  readonly io: FileIo;
  readonly fd: number;
  /** Ends the wait for a turn to write. */
  readonly stop: Ends;
  /** One or two of one size. One will do where it takes the whole range. */
  readonly slabs: readonly Buffer[];
  readonly start: number;
  readonly end: number;
  readonly fileBytes: number;
  /** A write is over: there is room again. */
  readonly onRoom: () => void;
  /** So many more bytes are in the file. */
  readonly onWritten: (bytes: number) => void;
  readonly onError: (error: unknown) => void;
}

interface Slab {
  readonly memory: Buffer;
  filled: number;
  /** Handed over to be written. */
  full: boolean;
}

/** Writes at offsets that are multiples of a slab's size: aligned to blocks of zeros, and to stripes. */
export class SlabWriter implements BodySink {
  readonly #options: SlabWriterOptions;
  readonly #slabs: readonly Slab[];
  /** The slab that is being filled; its first byte is the file's byte `#base`. */
  #filling: Slab;
  #base: number;
  readonly #full: { slab: Slab; at: number }[] = [];
  #writing: Promise<void> | undefined;
  #go: { readonly keepHoles: boolean; readonly crc: boolean } | undefined;
  #ended = false;
  #failure: { readonly error: unknown } | undefined;
  #writtenTo: number;
  #crc = 0n;

  constructor(options: SlabWriterOptions) {
    this.#options = options;
    this.#slabs = options.slabs.map((memory) => ({ memory, filled: 0, full: false }));
    const [first] = this.#slabs;
    if (!first) throw new RangeError('no slab to write from');
    this.#filling = first;
    this.#base = options.start;
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

  /** Throws BadAnswer when the range is full: there is more than was asked for. */
  room(): Buffer | undefined {
    if (this.#base === this.#options.end) throw new BadAnswer('more bytes than the range has');
    const slab = this.#filling;
    return slab.full ? undefined : slab.memory.subarray(slab.filled, this.#limit());
  }

  filled(bytes: number): void {
    const slab = this.#filling;
    slab.filled += bytes;
    if (slab.filled === this.#limit()) this.#turn();
  }

  /** From now on what is full is written. */
  go(how: { readonly keepHoles: boolean; readonly crc: boolean }): void {
    this.#go = how;
    this.#pump();
  }

  /**
   * Writes what there is, and resolves when nothing is being written any more; before `go` it writes nothing. Rejects
   * with what a write failed with.
   */
  async finish(): Promise<void> {
    this.#ended = true;
    if (this.#go) this.#turn();
    while (this.#writing) await this.#writing;
    if (this.#failure) throw this.#failure.error;
  }

  /** Nothing more is written; resolves when nothing is being written. */
  async stop(): Promise<void> {
    this.#failure ??= { error: undefined };
    while (this.#writing) await this.#writing;
  }

  /** Bytes that this slab takes: up to the next multiple of its size, or the range's end. */
  #limit(): number {
    const size = this.#filling.memory.length;
    const next = (Math.floor(this.#base / size) + 1) * size;
    return Math.min(next, this.#options.end) - this.#base;
  }

  #turn(): void {
    const slab = this.#filling;
    if (slab.filled === 0 || slab.full) return;
    slab.full = true;
    this.#full.push({ slab, at: this.#base });
    this.#base += slab.filled;
    this.#filling = this.#slabs.find((each) => each !== slab) ?? slab;
    this.#pump();
  }

  #pump(): void {
    const [next] = this.#full;
    if (this.#writing || !next || !this.#go || this.#failure) return;
    const { slab, at } = next;
    this.#writing = this.#write(slab.memory.subarray(0, slab.filled), at).then(
      () => {
        this.#writing = undefined;
        this.#full.shift();
        slab.filled = 0;
        slab.full = false;
        this.#pump();
        if (!this.#ended && !this.#failure) this.#options.onRoom();
      },
      (error: unknown) => {
        this.#writing = undefined;
        this.#failure ??= { error };
        if (!this.#ended) this.#options.onError(error);
      },
    );
  }

  async #write(bytes: Buffer, at: number): Promise<void> {
    const { io, fd, stop, fileBytes, onWritten } = this.#options;
    const crc = this.#go?.crc === true ? crc64(bytes, this.#crc) : this.#crc;
    if (this.#go?.keepHoles === true) {
      for (const piece of dataPieces(bytes, at, fileBytes))
        await io.write(fd, piece.bytes, piece.position, stop);
    } else await io.write(fd, bytes, at, stop);
    this.#crc = crc;
    this.#writtenTo += bytes.length;
    onWritten(bytes.length);
  }
}

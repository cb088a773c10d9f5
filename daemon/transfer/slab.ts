// Gathers the chunks of a body until there is enough for one write. download.ts makes one for each request.

/**
 * Fills `buffer` with the bytes of a file from `start` to `end` and hands it to `write` whenever it is full, at
 * offsets that are multiples of its size: aligned to blocks of zeros, and to stripes.
 */
export class Slab {
  readonly end: number;
  readonly #buffer: Buffer;
  readonly #write: (bytes: Buffer, position: number) => Promise<void>;
  #writtenTo: number;
  #filled = 0;

  constructor(
    buffer: Buffer,
    start: number,
    end: number,
    write: (bytes: Buffer, position: number) => Promise<void>,
  ) {
    this.#buffer = buffer;
    this.#writtenTo = start;
    this.end = end;
    this.#write = write;
  }

  /** Everything before this offset, from the start on, has been written. */
  get writtenTo(): number {
    return this.#writtenTo;
  }

  /** Takes the next bytes; those beyond `end` are an error of the caller's. */
  async add(chunk: Buffer): Promise<void> {
    for (let taken = 0; taken < chunk.length;) {
      const room = this.#limit() - this.#writtenTo - this.#filled;
      if (room === 0) throw new RangeError('more bytes than the range has');
      const bytes = Math.min(room, chunk.length - taken);
      chunk.copy(this.#buffer, this.#filled, taken, taken + bytes);
      this.#filled += bytes;
      taken += bytes;
      if (bytes === room) await this.flush();
    }
  }

  /** Writes what is there. */
  async flush(): Promise<void> {
    if (this.#filled === 0) return;
    await this.#write(this.#buffer.subarray(0, this.#filled), this.#writtenTo);
    this.#writtenTo += this.#filled;
    this.#filled = 0;
  }

  /** Where this slab ends: at the next multiple of its size, or at the range's end. */
  #limit(): number {
    const size = this.#buffer.length;
    return Math.min(this.end, (Math.floor(this.#writtenTo / size) + 1) * size);
  }
}

/** Blocks of that size, aligned in the file, stay holes when they are all zero. */
export const HOLE_BYTES = 64 * 1024;
const zeros = Buffer.alloc(HOLE_BYTES);

export interface Piece {
  readonly bytes: Buffer;
  readonly position: number;
}

/**
 * The parts of a slab that have to be written for its zeros to stay holes; neighbours are joined. The last byte of
 * the file is always written: nothing else gives a new file its size.
 */
export function* dataPieces(bytes: Buffer, position: number, fileBytes: number): Generator<Piece> {
  let begin = -1;
  let end = position;
  const take = (from: number, to: number): Piece => ({
    bytes: bytes.subarray(from - position, to - position),
    position: from,
  });
  for (let at = position; at < position + bytes.length; at = end) {
    end = Math.min(position + bytes.length, (Math.floor(at / HOLE_BYTES) + 1) * HOLE_BYTES);
    // A block of which only a part is here counts as data, except at the file's end.
    const whole = at % HOLE_BYTES === 0 && (end % HOLE_BYTES === 0 || end === fileBytes);
    const isHole = whole && bytes.compare(zeros, 0, end - at, at - position, end - position) === 0;
    if (!isHole) {
      if (begin === -1) begin = at;
      continue;
    }
    if (begin !== -1) yield take(begin, at);
    begin = -1;
    if (end === fileBytes) yield take(end - 1, end);
  }
  if (begin !== -1) yield take(begin, end);
}

// The CRC64 of a file whose pieces arrive in any order. download.ts adds each range as it is written.
import { crc64Combine } from '../../native-bindings/crc64.js';

interface Span {
  readonly start: number;
  readonly end: number;
  readonly crc: bigint;
}

/** Neighbours are joined at once, so that no more spans are kept than ranges are under way. */
export class CrcSpans {
  #spans: Span[] = [];

  /** `crc` is that of the bytes from `start` to `end`, which no other span holds. */
  add(start: number, end: number, crc: bigint): void {
    if (end <= start) return;
    const at = this.#spans.findIndex((span) => span.start >= end);
    const index = at < 0 ? this.#spans.length : at;
    let joined: Span = { start, end, crc };
    const before = this.#spans[index - 1];
    const after = this.#spans[index];
    let from = index;
    let count = 0;
    if (before?.end === start) {
      joined = join(before, joined);
      from -= 1;
      count += 1;
    }
    if (after?.start === end) {
      joined = join(joined, after);
      count += 1;
    }
    this.#spans.splice(from, count, joined);
  }

  /** Of the whole, when it is there from 0 to `sizeBytes` without a gap; undefined otherwise. */
  total(sizeBytes: number): bigint | undefined {
    if (sizeBytes === 0) return 0n;
    const [only, ...others] = this.#spans;
    return only?.start === 0 && only.end === sizeBytes && others.length === 0 ? only.crc : undefined;
  }
}

function join(left: Span, right: Span): Span {
  const crc = crc64Combine(left.crc, right.crc, right.end - right.start);
  return { start: left.start, end: right.end, crc };
}

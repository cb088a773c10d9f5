// HTTP/1.1 answers, strictly: whatever is odd is refused, and the connection with it. connection.ts feeds it what
// arrives. RFC 9112 says what is right; of the headers only those are kept that somebody reads.
import type { Answer } from './messages.js';

/** Larger heads are refused. Azure's metadata alone may be 8 KiB. */
export const MAX_HEAD_BYTES = 32 * 1024;
const MAX_HEADERS = 1000;
/** Interim answers before one that counts: no blob service sends any. */
const MAX_INTERIM = 16;
const HEAD_END = Buffer.from('\r\n\r\n');

/** Thrown for bytes that are no answer. */
export class BadAnswer extends Error {
  override readonly name = 'BadAnswer';
}

/** How the end of a body is found. */
export type Framing = { readonly kind: 'length'; readonly bytes: number } | { readonly kind: 'chunked' };

export interface Head extends Answer {
  readonly framing: Framing;
  /** The connection may serve another request behind the body. */
  readonly keepAlive: boolean;
}

export interface ParsedHead {
  readonly head: Head;
  /** Bytes of the head, its empty line included. */
  readonly bytes: number;
}

// Text of headers: tab, visible ASCII, and what is above.
const statusLine = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?$/;
// The blanks around a value are taken off by hand: a pattern that does it goes over them again and again.
const headerLine = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)$/;
const kept =
  /^(?:etag|last-modified|content-range|x-ms-(?:meta-.*|blob-type|access-tier|content-crc64|resource-type))$/;
const keptOfFailure = /^(?:retry-after(?:-ms)?|x-ms-(?:error-code|request-id|version|retry-after-ms))$/;

/**
 * Reads the head that `bytes` begins with, past any 1xx before it; undefined while it is not complete. Throws
 * BadAnswer.
 */
export function parseHead(bytes: Buffer): ParsedHead | undefined {
  let from = 0;
  for (let heads = 0; ; heads += 1) {
    if (heads > MAX_INTERIM) throw new BadAnswer('interim answers without end');
    const end = bytes.indexOf(HEAD_END, from, 'latin1');
    if (end - from > MAX_HEAD_BYTES || (end < 0 && bytes.length - from > MAX_HEAD_BYTES)) {
      throw new BadAnswer(`headers of more than ${MAX_HEAD_BYTES} bytes`);
    }
    // A peer that does not speak HTTP may never send an empty line.
    if (end < 0) {
      refuseOtherProtocols(bytes.toString('latin1', from, Math.min(bytes.length, from + 8)));
      return undefined;
    }
    const head = readHead(bytes.toString('latin1', from, end));
    from = end + HEAD_END.length;
    if (head.status < 200) {
      if (head.status === 101) throw new BadAnswer('101 where nothing else was asked for');
      continue;
    }
    return { head, bytes: from };
  }
}

function refuseOtherProtocols(begin: string): void {
  const expected = 'HTTP/1.';
  const length = Math.min(begin.length, expected.length);
  if (begin.slice(0, length) !== expected.slice(0, length)) throw new BadAnswer('no HTTP/1 answer');
}

function readHead(text: string): Head {
  const lines = text.split('\r\n');
  const match = statusLine.exec(lines[0] ?? '');
  if (!match) throw new BadAnswer('no status line of HTTP/1');
  if (lines.length - 1 > MAX_HEADERS) throw new BadAnswer(`more than ${MAX_HEADERS} headers`);
  const status = Number(match[2]);
  const headers: Record<string, string> = {};
  let length: string | undefined;
  let coding: string | undefined;
  let keepAlive = match[1] === '1';
  for (let index = 1; index < lines.length; index += 1) {
    const field = headerLine.exec(lines[index] ?? '');
    if (!field) throw new BadAnswer('a header that is none');
    const name = (field[1] ?? '').toLowerCase();
    const value = withoutBlanks(field[2] ?? '');
    if (name === 'content-length') {
      if (length !== undefined && length !== value) throw new BadAnswer('two lengths');
      length = value;
    } else if (name === 'transfer-encoding') {
      if (coding !== undefined) throw new BadAnswer('two transfer encodings');
      coding = value.toLowerCase();
    } else if (name === 'connection') {
      if (/(?:^|,)[ \t]*close[ \t]*(?:,|$)/i.test(value)) keepAlive = false;
    } else if (kept.test(name) || (status >= 300 && keptOfFailure.test(name))) {
      if (Object.hasOwn(headers, name)) throw new BadAnswer(`two headers ${name}`);
      headers[name] = value;
    }
  }
  const framing = framingOf(status, length, coding);
  return {
    status,
    headers,
    lengthBytes: framing.kind === 'length' ? framing.bytes : undefined,
    framing,
    keepAlive,
  };
}

/** Blanks and tabs only: `trim` would take bytes of a value in another coding. */
function withoutBlanks(text: string): string {
  const isBlank = (at: number): boolean => text[at] === ' ' || text[at] === '\t';
  let from = 0;
  let to = text.length;
  while (from < to && isBlank(from)) from += 1;
  while (to > from && isBlank(to - 1)) to -= 1;
  return text.slice(from, to);
}

function framingOf(status: number, length: string | undefined, coding: string | undefined): Framing {
  if (coding !== undefined) {
    if (length !== undefined) throw new BadAnswer('a length and a transfer encoding');
    if (coding !== 'chunked') throw new BadAnswer('an unknown transfer encoding');
    return { kind: 'chunked' };
  }
  if (length !== undefined) {
    if (!/^\d{1,15}$/.test(length)) throw new BadAnswer('a length that is none');
    return { kind: 'length', bytes: status === 204 || status === 304 ? 0 : Number(length) };
  }
  if (status < 200 || status === 204 || status === 304) return { kind: 'length', bytes: 0 };
  throw new BadAnswer('neither a length nor chunks');
}

/** Lines of sizes and trailers may be that long. */
const MAX_LINE_BYTES = 4096;

/** Takes the chunks' framing off a body. */
export class ChunkDecoder {
  #state: 'size' | 'data' | 'data-end' | 'trailer' | 'done' = 'size';
  #left = 0;
  #line = '';
  #trailerBytes = 0;

  get done(): boolean {
    return this.#state === 'done';
  }

  /**
   * Hands the content within `bytes` to `take`, piece by piece. Answers how many bytes belonged to this body: fewer
   * than given only when it is done. Throws BadAnswer.
   */
  feed(bytes: Buffer, take: (content: Buffer) => void): number {
    let at = 0;
    while (at < bytes.length && this.#state !== 'done') {
      if (this.#state === 'data') {
        const end = Math.min(bytes.length, at + this.#left);
        take(bytes.subarray(at, end));
        this.#left -= end - at;
        at = end;
        if (this.#left === 0) this.#state = 'data-end';
      } else at = this.#feedLine(bytes, at);
    }
    return at;
  }

  #feedLine(bytes: Buffer, from: number): number {
    const newline = bytes.indexOf(10, from);
    const end = newline < 0 ? bytes.length : newline + 1;
    this.#line += bytes.toString('latin1', from, end);
    if (this.#line.length > MAX_LINE_BYTES) throw new BadAnswer('a line of a chunk that does not end');
    if (newline < 0) return end;
    if (!this.#line.endsWith('\r\n')) throw new BadAnswer('a line of a chunk without CR');
    const line = this.#line.slice(0, -2);
    this.#line = '';
    this.#lineDone(line);
    return end;
  }

  #lineDone(line: string): void {
    if (this.#state === 'data-end') {
      if (line !== '') throw new BadAnswer('a chunk longer than its size');
      this.#state = 'size';
    } else if (this.#state === 'trailer') {
      this.#trailerBytes += line.length;
      if (this.#trailerBytes > MAX_HEAD_BYTES) throw new BadAnswer('trailers without end');
      if (line === '') this.#state = 'done';
    } else {
      const match = /^([0-9a-fA-F]{1,12})[ \t]*(?:;.*)?$/.exec(line);
      if (!match) throw new BadAnswer('a chunk size that is none');
      this.#left = Number.parseInt(match[1] ?? '', 16);
      this.#state = this.#left === 0 ? 'trailer' : 'data';
    }
  }
}

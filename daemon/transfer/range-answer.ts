// Checks that an answer is the range that was asked for, and reads what it says. download.ts calls it before it believes a
// byte, and the worker before it writes one unasked.
import { LhsmError } from '../../native-bindings/errors.js';
import { plainText } from '../azure-errors.js';
import type { BlobHeaders } from '../blob.js';
import { metadataOfType, RESOURCE_TYPE } from '../blob-headers.js';
import { crcOf, CRC_METADATA } from './crc-metadata.js';
import type { Answer, How } from './worker/messages.js';

export interface AskedRange {
  /** First byte. */
  readonly start: number;
  /** Behind the last byte; equal to `start` where the whole of an empty blob is asked for. */
  readonly end: number;
  readonly subject: string;
}

/** EIO, retryable: what a broken proxy or server sends, which may be right the next time. */
export function badAnswer(subject: string, what: string, op = 'Get Blob'): LhsmError {
  // What is quoted of an answer may quote our request.
  return new LhsmError(plainText(`${op}: ${subject} was answered wrongly: ${what}.`), {
    code: 'BAD_ANSWER',
    op,
    errno: 5,
    retryable: true,
  });
}

/** EIO: the blob is of another size than the file's stub. */
export function sizeMismatch(subject: string, expectedBytes: number, actualBytes: number): LhsmError {
  return new LhsmError(`Get Blob: ${subject} has ${actualBytes} bytes where the file has ${expectedBytes}.`, {
    code: 'SIZE_MISMATCH',
    op: 'Get Blob',
    errno: 5,
    hint: 'The blob was changed after it was archived or imported; see who writes to the container.',
  });
}

/** ESTALE: the blob is another version than the one being read. */
export function blobChanged(subject: string): LhsmError {
  return new LhsmError(`Get Blob: ${subject} was changed while it was read.`, {
    code: 'BLOB_CHANGED',
    op: 'Get Blob',
    errno: 116,
    hint: 'Nothing mixed was restored; try again.',
  });
}

const contentRange = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/;

/**
 * The whole blob's size, as the answer says it. Throws LhsmError BAD_ANSWER unless the body is what was asked for,
 * up to the blob's end.
 */
export function totalBytes(answer: Answer, asked: AskedRange): number {
  const { start, end, subject } = asked;
  const { status, lengthBytes: length } = answer;
  if (status === 200) {
    if (length === undefined) throw badAnswer(subject, 'no Content-Length');
    // Without a range, or, from a proxy that knows none, the whole: fine only where the whole was meant.
    if (start === end || (start === 0 && length === end)) return length;
    throw badAnswer(subject, `200 where a range was asked for`);
  }
  const range = answer.headers['content-range'];
  const match = contentRange.exec(range ?? '');
  if (!match) throw badAnswer(subject, `status ${status} with Content-Range ${range ?? 'missing'}`);
  const [first, last, total] = match.slice(1).map(Number) as [number, number, number];
  const behind = Math.min(end, total);
  if (first !== start || last !== behind - 1 || (length ?? behind - start) !== behind - start) {
    const said = `bytes ${first}-${last}/${total} of length ${length ?? 'unknown'}`;
    throw badAnswer(subject, `${said} for ${start}-${end - 1}`);
  }
  return total;
}

/** What the answer says of the blob. Throws LhsmError BAD_ANSWER when it does not say which version that is. */
export function headersOfAnswer({ headers }: Answer, sizeBytes: number, subject: string): BlobHeaders {
  const { etag } = headers;
  if (etag === undefined || etag === '') throw badAnswer(subject, 'no ETag');
  const metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith('x-ms-meta-')) metadata[name.slice('x-ms-meta-'.length)] = value;
  }
  return {
    sizeBytes,
    etag,
    blobType: headers['x-ms-blob-type'] ?? '',
    accessTier: headers['x-ms-access-tier'],
    metadata: metadataOfType(metadata, headers[RESOURCE_TYPE]),
    lastModified: dateOf(headers['last-modified']),
  };
}

/** The ETag without its quotes: what is remembered of it may have been written by another tool. */
export function bareEtag(etag: string): string {
  return etag.replaceAll('"', '');
}

/** The CRC64 that the blob's metadata tell. */
export function crcOfAnswer({ headers }: Answer): bigint | undefined {
  return crcOf(headers[`x-ms-meta-${CRC_METADATA}`]);
}

/** How the body is to be written: `holesMetadata` is the key that says `1` where holes are to be kept. */
export function howToWrite(answer: Answer, holesMetadata: string | undefined): How {
  const keepHoles = holesMetadata !== undefined && answer.headers[`x-ms-meta-${holesMetadata}`] === '1';
  return { keepHoles, crc: crcOfAnswer(answer) !== undefined };
}

export function dateOf(text: string | undefined): Date | undefined {
  const ms = Date.parse(text ?? '');
  return Number.isNaN(ms) ? undefined : new Date(ms);
}

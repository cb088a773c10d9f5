// Checks that an answer is the range that was asked for. download.ts calls it before it believes a byte.
import type { BlobDownloadResponseParsed } from '@azure/storage-blob';
import { LhsmError } from '../../native-bindings/errors.js';

export interface AskedRange {
  /** First byte. */
  readonly start: number;
  /** Behind the last byte; equal to `start` where the whole of an empty blob is asked for. */
  readonly end: number;
  readonly subject: string;
}

/** EIO, retryable: what a broken proxy or server sends, which may be right the next time. */
export function badAnswer(subject: string, what: string): LhsmError {
  return new LhsmError(`Get Blob: ${subject} was answered wrongly: ${what}.`, {
    code: 'BAD_ANSWER',
    op: 'Get Blob',
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

const contentRange = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16})$/;

/**
 * The whole blob's size, as the answer says it. Throws LhsmError BAD_ANSWER unless the body is what was asked for,
 * up to the blob's end.
 */
export function totalBytes(answer: BlobDownloadResponseParsed, asked: AskedRange): number {
  const { start, end, subject } = asked;
  const { status } = answer._response;
  const length = answer.contentLength;
  if (length === undefined) throw badAnswer(subject, 'no Content-Length');
  if (status === 200) {
    // Without a range, or, from a proxy that knows none, the whole: fine only where the whole was meant.
    if (start === end || (start === 0 && length === end)) return length;
    throw badAnswer(subject, `200 where a range was asked for`);
  }
  const match = contentRange.exec(answer.contentRange ?? '');
  if (!match)
    throw badAnswer(subject, `status ${status} with Content-Range ${answer.contentRange ?? 'missing'}`);
  const [first, last, total] = match.slice(1).map(Number) as [number, number, number];
  const behind = Math.min(end, total);
  if (first !== start || last !== behind - 1 || length !== behind - start) {
    throw badAnswer(subject, `bytes ${first}-${last}/${total} of length ${length} for ${start}-${end - 1}`);
  }
  return total;
}

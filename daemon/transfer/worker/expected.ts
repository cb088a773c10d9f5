// Whether an answer is what the main thread has said it expects: then its body is written without asking first.
// get-job.ts calls it.
import { bareEtag, howToWrite, totalBytes } from '../range-answer.js';
import type { Answer, GetCommand, How } from './messages.js';

/** How to write the body of an expected answer; undefined for one that the main thread has to judge first. */
export function howIfExpected(answer: Answer, command: GetCommand): How | undefined {
  const { expected, start, end, fileBytes } = command;
  if (!expected || !isOfVersion(answer, expected.etag)) return undefined;
  try {
    if (totalBytes(answer, { start, end, subject: '' }) !== fileBytes) return undefined;
  } catch {
    // The main thread will find the same, and has the words for it.
    return undefined;
  }
  return expected.how ?? howToWrite(answer, expected.holesMetadata);
}

function isOfVersion({ headers: { etag } }: Answer, expected: string | undefined): boolean {
  return etag !== undefined && etag !== '' && (expected === undefined || bareEtag(etag) === expected);
}

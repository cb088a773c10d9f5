// What requests for single blobs have in common, whichever container they go to: the archive's and the logging container's
// classes call it.
import type { BlobClient } from '@azure/storage-blob';
import type { Readable } from 'node:stream';
import type { Attempt } from '../azure-retry.js';
import {
  codeInBody,
  httpStatus,
  isNamelessMissing,
  isOfService,
  serviceCode,
  withCode,
} from '../azure-errors.js';

/**
 * A request that changes something, tried again when its answer is lost, may be refused for what its first try has done. `look` is
 * told of the failure and whether there was an earlier try; it answers what the lost answer said, or throws. `send` hands each
 * attempt to `tried` just before the request.
 */
export async function despiteLostAnswers<T>(
  send: (tried: (attempt: Attempt) => void) => Promise<T>,
  look: (error: unknown, mayBeDone: boolean) => Promise<T>,
): Promise<T> {
  let tries = 0;
  try {
    return await send(({ number }) => {
      tries = number;
    });
  } catch (error) {
    return look(error, tries > 1);
  }
}

/**
 * Not every proxy or emulator passes the header on that says what is missing, and a HEAD has no body that could say
 * it. A GET has. Throws the error of the HEAD with the code; as it was when nothing shows that a blob service has answered.
 */
export async function nameMissing(error: unknown, blob: BlobClient, signal: AbortSignal): Promise<never> {
  if (!isNamelessMissing(error)) throw error;
  let said: unknown = error;
  try {
    const answer = await blob.download(0, 1, { abortSignal: signal });
    (answer.readableStreamBody as Readable | undefined)?.destroy();
  } catch (second) {
    said = second;
  }
  if (httpStatus(said) !== 404) throw said;
  const code = serviceCode(said) ?? codeInBody(said);
  if (code !== undefined) throw withCode(error, code);
  throw isOfService(error) || isOfService(said) ? withCode(error, 'BlobNotFound') : error;
}

// What requests for single blobs have in common, whichever container they go to: the archive's and the logging container's
// classes call it.
import type { BlobClient } from '@azure/storage-blob';
import type { Readable } from 'node:stream';
import { LhsmError } from '../../native-bindings/errors.js';
import type { Attempt, RetryPolicy } from '../azure-retry.js';
import {
  codeInBody,
  httpStatus,
  isNamelessMissing,
  isOfService,
  serviceCode,
  withCode,
} from '../azure-errors.js';

/** A probe tells how things are now, so it is less patient than what moves content: tries, and time for all of them. */
const PROBE_TRIES = 4;
const PROBE_PATIENCE_MS = 20_000;

/** How often a probe tries what others try by this policy. */
export function probePolicy(policy: RetryPolicy): RetryPolicy {
  const tries = Math.min(policy.maxTries, PROBE_TRIES);
  return { ...policy, maxTries: tries, maxPassingTries: tries };
}

/**
 * Runs a probe of a container, its retries included, for so long. Rejects with what `run` does, and with LhsmError UNREACHABLE
 * when the time is over.
 */
export async function withinPatience(
  what: string,
  signal: AbortSignal,
  run: (signal: AbortSignal) => Promise<unknown>,
  patienceMs = PROBE_PATIENCE_MS,
): Promise<void> {
  const patience = AbortSignal.timeout(patienceMs);
  try {
    await run(AbortSignal.any([signal, patience]));
  } catch (error) {
    if (!patience.aborted || signal.aborted) throw error;
    throw new LhsmError(`${what} has not answered for ${patienceMs / 1000} s.`, {
      code: 'UNREACHABLE',
      op: 'probe',
      errno: 11,
      retryable: true,
      hint: "Check the way to the account: routes, firewall, the account's network rules.",
    });
  }
}

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

// Tries again what may work the next time: exponential backoff with jitter, Retry-After, one pause for everybody
// after a throttle. The blobs and transfer rooms wrap every request in it (the SDK's own retries are off: they
// know neither jitter nor Retry-After, and cannot say that an answer was lost).
import { setTimeout as delay } from 'node:timers/promises';
import type { LhsmError } from '../native-bindings/errors.js';
import { azureError, canceled, isThrottle, retryAfterMs } from './azure-errors.js';

export interface RetryPolicy {
  /** Tries of one request, or of one stretch without progress, before it fails. */
  readonly maxTries: number;
  /** The first pause is between half of this and this; each later one doubles. */
  readonly baseDelayMs: number;
  readonly maxDelayMs: number;
}

export const DEFAULT_RETRY_POLICY: RetryPolicy = { maxTries: 6, baseDelayMs: 500, maxDelayMs: 30_000 };

/** The longest that a Retry-After may hold us: a heartbeat keeps the action alive meanwhile. */
const MAX_RETRY_AFTER_MS = 120_000;

/** A pause that all requests of one account share: who is throttled speaks for all. */
export class ThrottleGate {
  #openAt = 0;

  /** Closes the gate for that long from now; never opens it earlier than it would. */
  close(ms: number): void {
    this.#openAt = Math.max(this.#openAt, performance.now() + ms);
  }

  /** Waits until the gate is open. Rejects with ECANCELED when `signal` aborts. */
  async pass(op: string, signal: AbortSignal): Promise<void> {
    for (;;) {
      const waitMs = this.#openAt - performance.now();
      if (waitMs <= 0) return;
      await pause(waitMs, op, signal);
    }
  }
}

/** A gate for each account, told apart by the host of its URLs. */
export class ThrottleGates {
  readonly #byHost = new Map<string, ThrottleGate>();

  of(url: string): ThrottleGate {
    const { host } = new URL(url);
    let gate = this.#byHost.get(host);
    if (gate === undefined) this.#byHost.set(host, (gate = new ThrottleGate()));
    return gate;
  }
}

export async function pause(ms: number, op: string, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, { signal });
  } catch {
    throw canceled(op);
  }
}

/** The pause after the n-th failure in a row, n from 1, jitter included. */
export function backoffMs(policy: RetryPolicy, failures: number, random = Math.random): number {
  const full = Math.min(policy.maxDelayMs, policy.baseDelayMs * 2 ** Math.min(failures - 1, 30));
  return full * (0.5 + random() / 2);
}

/** A call, for the compiler believes that a flag it has once seen false stays so. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** What an attempt knows of those before it, and may tell of itself. */
export interface Attempt {
  /** From 1. */
  readonly number: number;
  /** The count of failures in a row begins anew: something got through this time. */
  madeProgress(): void;
}

export interface RetryOptions {
  readonly policy: RetryPolicy;
  readonly op: string;
  /** Names what the request is about in an error. */
  readonly subject: string;
  readonly signal: AbortSignal;
  readonly gate?: ThrottleGate;
  readonly onThrottle?: () => void;
  readonly onRetry?: (error: LhsmError) => void;
}

/**
 * Runs `attempt` until it succeeds, fails for good, or has failed `maxTries` times in a row. Rejects with LhsmError.
 */
export async function withRetries<T>(
  options: RetryOptions,
  attempt: (at: Attempt) => Promise<T>,
): Promise<T> {
  const { policy, op, subject, signal, gate } = options;
  let failures = 0;
  for (let number = 1; ; number += 1) {
    if (signal.aborted) throw canceled(op);
    await gate?.pass(op, signal);
    const state = { progress: false };
    const at: Attempt = {
      number,
      madeProgress() {
        state.progress = true;
      },
    };
    try {
      return await attempt(at);
    } catch (raw) {
      if (isAborted(signal)) throw canceled(op);
      const error = azureError(raw, op, subject);
      failures = state.progress ? 1 : failures + 1;
      const throttled = isThrottle(raw);
      if (throttled) options.onThrottle?.();
      if (!error.retryable || failures >= policy.maxTries) throw error;
      const asked = Math.min(retryAfterMs(raw) ?? 0, MAX_RETRY_AFTER_MS);
      const waitMs = Math.max(asked, backoffMs(policy, failures));
      if (throttled) gate?.close(Math.max(asked, waitMs / 2));
      options.onRetry?.(error);
      await pause(waitMs, op, signal);
    }
  }
}

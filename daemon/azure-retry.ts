// Tries again what may work the next time: exponential backoff with jitter, Retry-After, one pause for everybody
// after a throttle. The blobs and transfer rooms wrap every request in it (the SDK's own retries are off: they
// know neither jitter nor Retry-After, and cannot say that an answer was lost).
import { setTimeout as delay } from 'node:timers/promises';
import type { LhsmError } from '../native-bindings/errors.js';
import { azureError, canceled, isThrottle, retryAfterMs } from './azure-errors.js';
import { defaults } from './config/defaults.js';
import { signalOf, type Ends } from './stop.js';

export interface RetryPolicy {
  /** Tries of one request, or of one stretch without progress, before it fails. */
  readonly maxTries: number;
  /**
   * The same for what passes by itself, UNREACHABLE and THROTTLED: an outage lasts longer than any number of tries worth
   * having. Infinity leaves it to `retryForMs`; undefined is `maxTries`.
   */
  readonly maxPassingTries?: number;
  /**
   * How long what passes by itself is tried again without progress: of the request when nobody answers, of anybody at the
   * gate when all are asked for patience, but then of the request for four times as long at most: one blob may be refused
   * for ever while all others are served.
   */
  readonly retryForMs?: number;
  /** The first pause is between half of this and this; each later one doubles. */
  readonly baseDelayMs: number;
  readonly maxDelayMs: number;
}

export const DEFAULT_RETRY_POLICY: RetryPolicy = {
  maxTries: defaults.transfer.max_tries,
  retryForMs: defaults.transfer.retry_for_s * 1000,
  baseDelayMs: 500,
  maxDelayMs: 30_000,
};

export interface RetryOfConfig {
  readonly maxTries?: number | undefined;
  readonly retryForMs?: number | undefined;
  readonly retryDelayMs?: number | undefined;
}

/**
 * The policy that the configuration means: UNREACHABLE and THROTTLED are bounded by time. Who sets fewer tries than the
 * default wants to know sooner, and gets both bounds; without `retryForMs` the tries bound everything.
 */
export function retryPolicyOf({ maxTries, retryForMs, retryDelayMs }: RetryOfConfig): RetryPolicy {
  const tries = maxTries ?? defaults.transfer.max_tries;
  const isPatient = retryForMs !== undefined && tries >= defaults.transfer.max_tries;
  return {
    ...DEFAULT_RETRY_POLICY,
    maxTries: tries,
    maxPassingTries: isPatient ? Infinity : tries,
    ...(retryForMs === undefined ? {} : { retryForMs }),
    ...(retryDelayMs === undefined ? {} : { baseDelayMs: retryDelayMs }),
  };
}

/** How many times `retryForMs` a request may be refused in a row while others get through. */
const MOST_PATIENCE = 4;

/** The longest that a Retry-After may hold us: a heartbeat keeps the action alive meanwhile. */
const MAX_RETRY_AFTER_MS = 120_000;

/** The gate's first pause and its longest: short, for the service forgives within a second or two. */
const GATE_MS = { first: 50, longest: 5000 };

/** What each success takes off the gate's pause: some fifty of them halve it, one refusal doubles it. */
const EASING = 1 / 64;

/**
 * A pause that all requests of one account share: who is throttled speaks for all. It is the gate's own, short and
 * longer only as refusals go on; waiters leave one by one, or the next wave would be refused like the last.
 */
export class ThrottleGate {
  #openAt = 0;
  #closedAt = -Infinity;
  #pauseMs = 0;
  #progressAt = -Infinity;

  /** When something last got through. */
  get progressAt(): number {
    return this.#progressAt;
  }

  get isOpen(): boolean {
    return this.#openAt <= performance.now();
  }

  /** Closes the gate for that long from now; never opens it earlier than it would. */
  close(ms: number): void {
    this.#closedAt = performance.now();
    this.#openAt = Math.max(this.#openAt, this.#closedAt + ms);
  }

  /**
   * A request that began at `since` was refused, and asked for so much patience. Answers whether it is the first of its wave:
   * the others say nothing new, and it is not their own failure either.
   */
  refused(since: number, askedMs: number): boolean {
    const isFirst = this.#closedAt < since;
    if (isFirst) this.#pauseMs = Math.min(GATE_MS.longest, Math.max(GATE_MS.first, this.#pauseMs * 2));
    if (isFirst || askedMs > 0) this.close(Math.max(askedMs, isFirst ? this.#pauseMs : 0));
    return isFirst;
  }

  /** A request got through. */
  passed(): void {
    this.#progressAt = performance.now();
    this.#pauseMs *= 1 - EASING;
  }

  /** Waits until the gate is open, and its turn after that. Rejects with ECANCELED when `signal` aborts. */
  async pass(op: string, signal: Ends): Promise<void> {
    for (;;) {
      const openAt = this.#openAt;
      const waitMs = openAt - performance.now();
      if (waitMs <= 0) return;
      await pause(waitMs + Math.random() * this.#pauseMs, op, signal);
      if (openAt === this.#openAt) return;
    }
  }
}

/** A gate for each account, told apart by the host of its URLs. */
export class ThrottleGates {
  readonly #byHost = new Map<string, ThrottleGate>();

  of(url: string): ThrottleGate {
    const host = hostOf(url);
    let gate = this.#byHost.get(host);
    if (gate === undefined) this.#byHost.set(host, (gate = new ThrottleGate()));
    return gate;
  }
}

/** Host and port as they stand in a URL. */
export function hostOf(url: string): string {
  const from = url.indexOf('//') + 2;
  const to = url.indexOf('/', from);
  return url.slice(from, to < 0 ? undefined : to);
}

export async function pause(ms: number, op: string, signal: Ends): Promise<void> {
  try {
    await delay(ms, undefined, { signal: signalOf(signal) });
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
function isAborted(signal: Ends): boolean {
  return signal.aborted;
}

/** What an attempt knows of those before it, and may tell of itself. */
export interface Attempt {
  /** From 1. */
  readonly number: number;
  /** The count of failures in a row begins anew: something got through this time. */
  madeProgress(): void;
  /**
   * After a wait of our own (for a place, for bandwidth): waits until the account's gate is open, and counts the time
   * from now. Rejects with ECANCELED when the signal aborts.
   */
  begin(): Promise<void>;
}

class OneOf implements Attempt {
  readonly number: number;
  progress = false;
  began = performance.now();
  readonly #options: RetryOptions;

  constructor(number: number, options: RetryOptions) {
    this.number = number;
    this.#options = options;
  }

  madeProgress(): void {
    this.progress = true;
  }

  async begin(): Promise<void> {
    const { gate, op, signal } = this.#options;
    await gate?.pass(op, signal);
    this.began = performance.now();
  }
}

export interface RetryOptions {
  readonly policy: RetryPolicy;
  readonly op: string;
  /** Names what the request is about in an error. */
  readonly subject: string;
  readonly signal: Ends;
  readonly gate?: ThrottleGate;
  readonly onThrottle?: () => void;
  readonly onRetry?: (error: LhsmError) => void;
}

/**
 * Runs `attempt` until it succeeds, fails for good, or has used up the policy's patience. Rejects with LhsmError.
 */
export async function withRetries<T>(
  options: RetryOptions,
  attempt: (at: Attempt) => Promise<T>,
): Promise<T> {
  const { policy, op, subject, signal, gate } = options;
  let failures = 0;
  /** When the failures in a row began. */
  let since: number | undefined;
  for (let number = 1; ; number += 1) {
    if (signal.aborted) throw canceled(op);
    if (gate?.isOpen === false) await gate.pass(op, signal);
    const at = new OneOf(number, options);
    try {
      const value = await attempt(at);
      gate?.passed();
      return value;
    } catch (raw) {
      if (isAborted(signal)) throw canceled(op);
      const error = azureError(raw, op, subject);
      if (at.progress) {
        failures = 0;
        since = undefined;
        gate?.passed();
      }
      since ??= at.began;
      const throttled = isThrottle(raw);
      const asked = Math.min(retryAfterMs(raw) ?? 0, MAX_RETRY_AFTER_MS);
      if (throttled) options.onThrottle?.();
      const isOwn = !throttled || gate === undefined || gate.refused(at.began, asked);
      if (isOwn) failures += 1;
      // While others get through, the service only asks for patience, and that is what time at the gate is.
      const stuckSince = throttled ? Math.max(since, gate?.progressAt ?? since) : since;
      const nowMs = performance.now();
      const stuckMs = Math.max(nowMs - stuckSince, (nowMs - since) / MOST_PATIENCE);
      if (!error.retryable || isOver(policy, error, failures, stuckMs)) throw error;
      options.onRetry?.(error);
      if (isOwn) await pause(Math.max(asked, backoffMs(policy, failures)), op, signal);
    }
  }
}

function isOver(policy: RetryPolicy, error: LhsmError, failures: number, stuckMs: number): boolean {
  if (error.code !== 'UNREACHABLE' && error.code !== 'THROTTLED') return failures >= policy.maxTries;
  const { maxPassingTries = policy.maxTries, retryForMs = Infinity } = policy;
  return failures >= maxPassingTries || stuckMs >= retryForMs;
}

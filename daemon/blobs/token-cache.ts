// Keeps a credential's token for everything that signs with it. The SDK renews tokens in the background on its own
// account, where a failure belongs to nobody and ends the process; credentials.ts puts this between the two.
import type { AccessToken, GetTokenOptions, TokenCredential } from '@azure/identity';
import { azureError, tokenError } from '../azure-errors.js';

/** A token is renewed when so much of its life is left, or a quarter of it when it lives shortly. */
const EARLY_MS = 10 * 60_000;

/** How long after a failed early renewal the next one is tried. */
const RETRY_MS = 30_000;

/** How long one renewal may take: the endpoints of identities sometimes do not answer at all. */
const FLIGHT_MS = 60_000;

/** A token that expires this soon is not handed out: the request that carries it has a way to go. */
const MARGIN_MS = 5000;

interface Entry {
  token?: AccessToken;
  /** When to renew early. */
  renewAt: number;
  /** It has been refused: another one is waited for, and it is used again only if there is none. */
  isSuspect?: boolean;
  flight?: Promise<AccessToken> | undefined;
}

export interface TokenCacheOptions {
  readonly now?: () => number;
  readonly flightMs?: number;
}

/**
 * A credential whose renewals are its own: one at a time, early, and a failure of one keeps the token that is still valid. Only
 * when there is none does a caller wait, and get the failure: LhsmError code TOKEN_FAILED.
 *
 * The tokens are handed out as expired. The SDK then asks for one at each request and waits for the answer, so that
 * its own renewal in the background never begins.
 */
export class TokenCache implements TokenCredential {
  readonly #credential: TokenCredential;
  readonly #now: () => number;
  readonly #flightMs: number;
  readonly #entries = new Map<string, Entry>();

  constructor(credential: TokenCredential, options: TokenCacheOptions = {}) {
    this.#credential = credential;
    this.#now = options.now ?? Date.now;
    this.#flightMs = options.flightMs ?? FLIGHT_MS;
  }

  async getToken(scopes: string | string[], options: GetTokenOptions = {}): Promise<AccessToken> {
    const { abortSignal, claims, tenantId, enableCae } = options;
    const key = JSON.stringify([scopes, tenantId, enableCae]);
    const entry = this.#entries.get(key) ?? { renewAt: 0 };
    this.#entries.set(key, entry);
    // A challenge says that the token is no good any more, however long it has to live.
    if (claims !== undefined) delete entry.token;
    const now = this.#now();
    const { token } = entry;
    if (token && token.expiresOnTimestamp - MARGIN_MS > now) {
      if (entry.isSuspect === true) {
        entry.isSuspect = false;
        const renewed = this.#renew(entry, scopes, options).catch(() => token);
        return handedOut(await unlessAborted(renewed, abortSignal));
      }
      if (now >= entry.renewAt) {
        entry.renewAt = now + RETRY_MS;
        // Nobody waits for it: the token at hand will do, and whoever finds none at hand is told what is wrong.
        this.#renew(entry, scopes, options).catch(() => undefined);
      }
      return handedOut(token);
    }
    return handedOut(await unlessAborted(this.#renew(entry, scopes, options), abortSignal));
  }

  /**
   * This token has been refused: whoever asks next waits for another one, if the credential has one. Nothing happens when
   * it is not the one at hand any more: many requests may have been refused together.
   */
  suspect(refused: string): void {
    for (const entry of this.#entries.values()) {
      if (entry.token?.token === refused) entry.isSuspect = true;
    }
  }

  #renew(entry: Entry, scopes: string | string[], options: GetTokenOptions): Promise<AccessToken> {
    entry.flight ??= this.#ask(scopes, options)
      .then((token) => {
        const now = this.#now();
        const left = token.expiresOnTimestamp - now;
        entry.token = token;
        entry.isSuspect = false;
        entry.renewAt = Math.min(
          token.expiresOnTimestamp - Math.min(EARLY_MS, left / 4),
          // What the identity service itself advises, unless that has passed and would have us ask at every request.
          Math.max(token.refreshAfterTimestamp ?? Infinity, now + RETRY_MS),
        );
        return token;
      })
      .finally(() => {
        entry.flight = undefined;
      });
    return entry.flight;
  }

  async #ask(scopes: string | string[], options: GetTokenOptions): Promise<AccessToken> {
    const patience = AbortSignal.timeout(this.#flightMs);
    try {
      // One caller's abort must not take the others' token away.
      const asked = this.#credential.getToken(scopes, { ...options, abortSignal: patience });
      const token = await unlessAborted(asked, patience);
      if (token === null) throw new Error('the credential gave no token');
      return token;
    } catch (error) {
      throw tokenError(patience.aborted ? new Error('the identity endpoint did not answer') : error);
    }
  }
}

function handedOut({ token, tokenType }: AccessToken): AccessToken {
  return { token, expiresOnTimestamp: 0, ...(tokenType === undefined ? {} : { tokenType }) };
}

/** The promise's outcome, or a rejection as soon as the signal aborts. */
async function unlessAborted<T>(promise: Promise<T>, signal: GetTokenOptions['abortSignal']): Promise<T> {
  if (!signal) return promise;
  let stop: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => {
      reject(azureError(Object.assign(new Error('aborted'), { name: 'AbortError' }), 'Get Token', 'token'));
    };
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop);
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    if (stop) signal.removeEventListener('abort', stop);
  }
}

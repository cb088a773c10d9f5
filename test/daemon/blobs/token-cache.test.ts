// Tokens: renewed early and once for all, kept while they are valid, and a failure reaches only who has no other.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { AccessToken, TokenCredential } from '@azure/identity';
import t from 'tap';
import { AzureClients } from '../../../daemon/azure-client.js';
import { withRetries } from '../../../daemon/azure-retry.js';
import { resolveCredential } from '../../../daemon/blobs/credentials.js';
import { TokenCache } from '../../../daemon/blobs/token-cache.js';
import { selfSigned } from '../../helpers/self-signed.js';

const HOUR = 3_600_000;
const scope = 'https://storage.azure.com/.default';

/** A clock that stands, and a credential whose answers the test gives. */
function bench(): {
  cache: TokenCache;
  asked: () => number;
  at: { now: number; answer: () => Promise<AccessToken | null> };
} {
  let asked = 0;
  const at = {
    now: 1_000_000,
    answer: (): Promise<AccessToken | null> =>
      Promise.resolve({ token: `t${asked}`, expiresOnTimestamp: at.now + HOUR }),
  };
  const credential: TokenCredential = {
    getToken: () => {
      asked += 1;
      return at.answer();
    },
  };
  const cache = new TokenCache(credential, { now: () => at.now, flightMs: 50 });
  return { cache, at, asked: () => asked };
}

const fails = (): Promise<never> => Promise.reject(new Error('the endpoint is down'));

t.test('one token for all, asked for once, renewed early behind their backs', async (t) => {
  const { cache, at, asked } = bench();
  const [one, two] = await Promise.all([cache.getToken(scope), cache.getToken(scope)]);
  t.equal(one.token, 't1');
  t.equal(two.token, 't1');
  t.equal(asked(), 1);
  t.ok(one.expiresOnTimestamp < at.now, "handed out as expired: the SDK's own window never opens");
  t.equal(one.refreshAfterTimestamp, undefined);
  at.now += HOUR - 9 * 60_000;
  t.equal((await cache.getToken(scope)).token, 't1', 'nobody waits for the renewal');
  await delay(0);
  t.equal((await cache.getToken(scope)).token, 't2');
  t.equal(asked(), 2);
});

t.test('a renewal that fails keeps the token while it is valid, then the caller is told', async (t) => {
  const { cache, at, asked } = bench();
  await cache.getToken(scope);
  at.answer = fails;
  at.now += HOUR - 60_000;
  for (let n = 0; n < 3; n += 1) {
    t.equal((await cache.getToken(scope)).token, 't1');
    await delay(0);
  }
  t.equal(asked(), 2, 'and it is not tried at every request');
  at.now += 60_000;
  await t.rejects(cache.getToken(scope), {
    code: 'TOKEN_FAILED',
    errno: 13,
    message: /the endpoint is down/,
  });
  at.answer = () => Promise.resolve({ token: 'new', expiresOnTimestamp: at.now + HOUR });
  t.equal((await cache.getToken(scope)).token, 'new');
});

t.test('an endpoint that does not answer, or gives nothing, is a failure, too', async (t) => {
  const { cache, at } = bench();
  at.answer = () => new Promise(() => undefined);
  // An unreferenced timer alone would not keep the test alive.
  const alive = setInterval(() => undefined, 10);
  await t.rejects(cache.getToken(scope), { code: 'TOKEN_FAILED', message: /did not answer/ });
  const abort = new AbortController();
  const waiting = cache.getToken(scope, { abortSignal: abort.signal });
  abort.abort();
  await t.rejects(waiting, { code: 'ECANCELED' });
  clearInterval(alive);
  at.answer = () => Promise.resolve(null);
  await delay(60);
  await t.rejects(cache.getToken(scope), { code: 'TOKEN_FAILED' });
});

t.test('a challenge gets a new token', async (t) => {
  const { cache } = bench();
  await cache.getToken(scope);
  t.equal((await cache.getToken(scope, { claims: 'x' })).token, 't2');
});

t.test('a token that was refused is replaced once, and used again only if there is no other', async (t) => {
  let given = 0;
  let fails = false;
  const cache = new TokenCache({
    getToken: () => {
      if (fails) return Promise.reject(new Error('the identity endpoint is out'));
      given += 1;
      return Promise.resolve({ token: `t${given}`, expiresOnTimestamp: Date.now() + 3_600_000 });
    },
  });
  const ask = async (): Promise<string> => (await cache.getToken('scope')).token;
  t.equal(await ask(), 't1');
  cache.suspect('t1');
  t.same(await Promise.all([ask(), ask()]).then(([first]) => first), 't2');
  cache.suspect('t1');
  t.equal(await ask(), 't2', 'who hears late that the former one was refused asks for nothing');
  fails = true;
  cache.suspect('t2');
  t.equal(await ask(), 't2', 'better than none: it may have been refused for its rights');
  t.equal(given, 2);
});

t.test('each credential that gives tokens is kept so', (t) => {
  const { auth } = resolveCredential({ type: 'managed-identity' });
  t.ok(auth.kind === 'token' && auth.credential instanceof TokenCache);
  t.end();
});

t.test('the SDK with a credential that fails at renewal: nothing is left unhandled', async (t) => {
  const { cert, key } = selfSigned();
  const dir = mkdtempSync(join(tmpdir(), 'lhsm-token-'));
  const caFile = join(dir, 'ca.pem');
  writeFileSync(caFile, cert);
  const server = createServer({ cert, key }, (_, response) => {
    response.writeHead(200, {
      etag: '"1"',
      'content-length': '0',
      'x-ms-blob-type': 'BlockBlob',
      'last-modified': 'Sun, 22 Nov 2026 09:32:49 GMT',
    });
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const clients = new AzureClients({ caFile });
  const unhandled: unknown[] = [];
  const note = (reason: unknown): void => void unhandled.push(reason);
  process.on('unhandledRejection', note);
  t.teardown(() => {
    process.off('unhandledRejection', note);
    clients.close();
    server.close();
    rmSync(dir, { recursive: true });
  });
  let asked = 0;
  const credential: TokenCredential = {
    getToken: () => {
      asked += 1;
      if (asked > 1) return fails();
      return Promise.resolve({ token: 't1', expiresOnTimestamp: Date.now() + 1500 });
    },
  };
  // The cache's clock is behind, so that the token is valid for it beyond the moment at which the SDK would renew it.
  let behindMs = 60_000;
  const cache = new TokenCache(credential, { now: () => Date.now() - behindMs });
  const url = `https://localhost:${(server.address() as AddressInfo).port}/c/b`;
  const blob = clients.blob({ url, auth: { kind: 'token', credential: cache } });
  for (let n = 0; n < 2; n += 1) t.equal((await blob.getProperties()).etag, '"1"');
  await delay(3000);
  t.equal((await blob.getProperties()).etag, '"1"');
  t.same(unhandled, []);
  behindMs = 0;
  const policy = { maxTries: 2, baseDelayMs: 1, maxDelayMs: 1 };
  const { signal } = new AbortController();
  const running = withRetries({ policy, op: 'Get Blob Properties', subject: 'blob', signal }, () =>
    blob.getProperties(),
  );
  await t.rejects(running, { code: 'TOKEN_FAILED', errno: 13 });
  await delay(0);
  t.same(unhandled, []);
});

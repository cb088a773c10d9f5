// What lets the requests in that the SDK does not make, and what of it may never end up in a request line.
import { StorageSharedKeyCredential } from '@azure/storage-blob';
import t from 'tap';
import type { BlobAuth, BlobLocation } from '../../../daemon/blob.js';
import { Authorizer } from '../../../daemon/transfer/auth.js';

const KEY = Buffer.alloc(64, 1).toString('base64');
const PATH_STYLE = 'http://127.0.0.1:10000/account/container/dir/file';
const HOST_STYLE = 'https://account.blob.core.windows.net/container/dir/file';
const HOUR_MS = 3_600_000;

const sas = (query: () => string): BlobAuth => ({ kind: 'sas', query });
const sharedKey = (): BlobAuth => ({
  kind: 'shared-key',
  credential: new StorageSharedKeyCredential('account', KEY),
});
function token(getToken: () => Promise<string | null>, renew?: (refused: string) => void): BlobAuth {
  const credential = {
    getToken: async () => {
      const text = await getToken();
      return text === null ? null : { token: text, expiresOnTimestamp: 0 };
    },
  };
  return { kind: 'token', credential, ...(renew ? { renew } : {}) };
}

/** The SAS of a target made with an account key. */
async function sasFor(auth: Authorizer, blob: BlobLocation): Promise<URLSearchParams> {
  const { path } = await auth.target(blob, '', '');
  return new URLSearchParams(path.slice(path.indexOf('?')));
}

t.test('a SAS is appended to the query, and asked for anew each time', async (t) => {
  const auth = new Authorizer();
  let rotated = 0;
  const blob = { url: HOST_STYLE, auth: sas(() => `sv=1&sig=${(rotated += 1)}`) };
  const { origin, path, headers } = await auth.target(blob, '', 'x-ms-range: bytes=0-1\r\n');
  t.equal(origin, 'https://account.blob.core.windows.net');
  t.equal(path, '/container/dir/file?sv=1&sig=1');
  t.match(
    headers,
    /^host: account\.blob\.core\.windows\.net\r\nuser-agent: lhsm-azblob\/\S+\r\nx-ms-version: [\d-]+\r\n/,
  );
  t.match(headers, /\r\nx-ms-range: bytes=0-1\r\n$/);
  t.notMatch(headers, /authorization/);
  t.equal(
    (await auth.target(blob, 'comp=block&blockid=a', '')).path,
    '/container/dir/file?comp=block&blockid=a&sv=1&sig=2',
  );
  t.equal((await auth.target({ ...blob, auth: sas(() => '') }, '', '')).path, '/container/dir/file');
});

t.test('a token goes into a header', async (t) => {
  const auth = new Authorizer();
  const tokens = ['first', 'second'];
  const blob = { url: HOST_STYLE, auth: token(() => Promise.resolve(tokens.shift() ?? null)) };
  const { path, headers } = await auth.target(blob, 'comp=x', '');
  t.equal(path, '/container/dir/file?comp=x');
  t.match(headers, /\r\nauthorization: Bearer first\r\n$/);
  t.match((await auth.target(blob, '', '')).headers, /Bearer second/);
  await t.rejects(auth.target(blob, '', ''), { code: 'TOKEN_FAILED', errno: 13 }, 'no token');
});

t.test('a token is never sent over plain HTTP, nor one that would begin another header', async (t) => {
  const auth = new Authorizer();
  let asked = 0;
  const blob = {
    url: PATH_STYLE,
    auth: token(() => {
      asked += 1;
      return Promise.resolve('secret');
    }),
  };
  await t.rejects(auth.target(blob, '', ''), { code: 'INSECURE_URL', errno: 13 });
  t.equal(asked, 0, 'it is not even asked for');
  for (const bad of ['a\r\nb: c', 'a b', '', 'é']) {
    const target = auth.target({ url: HOST_STYLE, auth: token(() => Promise.resolve(bad)) }, '', '');
    await t.rejects(target, { code: 'TOKEN_FAILED', errno: 13 });
  }
});

t.test('renewal is asked of whoever can, for the very token that was refused', async (t) => {
  const auth = new Authorizer();
  const refused: string[] = [];
  const all = [
    token(
      () => Promise.resolve('t.1-_~+/='),
      (which) => refused.push(which),
    ),
    token(() => Promise.resolve('t')),
    sas(() => 'sig=1'),
    sharedKey(),
  ];
  for (const each of all) {
    const blob = { url: HOST_STYLE, auth: each };
    auth.renew(blob, await auth.target(blob, '', ''));
  }
  t.same(refused, ['t.1-_~+/=']);
});

t.test(
  'an account key gives a SAS of its container that lives an hour and is replaced after half of it',
  async (t) => {
    let now = Date.parse('2026-11-22T10:00:00Z');
    const auth = new Authorizer(() => now);
    const blob = { url: HOST_STYLE, auth: sharedKey() };
    const first = await sasFor(auth, blob);
    t.match(Object.fromEntries(first), { sr: 'c', sp: 'racw', se: '2026-11-22T11:00:00Z' });
    t.equal(first.has('st'), false, 'valid at once, wherever the clocks stand');
    now += HOUR_MS / 2 - 1;
    t.equal(String(await sasFor(auth, blob)), String(first), 'kept');
    now += 1;
    const second = await sasFor(auth, blob);
    t.equal(second.get('se'), '2026-11-22T11:30:00Z');
    now += 1000;
    t.equal(String(await sasFor(auth, blob)), String(second), 'kept');
    auth.renew(blob, await auth.target(blob, '', ''));
    t.equal((await sasFor(auth, blob)).get('se'), '2026-11-22T11:30:01Z', 'made anew when it was refused');
    const { path, headers } = await auth.target(blob, '', '');
    t.notOk((path + headers).includes(KEY));
  },
);

t.test('the container is found in URLs of both styles', async (t) => {
  const now = (): number => 0;
  const made = async (url: string, account = 'account'): Promise<string> => {
    const credential = new StorageSharedKeyCredential(account, KEY);
    return String(await sasFor(new Authorizer(now), { url, auth: { kind: 'shared-key', credential } }));
  };
  const expected = await made(HOST_STYLE);
  const other = await made('https://account.blob.core.windows.net/other/dir/file');
  t.not(other, expected, 'the signature depends on the container');
  t.equal(await made(PATH_STYLE), expected);
  t.equal(await made('https://account.privatelink.example/container/x'), expected);
  t.equal(await made('http://localhost:1/account/other/container'), other);
  t.equal(await made('https://account.blob.core.windows.net/other/container/x'), other);
  const same = await made('https://account.blob.core.windows.net/account/container/x');
  t.not(same, expected, 'a container called like its account');
  t.equal(await made('http://127.0.0.1:1/account/account/container'), same);
  const root = await made('https://account.blob.core.windows.net/%24root/x');
  t.equal(await made('http://127.0.0.1:1/account/$root/x'), root, 'as it is called, not as it is written');
});

t.test('containers do not share a SAS, credentials neither', async (t) => {
  const auth = new Authorizer(() => 0);
  const key = sharedKey();
  const one = await sasFor(auth, { url: HOST_STYLE, auth: key });
  const two = await sasFor(auth, { url: HOST_STYLE.replace('/container/', '/other/'), auth: key });
  t.not(one.get('sig'), two.get('sig'));
  const credential = new StorageSharedKeyCredential('account', Buffer.alloc(64, 2).toString('base64'));
  const three = await sasFor(auth, { url: HOST_STYLE, auth: { kind: 'shared-key', credential } });
  t.not(one.get('sig'), three.get('sig'));
});

t.test('what would end a request line, or a header, is refused, and no secret is shown', async (t) => {
  const auth = new Authorizer();
  const secret = 'sv=1&sig=c2VjcmV0';
  const refused = { code: 'REFUSED', errno: 22, message: /cannot be asked for/ };
  const ends = ['a b', 'a\r\nb: c', 'a\nb', 'a\tb', 'a\0b', 'é', 'a\x7f'];
  for (const end of ends) {
    const bad: readonly BlobLocation[] = [
      { url: `${HOST_STYLE}/${end}`, auth: sas(() => secret) },
      { url: `https://${end}/container/x`, auth: sas(() => secret) },
      { url: HOST_STYLE, auth: sas(() => `${secret}${end}`) },
    ];
    for (const blob of bad) {
      const error: unknown = await auth.target(blob, '', '').catch((thrown: unknown) => thrown);
      t.match(error, refused);
      t.notMatch(String(error), 'c2VjcmV0');
    }
    await t.rejects(auth.target({ url: HOST_STYLE, auth: sas(() => secret) }, end, ''), refused);
  }
  await t.rejects(
    auth.target({ url: 'https://account', auth: sas(() => secret) }, '', ''),
    refused,
    'no path',
  );
});

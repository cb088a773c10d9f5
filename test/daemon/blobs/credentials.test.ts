// Credentials: every kind, every way a secret can be wrong, rotation, and that nothing secret is ever shown.
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { inspect } from 'node:util';
import t, { type Test } from 'tap';
import { containerAddress } from '../../../daemon/blobs/container-url.js';
import { resolveCredential, type ResolvedCredential } from '../../../daemon/blobs/credentials.js';
import { Secret } from '../../../daemon/blobs/secret.js';
import type { CredentialConfig } from '../../../daemon/config/config.js';
import { describeError } from '../../../native-bindings/errors.js';

const KEY = Buffer.alloc(64, 7).toString('base64');
const SAS = 'sv=2025-01-05&sr=c&sp=rwdl&se=2099-01-01&sig=c2VjcmV0LXNpZ25hdHVyZQ%3D%3D';

function folder(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'lhsm-secrets-'));
  t.teardown(() => {
    rmSync(dir, { recursive: true });
  });
  return dir;
}

function withFile(t: Test, content: string, config: (file: string) => CredentialConfig): ResolvedCredential {
  const file = join(folder(t), 'secret');
  writeFileSync(file, content);
  return resolveCredential(config(file), { account: 'acct' });
}

const sas = (file: string): CredentialConfig => ({ type: 'sas', file });
const accountKey = (file: string): CredentialConfig => ({ type: 'account-key', file });
const connection = (file: string): CredentialConfig => ({ type: 'connection-string', file });

t.test('a secret prints as [secret] however it is printed', (t) => {
  const secret = new Secret('hunter2');
  const holder = { secret, list: [secret] };
  const shown = [
    String(secret),
    JSON.stringify(holder),
    inspect(holder),
    secret.toString(),
    inspect(secret, { showHidden: true }),
  ];
  for (const text of shown) t.match(text, /\[secret\]/);
  t.notMatch(shown.join(), /hunter2/);
  t.equal(secret.reveal(), 'hunter2');
  t.end();
});

t.test('account key: with its own account, or that of the URL', (t) => {
  const { auth } = withFile(t, `${KEY}\n`, accountKey);
  t.match(auth, { kind: 'shared-key', credential: { accountName: 'acct' } });
  const named = withFile(t, KEY, (file) => ({ type: 'account-key', file, account: 'other' }));
  t.match(named.auth, { credential: { accountName: 'other' } });
  const file = join(folder(t), 'key');
  writeFileSync(file, KEY);
  t.throws(() => resolveCredential(accountKey(file)), { code: 'CREDENTIAL_INVALID', hint: /account = / });
  t.end();
});

t.test('connection strings: key, SAS, development, endpoint suffix', (t) => {
  const key = withFile(
    t,
    `DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=${KEY};EndpointSuffix=core.chinacloudapi.cn`,
    connection,
  );
  t.match(key, { auth: { kind: 'shared-key' }, serviceUrl: 'https://acct.blob.core.chinacloudapi.cn' });
  const endpoint = withFile(
    t,
    `AccountName=a;AccountKey=${KEY};BlobEndpoint=http://127.0.0.1:10000/a/;`,
    connection,
  );
  t.match(endpoint, { auth: { credential: { accountName: 'a' } }, serviceUrl: 'http://127.0.0.1:10000/a' });
  const shared = withFile(
    t,
    `BlobEndpoint=https://acct.blob.core.windows.net/;SharedAccessSignature=?${SAS}`,
    connection,
  );
  t.equal(shared.serviceUrl, 'https://acct.blob.core.windows.net');
  t.equal(shared.auth.kind === 'sas' ? shared.auth.query() : '', SAS, 'the = signs within it kept');
  const development = withFile(t, 'UseDevelopmentStorage=true', connection);
  t.match(development, {
    auth: { credential: { accountName: 'devstoreaccount1' } },
    serviceUrl: 'http://127.0.0.1:10000/devstoreaccount1',
  });
  t.end();
});

t.test('a secret of no use: the file and the mend are named, the content never', (t) => {
  const marker = 'TOPSECRET';
  const cases: readonly (readonly [string, (file: string) => CredentialConfig])[] = [
    ['', accountKey],
    [' \n\t', sas],
    [`not base64 ${marker}!`, accountKey],
    [marker, sas],
    [`https://acct.blob.core.windows.net/c?${SAS}&x=${marker}`, sas],
    [`${SAS}\n${SAS}${marker}`, sas],
    [`sv=1&sp=${marker}`, sas],
    [marker, connection],
    [`AccountName=acct;AccountKey=${marker}!`, connection],
    [`AccountKey=${KEY};BlobEndpoint=ftp://${marker}`, connection],
    [`AccountName=acct;x=${marker}`, connection],
    [`BlobEndpoint=https://a.blob.core.windows.net;SharedAccessSignature=${marker}`, connection],
    ['x'.repeat(70_000), accountKey],
  ];
  for (const [content, config] of cases) {
    let thrown: unknown;
    try {
      withFile(t, content, config);
    } catch (error) {
      thrown = error;
    }
    const label = content.slice(0, 30);
    t.match(
      thrown,
      { name: 'LhsmError', op: 'read', hint: /^[A-Z]/, message: /secret file \/.*\/secret/ },
      label,
    );
    t.notMatch(`${describeError(thrown)} ${inspect(thrown)}`, new RegExp(marker), 'not shown');
  }
  t.throws(() => resolveCredential(sas('/nowhere/sas')), {
    code: 'SECRET_UNREADABLE',
    errno: 13,
    message: /\/nowhere\/sas.*ENOENT/,
  });
  t.throws(() => resolveCredential(sas(folder(t))), { code: 'SECRET_UNREADABLE', message: /EISDIR/ });
  t.end();
});

t.test('relative names are systemd credentials', (t) => {
  const dir = folder(t);
  writeFileSync(join(dir, 'key'), KEY);
  const { auth } = resolveCredential(accountKey('key'), {
    account: 'acct',
    env: { CREDENTIALS_DIRECTORY: dir },
  });
  t.equal(auth.kind, 'shared-key');
  t.end();
});

t.test('a signature that is not encoded is, and one that is stays as it is', (t) => {
  for (const [signature, expected] of [
    ['ab+cd/ef=', 'ab%2Bcd%2Fef%3D'],
    ['ab%2Bcd%2fef%3d', 'ab%2Bcd%2Fef%3D'],
    ['ab%2Bcd/ef=', 'ab%2Bcd%2Fef%3D'],
    ['100%', '100%'],
  ]) {
    const { auth } = withFile(t, `sv=2025-01-05&sig=${signature ?? ''}&sp=r`, sas);
    t.equal(auth.kind === 'sas' ? auth.query() : '', `sv=2025-01-05&sig=${expected ?? ''}&sp=r`);
  }
  t.end();
});

t.test('a SAS that rotates is read again; a bad one leaves the last good one', async (t) => {
  const dir = folder(t);
  const file = join(dir, 'sas');
  const write = async (content: string): Promise<void> => {
    // As an operator's tool does it: a new file over the old one, so that its inode is another.
    writeFileSync(`${file}.new`, content);
    renameSync(`${file}.new`, file);
    // It is looked at once a turn.
    await setImmediate();
  };
  await write(`?${SAS}\n`);
  const told: unknown[] = [];
  const { auth } = resolveCredential(sas(file), { onBadRotation: (error) => told.push(error) });
  if (auth.kind !== 'sas') throw new Error('no SAS');
  t.equal(auth.query(), SAS);
  const next = SAS.replace('2099', '2100');
  await write(next);
  t.equal(auth.query(), next, 'the new one');
  await write('rubbish');
  t.equal(auth.query(), next, 'the last good one');
  t.equal(auth.query(), next);
  t.equal(told.length, 1, 'told once');
  t.match(told[0], { code: 'SECRET_INVALID' });
  rmSync(file);
  await setImmediate();
  t.equal(auth.query(), next, 'also when it is gone');
  await write(SAS);
  t.equal(auth.query(), SAS, 'and good again');
});

t.test('identities of machines and workloads', (t) => {
  const kinds: readonly CredentialConfig[] = [
    { type: 'default' },
    { type: 'environment' },
    { type: 'managed-identity' },
    { type: 'managed-identity', clientId: '11111111-1111-1111-1111-111111111111' },
    { type: 'workload-identity', clientId: 'a', tenantId: 'b', tokenFile: '/var/run/token' },
  ];
  for (const config of kinds) {
    const { auth, serviceUrl } = resolveCredential(config);
    t.equal(auth.kind, 'token', config.type);
    t.equal(serviceUrl, undefined);
  }
  t.throws(() => resolveCredential({ type: 'workload-identity' }), {
    code: 'CREDENTIAL_INVALID',
    hint: /AZURE_/,
  });
  t.end();
});

t.test('container addresses', (t) => {
  t.same(containerAddress('https://acct.blob.core.windows.net/copies/'), {
    url: 'https://acct.blob.core.windows.net/copies',
    container: 'copies',
    account: 'acct',
  });
  t.match(containerAddress('http://127.0.0.1:10000/devstoreaccount1/copies'), {
    account: 'devstoreaccount1',
  });
  t.match(containerAddress('copies', 'http://h:1/a'), { url: 'http://h:1/a/copies', container: 'copies' });
  t.match(containerAddress('https://storage.example.org/copies'), { account: undefined });
  t.match(containerAddress('https://acct.z01.blob.storage.azure.net/copies'), { account: 'acct' });
  for (const tooLong of [
    'https://acct.blob.core.windows.net/copies/folder',
    'http://127.0.0.1:10000/devstoreaccount1/copies/folder',
  ]) {
    t.throws(() => containerAddress(tooLong), { code: 'CONTAINER_INVALID', hint: /prefix/ }, tooLong);
  }
  for (const bad of [
    'copies',
    'https://acct.blob.core.windows.net',
    'https://acct.blob.core.windows.net/UPPER',
    `https://acct.blob.core.windows.net/copies?${SAS}`,
    'https://user:pass@acct.blob.core.windows.net/copies',
    'https://',
  ]) {
    t.throws(() => containerAddress(bad), { code: 'CONTAINER_INVALID', errno: 22 }, bad);
  }
  try {
    containerAddress(`https://acct.blob.core.windows.net/copies?${SAS}`);
  } catch (error) {
    t.notMatch(describeError(error), /c2VjcmV0/, 'a SAS in the wrong place is not shown either');
  }
  t.end();
});

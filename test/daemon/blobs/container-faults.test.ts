// The container against a service that misbehaves, and against credentials that do.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import {
  AzureContainer,
  createArchiveContainer,
  type ContainerOptions,
} from '../../../daemon/blobs/azure-container.js';
import type { CredentialConfig } from '../../../daemon/config/config.js';
import { startAzurite } from '../../helpers/azurite.js';
import { startFaultyBlobServer, type FaultyBlobServer } from '../../helpers/faulty-blob-server.js';

const never = new AbortController().signal;

async function open(
  t: Test,
  options: ContainerOptions = {},
): Promise<{ server: FaultyBlobServer; container: AzureContainer; sasFile: string }> {
  const server = await startFaultyBlobServer();
  const dir = mkdtempSync(join(tmpdir(), 'lhsm-container-'));
  const sasFile = join(dir, 'sas');
  writeFileSync(sasFile, 'sv=2025-01-05&sig=Zmlyc3Q%3D');
  const container = createArchiveContainer(
    {
      id: 2,
      container: server.containerUrl,
      prefix: '',
      naming: 'path',
      credential: { type: 'sas', file: sasFile },
    },
    { maxTries: 3, retryDelayMs: 1, ...options },
  );
  t.teardown(async () => {
    container.close();
    await server.stop();
    rmSync(dir, { recursive: true });
  });
  return { server, container, sasFile };
}

t.test('what passes is tried again, and told', async (t) => {
  const told: string[] = [];
  let throttles = 0;
  const { server, container } = await open(t, {
    stallTimeoutMs: 1000,
    onRetry: ({ code }) => told.push(code),
    onThrottle: () => {
      throttles += 1;
    },
  });
  server.put('a', Buffer.from('12345'), { metadata: { Owner: '1' } });
  server.inject('Head Blob', { status: 503, code: 'ServerBusy' });
  server.inject('Head Blob', { status: 500, code: 'InternalError' });
  t.match(await container.properties('a', never), {
    sizeBytes: 5,
    metadata: { owner: '1' },
    accessTier: 'Hot',
  });
  t.same(told, ['THROTTLED', 'UNREACHABLE']);
  t.equal(throttles, 1);
  server.inject('Put Blob', { stallAfter: 0 });
  await container.putEmpty('stalled', {}, 'absent', never);
  server.inject('Head Blob', { status: 503, code: 'ServerBusy' }, 3);
  await t.rejects(container.properties('a', never), { code: 'THROTTLED', errno: 11, retryable: true });
});

t.test('lost answers: what was done is not taken for the work of others', async (t) => {
  const { server, container } = await open(t);
  server.inject('Put Blob', { loseAnswer: true });
  const etag = await container.putEmpty('dir', { hdi_isfolder: 'true' }, 'absent', never);
  t.equal(etag, server.blobs.get('dir')?.etag);
  server.inject('Delete Blob', { loseAnswer: true });
  await container.delete('dir', { etag }, never);
  t.notOk(server.blobs.has('dir'));
  await t.rejects(container.delete('dir', { etag }, never), { code: 'BLOB_MISSING', errno: 2 });

  server.inject('Put Blob', { loseAnswer: true });
  server.inject('Put Blob', { before: () => void server.put('dir', Buffer.from('theirs')) });
  await t.rejects(container.putEmpty('dir', { hdi_isfolder: 'true' }, 'absent', never), {
    code: 'BLOB_CHANGED',
  });
  t.equal(server.blobs.get('dir')?.content.toString(), 'theirs');

  server.inject('Put Blob', { loseAnswer: true });
  const link = await container.putSmall('link', Buffer.from('target'), { ftype: 'LNK' }, 'absent', never);
  t.match(server.blobs.get('link'), { etag: link });
  server.blobs.delete('link');
  server.inject('Put Blob', { loseAnswer: true });
  server.inject('Put Blob', {
    before: () => void server.put('link', Buffer.from('theirs'), { metadata: { ftype: 'LNK' } }),
  });
  await t.rejects(
    container.putSmall('link', Buffer.from('target'), { ftype: 'LNK' }, 'absent', never),
    { code: 'BLOB_CHANGED' },
    'of the same length and metadata, and another body',
  );

  const { etag: first } = server.put('file', Buffer.from('content'));
  server.inject('Set Blob Metadata', { loseAnswer: true });
  const second = await container.setMetadata('file', { a: '1' }, first, never);
  t.match(server.blobs.get('file'), { etag: second, metadata: { a: '1' } });
  server.inject('Set Blob Metadata', { loseAnswer: true });
  server.inject('Set Blob Metadata', { before: () => void server.put('file', Buffer.from('theirs')) });
  await t.rejects(container.setMetadata('file', { a: '2' }, second, never), { code: 'BLOB_CHANGED' });
  server.blobs.delete('file');
  await t.rejects(container.setMetadata('file', {}, second, never), { code: 'BLOB_MISSING' });
});

t.test('a missing container and an answer of something else are no missing blob', async (t) => {
  const { server, container } = await open(t);
  server.inject('Head Blob', { status: 404 });
  server.inject('Get Blob', { status: 404 });
  await t.rejects(container.properties('a', never), { code: 'BAD_ANSWER', errno: 5 });
  server.containerMissing = true;
  await t.rejects(container.properties('a', never), { code: 'CONTAINER_MISSING' });
  await t.rejects(container.probe(never), { code: 'CONTAINER_MISSING' });
  await t.rejects(container.delete('a', undefined, never), { code: 'CONTAINER_MISSING' });
});

t.test('a service whose answers to HEAD have lost their code is asked again', async (t) => {
  const { server, container } = await open(t);
  const nameless = { status: 404 };
  server.inject('Head Blob', nameless);
  t.equal(await container.properties('a', never), undefined);
  t.equal(server.count('Get Blob'), 1);
  // The code in the body alone.
  server.inject('Head Blob', nameless);
  server.inject('Get Blob', {
    status: 404,
    code: 'ContainerNotFound',
    headers: { 'x-ms-error-code': undefined },
  });
  await t.rejects(container.properties('a', never), { code: 'CONTAINER_MISSING' });
  // None at all, but a header of the service's.
  for (const header of ['x-ms-request-id', 'x-ms-version']) {
    server.inject('Head Blob', { status: 404, headers: { [header]: '1' } });
    server.inject('Get Blob', nameless);
    t.equal(await container.properties('a', never), undefined, header);
  }
  // There is a blob: then the first answer was nobody's.
  server.put('a', Buffer.from('there'));
  server.inject('Head Blob', nameless);
  await t.rejects(container.properties('a', never), { code: 'BAD_ANSWER' });
});

t.test('a refusal names what to look at', async (t) => {
  const { server, container } = await open(t);
  server.inject('Head Blob', { status: 403, code: 'AuthenticationFailed' });
  await t.rejects(container.probe(never), { code: 'FORBIDDEN', errno: 13, hint: /expired/ });
  t.equal(server.requests.length, 1);
});

t.test('a probe knows soon, whatever patience requests have', async (t) => {
  const { server, container } = await open(t, { maxTries: 8, retryForMs: 300_000, probePatienceMs: 300 });
  server.inject('Head Blob', { status: 500, code: 'InternalError' }, 8);
  await t.rejects(container.probe(never), { code: 'UNREACHABLE', message: /InternalError/ });
  server.forget();
  server.inject('Head Blob', { stallAfter: -1 });
  await t.rejects(container.probe(never), { code: 'UNREACHABLE', message: /0\.3 s/, retryable: true });
  const control = new AbortController();
  server.inject('Head Blob', {
    stallAfter: -1,
    before: () => {
      control.abort();
    },
  });
  await t.rejects(container.probe(control.signal), { code: 'ECANCELED' });
});

t.test('an abort ends a request and the wait for the next', async (t) => {
  const { server, container } = await open(t, { retryDelayMs: 60_000 });
  for (const fault of [{ stallAfter: 0 }, { status: 503, code: 'ServerBusy' }]) {
    const control = new AbortController();
    const abort = (): void => {
      control.abort();
    };
    server.inject('Put Blob', { ...fault, before: () => void setImmediate(abort) });
    await t.rejects(container.putEmpty('a', {}, undefined, control.signal), {
      code: 'ECANCELED',
      errno: 125,
    });
  }
});

t.test('a SAS that rotates is used from the next request on', async (t) => {
  const { container, sasFile } = await open(t);
  const { auth } = container.location('a');
  writeFileSync(sasFile, 'sv=2025-01-05&sig=c2Vjb25kLW9uZQ%3D%3D');
  t.equal(auth.kind === 'sas' && auth.query(), 'sv=2025-01-05&sig=c2Vjb25kLW9uZQ%3D%3D');
  t.notMatch(container.location('a').url, /sig=/, 'the URL holds no secret');
});

t.test('credentials against a real service', async (t) => {
  const azurite = await startAzurite({ https: true });
  t.teardown(() => azurite.stop());
  await azurite.container('copies');
  const keyFile = join(azurite.dir, 'key');
  writeFileSync(keyFile, azurite.key);
  const wrongFile = join(azurite.dir, 'wrong');
  writeFileSync(wrongFile, Buffer.alloc(64, 1).toString('base64'));
  const openWith = (credential: CredentialConfig): AzureContainer => {
    const made = createArchiveContainer(
      { id: 1, container: `${azurite.url}/copies`, prefix: '', naming: 'path', credential },
      { caFile: azurite.caFile, maxTries: 1 },
    );
    t.teardown(() => {
      made.close();
    });
    return made;
  };
  await openWith({ type: 'account-key', file: keyFile }).probe(never);
  await openWith({ type: 'connection-string', file: azurite.connectionStringFile }).probe(never);
  await t.rejects(openWith({ type: 'account-key', file: wrongFile }).probe(never), {
    code: 'FORBIDDEN',
    errno: 13,
  });
  const unrefreshable: CredentialConfig = {
    type: 'workload-identity',
    clientId: '11111111-1111-1111-1111-111111111111',
    tenantId: '22222222-2222-2222-2222-222222222222',
    tokenFile: join(azurite.dir, 'no-token'),
  };
  await t.rejects(
    openWith(unrefreshable).probe(never),
    { code: 'TOKEN_FAILED', errno: 13, hint: /identity/ },
    'a token that cannot be had',
  );
});

// The container over the SDK, against Azurite.
import t, { type Test } from 'tap';
import { createArchiveContainer, type AzureContainer } from '../../../daemon/blobs/azure-container.js';
import type { ArchiveConfig } from '../../../daemon/config/config.js';
import { startAzurite, type Azurite } from '../../helpers/azurite.js';

const never = new AbortController().signal;

function configOf(azurite: Azurite, container: string): ArchiveConfig {
  return {
    id: 1,
    container,
    prefix: 'files/',
    naming: 'path',
    credential: { type: 'connection-string', file: azurite.connectionStringFile },
  };
}

function open(t: Test, azurite: Azurite, container: string): AzureContainer {
  const opened = createArchiveContainer(configOf(azurite, container), {
    caFile: azurite.caFile,
    maxTries: 2,
    retryDelayMs: 1,
  });
  t.teardown(() => {
    opened.close();
  });
  return opened;
}

t.test('properties, empty blobs and deletion, each under its condition', async (t) => {
  const azurite = await startAzurite();
  t.teardown(() => azurite.stop());
  await azurite.container('copies');
  const container = open(t, azurite, 'copies');
  t.match(container, { archiveId: 1, container: 'copies', prefix: 'files/', naming: 'path' });
  await container.probe(never);
  t.equal(await container.properties('files/a', never), undefined, 'no blob, no properties');
  const etag = await container.putEmpty('files/a', { owner: '7', hdi_isfolder: 'true' }, 'absent', never);
  t.match(await container.properties('files/a', never), {
    sizeBytes: 0,
    etag,
    blobType: 'BlockBlob',
    metadata: { owner: '7', hdi_isfolder: 'true' },
  });
  await t.rejects(container.putEmpty('files/a', {}, 'absent', never), { code: 'BLOB_CHANGED', errno: 116 });
  await t.rejects(container.putEmpty('files/a', {}, { etag: '"0x1"' }, never), { code: 'BLOB_CHANGED' });
  const later = await container.putEmpty('files/a', { owner: '8' }, { etag }, never);
  await t.rejects(container.delete('files/a', { etag }, never), { code: 'BLOB_CHANGED' });
  await container.delete('files/a', { etag: later }, never);
  await t.rejects(container.delete('files/a', undefined, never), { code: 'BLOB_MISSING', errno: 2 });
});

t.test('small blobs with a body: made, replaced, and never over another version', async (t) => {
  const azurite = await startAzurite();
  t.teardown(() => azurite.stop());
  await azurite.container('copies');
  const container = open(t, azurite, 'copies');
  const target = Buffer.from('../tö/target');
  const etag = await container.putSmall('files/link', target, { ftype: 'LNK' }, 'absent', never);
  t.match(await container.properties('files/link', never), { etag, sizeBytes: target.length });
  t.same(await container.readSmall('files/link', 100, etag, never), target);
  const other = Buffer.from('elsewhere');
  await t.rejects(container.putSmall('files/link', other, {}, 'absent', never), { code: 'BLOB_CHANGED' });
  const later = await container.putSmall('files/link', other, { ftype: 'LNK' }, { etag }, never);
  t.same(await container.readSmall('files/link', 100, later, never), other);
});

t.test('metadata are replaced in the version that is expected, the content stays', async (t) => {
  const azurite = await startAzurite();
  t.teardown(() => azurite.stop());
  const client = await azurite.container('copies');
  const container = open(t, azurite, 'copies');
  const blob = client.getBlockBlobClient('files/a');
  const { etag: first = '' } = await blob.upload('content', 7, { metadata: { one: '1', two: '2' } });
  const etag = await container.setMetadata('files/a', { two: '3' }, first, never);
  t.not(etag, first);
  t.match(await container.properties('files/a', never), { sizeBytes: 7, etag, metadata: { two: '3' } });
  t.equal((await container.readSmall('files/a', 100, etag, never)).toString(), 'content');
  await t.rejects(container.readSmall('files/a', 100, first, never), { code: 'BLOB_CHANGED' });
  await t.rejects(container.readSmall('files/b', 100, first, never), { code: 'BLOB_MISSING', errno: 2 });
  await t.rejects(container.setMetadata('files/a', {}, first, never), { code: 'BLOB_CHANGED' });
  await t.rejects(container.setMetadata('files/b', {}, first, never), { code: 'BLOB_MISSING' });
});

t.test('a missing container is told from a missing blob', async (t) => {
  const azurite = await startAzurite();
  t.teardown(() => azurite.stop());
  const container = open(t, azurite, 'nowhere');
  await t.rejects(container.probe(never), { code: 'CONTAINER_MISSING', errno: 2 });
  await t.rejects(container.properties('files/a', never), { code: 'CONTAINER_MISSING' });
  await t.rejects(container.putEmpty('files/a', {}, undefined, never), { code: 'CONTAINER_MISSING' });
});

t.test('over TLS the CA file is what makes the difference', async (t) => {
  const azurite = await startAzurite({ https: true });
  t.teardown(() => azurite.stop());
  await azurite.container('copies');
  await open(t, azurite, 'copies').probe(never);
  const distrustful = createArchiveContainer(configOf(azurite, 'copies'), { maxTries: 1 });
  t.teardown(() => {
    distrustful.close();
  });
  await t.rejects(distrustful.probe(never), { code: 'TLS_CERTIFICATE', errno: 13, hint: /ca_file/ });
});

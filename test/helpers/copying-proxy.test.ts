// What the proxy makes of copies, as the SDK asks for them: the rules of
// https://learn.microsoft.com/rest/api/storageservices/put-blob-from-url.
import { BlobSASPermissions, BlockBlobClient, ContainerSASPermissions } from '@azure/storage-blob';
import t from 'tap';
import { startAzurite } from './azurite.js';
import { startCopyingProxy } from './copying-proxy.js';

const HOUR_MS = 3_600_000;

t.test('Put Blob From URL and Put Block From URL', async (t) => {
  const azurite = await startAzurite();
  const proxy = await startCopyingProxy(azurite.url);
  t.teardown(async () => {
    await proxy.stop();
    await azurite.stop();
  });
  const container = await azurite.container('data');
  const source = container.getBlockBlobClient('soürce %');
  const blobHTTPHeaders = { blobContentType: 'text/x-source', blobCacheControl: 'no-store' };
  await source.upload('0123456789', 10, { metadata: { Mixed_Case: 'u', other: 'x' }, blobHTTPHeaders });
  const expiresOn = new Date(Date.now() + HOUR_MS);
  const from = await source.generateSasUrl({ permissions: BlobSASPermissions.parse('r'), expiresOn });
  const permissions = ContainerSASPermissions.parse('rcw');
  const [, sas] = (await container.generateSasUrl({ permissions, expiresOn })).split('?');
  const through = azurite.url.replace(/:\d+\//, `:${proxy.port}/`);
  const target = (name: string): BlockBlobClient => new BlockBlobClient(`${through}/data/${name}?${sas}`);
  const look = async (name: string): Promise<unknown> => {
    const { metadata, contentType, cacheControl } = await container.getBlobClient(name).getProperties();
    const content = (await container.getBlobClient(name).downloadToBuffer()).toString();
    return { metadata, contentType, cacheControl, content };
  };
  const content = '0123456789';

  await target('as-it-is').syncUploadFromURL(from);
  t.match(await look('as-it-is'), {
    content,
    metadata: { mixed_case: 'u', other: 'x' },
    contentType: 'text/x-source',
    cacheControl: 'no-store',
  });

  await target('own').syncUploadFromURL(from, {
    metadata: { mine: '1' },
    blobHTTPHeaders: { blobContentType: 'text/x-own' },
  });
  t.match(await look('own'), { content, contentType: 'text/x-own', cacheControl: 'no-store' });
  t.strictSame((await container.getBlobClient('own').getProperties()).metadata, { mine: '1' });

  const blocks = target('blocks');
  const ids = ['one', 'two'].map((id) => Buffer.from(id).toString('base64'));
  await blocks.stageBlockFromURL(ids[0] ?? '', from, 2, 4);
  await blocks.stageBlockFromURL(ids[1] ?? '', from, 0, 2);
  await blocks.commitBlockList(ids);
  t.match(await look('blocks'), { content: '234501' });

  const gone = from.replace(encodeURI('soürce'), 'nothing');
  await t.rejects(target('gone').syncUploadFromURL(gone), { code: 'CannotVerifyCopySource' });
  const condition = { sourceConditions: { ifMatch: '"0x1"' } };
  await t.rejects(target('changed').syncUploadFromURL(from, condition), { code: 'CannotVerifyCopySource' });
  t.strictSame(proxy.copied, { blobs: 2, blocks: 2 });
});

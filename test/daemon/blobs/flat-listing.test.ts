// Listings of accounts without a hierarchical namespace: against Azurite, and against answers that Azurite does not give.
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { createArchiveContainer, type AzureContainer } from '../../../daemon/blobs/azure-container.js';
import type { BlobListing, ListedBlob } from '../../../daemon/blobs/listing.js';
import { startAzurite } from '../../helpers/azurite.js';

const never = new AbortController().signal;

async function all(listing: BlobListing, prefix: string, maxResults: number): Promise<ListedBlob[]> {
  const blobs: ListedBlob[] = [];
  let marker: string | undefined;
  do {
    const page = await listing.page({ prefix, shallow: false, marker, maxResults }, never);
    t.ok(page.blobs.length <= maxResults);
    blobs.push(...page.blobs);
    marker = page.next;
  } while (marker !== undefined);
  return blobs;
}

const odd = [
  '%',
  '%20',
  '?x=1',
  '#1',
  'two words',
  '😀',
  '&amp;',
  '<i>',
  '"\'',
  'dots...',
  ' lead',
  'tail ',
  'a+b=c',
];

t.test('1,200 blobs with odd names, once each and as they are', async (t) => {
  const azurite = await startAzurite();
  t.teardown(() => azurite.stop());
  const client = await azurite.container('copies');
  const names = Array.from({ length: 1200 }, (_, i) => `dir${i % 7}/${odd[i % odd.length] ?? ''}/${i}`);
  for (let at = 0; at < names.length; at += 50) {
    await Promise.all(
      names
        .slice(at, at + 50)
        .map((name, i) =>
          client
            .getBlockBlobClient(name)
            .upload('x', 1, { metadata: { Owner: String(at + i), text: 'a&<b>"' } }),
        ),
    );
  }
  await client.getBlobClient(names[0] ?? '').createSnapshot();
  await client.getBlockBlobClient('uncommitted').stageBlock('AAAA', 'x', 1);
  await client.getAppendBlobClient('append').create();
  const container = createArchiveContainer({
    id: 1,
    container: 'copies',
    prefix: '',
    naming: 'path',
    credential: { type: 'connection-string', file: azurite.connectionStringFile },
  });
  t.teardown(() => {
    container.close();
  });
  const listing = await container.listing(never);
  t.equal(listing.hierarchical, false);
  const blobs = await all(listing, '', 500);
  t.same(blobs.map(({ name }) => name).sort(), ['append', ...names].sort());
  const first = blobs.find(({ name }) => name === names[0]);
  t.match(first, {
    sizeBytes: 1,
    etag: (await container.properties(names[0] ?? '', never))?.etag,
    blobType: 'BlockBlob',
    accessTier: 'Hot',
    metadata: { owner: '0', text: 'a&<b>"' },
  });
  t.match(
    blobs.find(({ name }) => name === 'append'),
    { blobType: 'AppendBlob', metadata: {} },
  );
  t.equal((await all(listing, 'dir1/', 100)).length, names.filter((name) => name.startsWith('dir1/')).length);
  t.same(await all(listing, 'nothing', 100), []);
  const shallow = await listing.page({ prefix: '', shallow: true, marker: undefined, maxResults: 5 }, never);
  t.same(
    [shallow.blobs.map(({ name }) => name), shallow.prefixes],
    [['append'], ['dir0/', 'dir1/', 'dir2/', 'dir3/']],
  );
  const rest = await listing.page({ prefix: '', shallow: true, marker: shallow.next, maxResults: 5 }, never);
  t.same(rest.prefixes, ['dir4/', 'dir5/', 'dir6/']);

  const content = Buffer.from('where it leads');
  await client.getBlockBlobClient('link').upload(content, content.length);
  const { etag } = (await container.properties('link', never)) ?? {};
  t.same(await container.readSmall('link', 4096, etag, never), content);
  t.same(await container.readSmall('link', 5, undefined, never), content.subarray(0, 6), 'a byte more shows');
  await t.rejects(container.readSmall('link', 9, '"0x1"', never), { code: 'BLOB_CHANGED' });
  await t.rejects(container.readSmall('gone', 9, undefined, never), { code: 'BLOB_MISSING' });
  await client.getBlockBlobClient('empty').upload('', 0);
  t.equal((await container.readSmall('empty', 4096, undefined, never)).length, 0);
});

/** A container whose List Blobs gives this inside of `<Blobs>`. */
function answering(t: Test, blobs: string, next = ''): Promise<AzureContainer> {
  return served(t, (_request, response) => {
    response.setHeader('content-type', 'application/xml');
    response.end(answer(blobs, next));
  });
}

function answer(blobs: string, next = ''): string {
  return `<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="http://x/" ContainerName="c"><Blobs>${blobs}</Blobs><NextMarker>${next}</NextMarker></EnumerationResults>`;
}

async function served(t: Test, serve: RequestListener, maxTries = 1): Promise<AzureContainer> {
  const server = createServer(serve);
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const dir = mkdtempSync(join(tmpdir(), 'lhsm-listing-'));
  const file = join(dir, 'sas');
  writeFileSync(file, 'sv=2025-01-05&sig=Zmlyc3Q%3D');
  const { port } = server.address() as AddressInfo;
  const container = createArchiveContainer(
    {
      id: 1,
      container: `http://127.0.0.1:${port}/account/container`,
      prefix: '',
      naming: 'path',
      credential: { type: 'sas', file },
      hierarchical: false,
    },
    { maxTries, retryDelayMs: 1 },
  );
  t.teardown(async () => {
    container.close();
    rmSync(dir, { recursive: true });
    await new Promise<void>((resolve) => {
      server.close(() => {
        resolve();
      });
      server.closeAllConnections();
    });
  });
  return container;
}

const properties =
  '<Properties><Last-Modified>Sun, 22 Nov 2026 09:32:49 GMT</Last-Modified><Etag>0x8D1</Etag><Content-Length>5</Content-Length><BlobType>BlockBlob</BlobType><AccessTier>Archive</AccessTier></Properties>';
const request = { prefix: '', shallow: false, marker: undefined, maxResults: 5000 };

t.test('as the service words it', async (t) => {
  const metadata =
    '<A>1</A><a>2</a><b></b><c> x </c><d>1</d><d>2</d><x-ms-invalid-name>a b</x-ms-invalid-name>';
  const container = await answering(
    t,
    `<Blob><Name Encoded="true">a%EF%BF%BF%2520</Name>${properties}<Metadata>${metadata}</Metadata></Blob>` +
      `<Blob><Name>none</Name>${properties}<Metadata /></Blob><Blob><Name>nothing</Name>${properties}</Blob>` +
      `<Blob><Name>sealed</Name>${properties}<Metadata Encrypted="true" /></Blob>` +
      `<Blob><Name>now</Name><VersionId>2</VersionId><IsCurrentVersion>true</IsCurrentVersion>${properties}</Blob>` +
      `<Blob><Name>then</Name><VersionId>1</VersionId>${properties}</Blob>` +
      `<Blob><Name>shot</Name><Snapshot>2026</Snapshot>${properties}</Blob>` +
      `<Blob><Name>deleted</Name><Deleted>true</Deleted>${properties}</Blob>` +
      `<Blob><Name>uncommitted</Name><Properties><Content-Length>0</Content-Length></Properties></Blob>`,
    'm&amp;1',
  );
  const page = await (await container.listing(never)).page(request, never);
  t.equal(page.next, 'm&1');
  t.same(
    page.blobs.map(({ name, metadata }) => [name, metadata]),
    [
      ['a\uffff%20', { a: '1', b: '', c: ' x ', d: '1' }],
      ['none', {}],
      ['nothing', {}],
      ['sealed', undefined],
      ['now', {}],
    ],
  );
  t.match(page.blobs[0], {
    sizeBytes: 5,
    etag: '"0x8D1"',
    accessTier: 'Archive',
    lastModified: new Date('2026-11-22T09:32:49Z'),
  });
});

t.test('pages may be empty, and names full of entities', async (t) => {
  const empty = await (await answering(t, '', 'more')).listing(never);
  t.same(await empty.page(request, never), { blobs: [], prefixes: [], next: 'more' });
  const many = Array.from(
    { length: 5000 },
    (_, i) => `<Blob><Name>&amp;&lt;&gt;${i}</Name>${properties}</Blob>`,
  );
  const full = await (await answering(t, many.join(''))).listing(never);
  const { blobs } = await full.page(request, never);
  t.equal(blobs.length, 5000);
  t.equal(blobs.at(-1)?.name, '&<>4999');
});

t.test('what is no listing is an error', async (t) => {
  const broken = await (await answering(t, '<Blob><Name>a</Nam')).listing(never);
  await t.rejects(broken.page(request, never), { code: 'BAD_ANSWER', retryable: true });
});

t.test('an answer that is cut off, or no listing, is asked for again', async (t) => {
  const whole = answer(`<Blob><Name>a</Name>${properties}</Blob><Blob><Name>b</Name>${properties}</Blob>`);
  let tries = 0;
  const container = await served(
    t,
    (_request, response) => {
      tries += 1;
      response.setHeader('content-type', 'application/xml');
      if (tries === 1) {
        response.setHeader('content-length', whole.length);
        response.write(whole.slice(0, -100), () => response.destroy());
      } else if (tries === 2) response.end(whole.slice(0, -100));
      else if (tries === 3) response.end('<html><body>Sign in</body></html>');
      else response.end(whole);
    },
    4,
  );
  const { blobs } = await (await container.listing(never)).page(request, never);
  t.same(
    blobs.map(({ name }) => name),
    ['a', 'b'],
  );
  t.equal(tries, 4);
});

t.test('errors of the service are those of other requests', async (t) => {
  const cases = [
    [404, 'ContainerNotFound', { code: 'CONTAINER_MISSING' }],
    [403, 'AuthenticationFailed', { code: 'FORBIDDEN', hint: /SAS/ }],
    [503, 'ServerBusy', { code: 'THROTTLED', retryable: true }],
    [400, 'OutOfRangeQueryParameterValue', { code: 'REFUSED' }],
  ] as const;
  for (const inBody of [true, false]) {
    for (const [status, code, expected] of cases) {
      const container = await served(t, (_request, response) => {
        response.statusCode = status;
        response.setHeader('content-type', 'application/xml');
        if (!inBody) response.setHeader('x-ms-error-code', code);
        response.end(
          inBody
            ? `\ufeff<?xml version="1.0" encoding="utf-8"?><Error><Code>${code}</Code><Message>No.</Message></Error>`
            : '',
        );
      });
      await t.rejects((await container.listing(never)).page(request, never), expected);
    }
  }
});

t.test('an abort ends a page that does not', async (t) => {
  const container = await served(t, (_request, response) => {
    response.setHeader('content-type', 'application/xml');
    response.write('<?xml version="1.0"?><EnumerationResults>');
    control.abort();
  });
  const control = new AbortController();
  const listing = await container.listing(never);
  await t.rejects(listing.page(request, control.signal), { code: 'ECANCELED' });
});

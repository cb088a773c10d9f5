// Listings of accounts with a hierarchical namespace, against a small fake of such an account.
import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { createArchiveContainer, type AzureContainer } from '../../../daemon/blobs/azure-container.js';
import { dataLakeUrl } from '../../../daemon/blobs/path-listing.js';
import type { BlobListing, ListedBlob } from '../../../daemon/blobs/listing.js';
import { Walker } from '../../../daemon/jobs/walker.js';
import { startHnsServer, type HnsServer } from '../../helpers/hns-server.js';

const never = new AbortController().signal;
const KEY = Buffer.alloc(32, 7).toString('base64');

interface Opened {
  readonly server: HnsServer;
  readonly container: AzureContainer;
  readonly notes: string[];
}

async function open(t: Test, kind: 'sas' | 'account-key' = 'sas'): Promise<Opened> {
  const server = await startHnsServer();
  const dir = mkdtempSync(join(tmpdir(), 'lhsm-hns-'));
  const file = join(dir, 'secret');
  writeFileSync(file, kind === 'sas' ? 'sv=2025-01-05&sig=Zmlyc3Q%3D' : KEY);
  const notes: string[] = [];
  const container = createArchiveContainer(
    { id: 1, container: server.containerUrl, prefix: '', naming: 'path', credential: { type: kind, file } },
    { maxTries: 2, retryDelayMs: 1, onNote: (note) => notes.push(note) },
  );
  t.teardown(async () => {
    container.close();
    await server.stop();
    rmSync(dir, { recursive: true });
  });
  return { server, container, notes };
}

async function all(
  listing: BlobListing,
  prefix: string,
  shallow = false,
  maxResults = 2,
): Promise<ListedBlob[]> {
  const blobs: ListedBlob[] = [];
  let marker: string | undefined;
  do {
    const page = await listing.page({ prefix, shallow, marker, maxResults }, never);
    blobs.push(...page.blobs);
    marker = page.next;
  } while (marker !== undefined);
  return blobs;
}

const namesOf = (blobs: readonly ListedBlob[]): string[] => blobs.map(({ name }) => name);

async function prefixIsPath(t: Test, permissions: HnsServer['permissions']): Promise<void> {
  const { server, container, notes } = await open(t);
  server.permissions = permissions;
  server.directory('data', {
    owner: '1001',
    group: 'b7a0d1c2-0000-4000-8000-000000000001',
    permissions: 'rwxr-x--T+',
  });
  server.file('data/a b&c%20?#"\'.txt', '12345');
  server.file('data/sub/😀...', 'x', { metadata: { owner: '7' } });
  server.file('data2/never');
  server.file('file', 'content');
  const listing = await container.listing(never);
  t.equal(listing.hierarchical, true);
  t.same(namesOf(await all(listing, 'data')), [
    'data',
    'data/a b&c%20?#"\'.txt',
    'data/sub',
    'data/sub/😀...',
  ]);
  t.same(namesOf(await all(listing, 'data/')), ['data/a b&c%20?#"\'.txt', 'data/sub', 'data/sub/😀...']);
  t.same(namesOf(await all(listing, 'file')), ['file']);
  t.same(await all(listing, 'file/'), []);
  t.same(await all(listing, 'dat'), [], 'no prefix of a name');
  t.same(await all(listing, 'gone/'), []);
  t.equal((await all(listing, '')).length, 7);
  server.emptyPages = true;
  t.equal((await all(listing, '')).length, 7, 'empty pages have a next one, too');
  server.emptyPages = false;
  const shallow = await listing.page(
    { prefix: 'data/', shallow: true, marker: undefined, maxResults: 9 },
    never,
  );
  t.same(shallow.prefixes, ['data/sub/']);
  t.same(namesOf(shallow.blobs), ['data/a b&c%20?#"\'.txt', 'data/sub'], 'a directory is listed as well');
  t.match(shallow.blobs[0], {
    sizeBytes: 5,
    etag: /^"0x8D\w+"$/,
    blobType: 'BlockBlob',
    lastModified: new Date('2026-11-22T09:32:49Z'),
    hierarchical: { owner: '$superuser', group: '$superuser', permissions: 'rw-r-----', isDirectory: false },
  });
  if (permissions === 'told') t.same(shallow.blobs[0]?.metadata, {});
  else t.equal(shallow.blobs[0]?.metadata, undefined, 'metadata are to be asked for');
  t.equal(shallow.blobs[1]?.metadata, undefined, 'a shallow listing does not tell those of directories');
  t.equal(shallow.blobs[1]?.hierarchical?.isDirectory, true);
  const [itself] = await all(listing, 'data');
  t.match(itself, {
    metadata: { hdi_isfolder: 'true' },
    hierarchical: { owner: '1001', permissions: 'rwxr-x--T+', isDirectory: true },
  });
  t.equal(notes.length, permissions === 'told' ? 0 : 1);
}

for (const permissions of ['told', 'left out', 'refused'] as const) {
  t.test(`a prefix is a path: itself and what is below; permissions ${permissions}`, (t) =>
    prefixIsPath(t, permissions),
  );
}

t.test('all that is to be known comes with one request a page', async (t) => {
  const { server, container } = await open(t);
  for (let i = 0; i < 25; i += 1)
    server.file(`top/dir${i % 2}/${i}`, 'x', { metadata: { Modtime: String(i) } });
  server.directory('top/dir2', { owner: '7', group: '8', permissions: 'rwxr-x--T+' });
  const listing = await container.listing(never);
  const before = server.requests.length;
  const blobs = await all(listing, 'top/', false, 10);
  t.equal(server.requests.length - before, 3);
  t.equal(blobs.length, 28);
  t.ok(blobs.every(({ metadata, hierarchical }) => metadata && hierarchical?.owner !== undefined));
  t.match(
    blobs.find(({ name }) => name === 'top/dir0/24'),
    { metadata: { modtime: '24' }, hierarchical: { permissions: 'rw-r-----', isDirectory: false } },
  );
  t.same(blobs.find(({ name }) => name === 'top/dir2')?.hierarchical, {
    owner: '7',
    group: '8',
    permissions: 'rwxr-x--T+',
    isDirectory: true,
  });
});

t.test('a job that is taken up again goes on the way that it began', async (t) => {
  const { server, container } = await open(t);
  for (let i = 0; i < 9; i += 1) server.file(`f${i}`);
  const request = { prefix: '', shallow: false, maxResults: 4 };
  for (const [first, then] of [
    ['told', 'left out'],
    ['refused', 'told'],
  ] as const) {
    server.permissions = first;
    const { next: marker } = await (
      await container.listing(never)
    ).page({ ...request, marker: undefined }, never);
    server.permissions = then;
    const rest = await (await container.listing(never)).page({ ...request, marker }, never);
    t.same(namesOf(rest.blobs), ['f4', 'f5', 'f6', 'f7']);
    t.ok(
      rest.blobs.every(({ metadata }) => metadata === undefined),
      'to be asked for',
    );
  }
});

t.test('a walk sees every path once', async (t) => {
  const { server, container } = await open(t);
  for (let i = 0; i < 60; i += 1) server.file(`top/dir${i % 3}/x/file${i}`);
  server.file('top/alone');
  const listing = await container.listing(never);
  const seen: string[] = [];
  const walker = new Walker({ listing, prefixes: ['top'], streams: 3, pageSize: 5 });
  await walker.run((blobs) => Promise.resolve(() => void seen.push(...namesOf(blobs))), never);
  t.same(seen.sort(), namesOf(await all(listing, 'top')).sort());
  t.equal(new Set(seen).size, 60 + 1 + 1 + 6);
});

t.test('properties tell what the hierarchy adds', async (t) => {
  const { server, container } = await open(t);
  server.directory('d', { owner: '5' });
  server.file('f', 'abc', { permissions: 'rwxr-x---+', metadata: { Modtime: '1' } });
  t.match(await container.properties('f', never), {
    sizeBytes: 3,
    metadata: { modtime: '1' },
    hierarchical: { owner: '$superuser', group: '$superuser', permissions: 'rwxr-x---+', isDirectory: false },
  });
  t.match(await container.properties('d', never), {
    metadata: { hdi_isfolder: 'true' },
    hierarchical: { owner: '5', isDirectory: true },
  });
});

t.test('an account key signs the query', async (t) => {
  const { server, container } = await open(t, 'account-key');
  server.file('a b/ü/c+d', '1');
  const listing = await container.listing(never);
  t.same(namesOf(await all(listing, 'a b/ü/', false, 1)), ['a b/ü/c+d']);
  const { target = '', headers = {} } = server.requests.at(-1) ?? {};
  const url = new URL(target, 'http://localhost');
  const fields = [...url.searchParams].map(([key, value]) => `\n${key.toLowerCase()}:${value}`).sort();
  t.ok(fields.some((field) => field === '\nprefix:a b/ü/'));
  const own = Object.entries(headers).filter(([key]) => key.startsWith('x-ms-'));
  const signed = own.map(([key, value]) => `${key}:${String(value)}\n`).sort();
  const text = `GET${'\n'.repeat(12)}${signed.join('')}/account${url.pathname}${fields.join('')}`;
  const signature = createHmac('sha256', Buffer.from(KEY, 'base64')).update(text).digest('base64');
  t.equal(headers.authorization, `SharedKey account:${signature}`);
});

t.test('who may not ask for the account looks at a blob, and else takes it for flat', async (t) => {
  const { server, container, notes } = await open(t);
  server.file('a');
  server.refusesAccountInfo = true;
  t.equal((await container.listing(never)).hierarchical, true);
  server.tellsResourceType = false;
  t.equal((await container.listing(never)).hierarchical, false);
  await container.listing(never);
  t.equal(notes.length, 1, 'said once');
  t.match(notes[0], /hierarchical = true/);
});

t.test('an account that the configuration calls hierarchical is not asked', async (t) => {
  const server = await startHnsServer();
  t.teardown(() => server.stop());
  const dir = mkdtempSync(join(tmpdir(), 'lhsm-hns-'));
  t.teardown(() => {
    rmSync(dir, { recursive: true });
  });
  const file = join(dir, 'sas');
  writeFileSync(file, 'sv=2025-01-05&sig=Zmlyc3Q%3D');
  const container = createArchiveContainer({
    id: 1,
    container: server.containerUrl,
    prefix: '',
    naming: 'path',
    credential: { type: 'sas', file },
    hierarchical: true,
  });
  t.teardown(() => {
    container.close();
  });
  t.equal((await container.listing(never)).hierarchical, true);
  t.equal(server.requests.length, 0);
});

t.test('a missing container, and an answer of something else', async (t) => {
  const { server, container } = await open(t);
  const listing = await container.listing(never);
  server.containerMissing = true;
  await t.rejects(all(listing, ''), { code: 'CONTAINER_MISSING' });
  await t.rejects(all(listing, 'x'), { code: 'CONTAINER_MISSING' });
  const control = new AbortController();
  control.abort();
  const request = { prefix: '', shallow: false, marker: undefined, maxResults: 1 };
  await t.rejects(listing.page(request, control.signal), { code: 'ECANCELED' });
});

t.test('the host of the Data Lake endpoint', (t) => {
  const pairs = [
    ['https://acc.blob.core.windows.net/c', 'https://acc.dfs.core.windows.net/c'],
    ['https://acc.z01.blob.storage.azure.net/c', 'https://acc.z01.dfs.storage.azure.net/c'],
    ['http://127.0.0.1:10000/acc.blob.x/c', 'http://127.0.0.1:10000/acc.blob.x/c'],
    ['https://files.example.com/c', 'https://files.example.com/c'],
  ] as const;
  for (const [blob, dfs] of pairs) t.equal(dataLakeUrl(blob), dfs);
  t.end();
});

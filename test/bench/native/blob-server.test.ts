// The native blob server answers as Azure Blob Storage does, as far as benches and tests ask it.
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BlockBlobClient, ContainerClient } from '@azure/storage-blob';
import t, { type Test } from 'tap';
import { selfSigned } from '../../helpers/self-signed.js';
import { BlobServer, type BlobServerOptions } from './blob-server.js';
import { buildNative } from './native.js';

const BIG = 2_500_000;
const SERIES = [
  { name: 'big', count: 2, sizeBytes: BIG },
  { name: 'small', count: 5000, sizeBytes: 100 },
  { name: 'tree', count: 30, sizeBytes: 10, perDirectory: 10 },
];

async function start(t: Test, options: Partial<BlobServerOptions> = {}): Promise<BlobServer> {
  const server = await BlobServer.start({ series: SERIES, ...options });
  t.teardown(() => server.stop());
  return server;
}

/** The content of blob number `index`, by the program that makes files of it. */
async function pattern(t: Test, index: number, bytes: number): Promise<Buffer> {
  const dir = mkdtempSync(join(tmpdir(), 'lhsm-pattern-'));
  t.teardown(() => {
    rmSync(dir, { recursive: true });
  });
  const file = join(dir, 'file');
  const { patternFile } = await buildNative();
  const making = promisify(execFile)(patternFile, ['make']);
  making.child.stdin?.end(`${index}\t${bytes}\t${file}\n`);
  await making;
  return readFileSync(file);
}

async function body(response: Response): Promise<Buffer> {
  return Buffer.from(await response.arrayBuffer());
}

t.test('a whole blob, its ranges, and what is said of it', async (t) => {
  const server = await start(t, { metadata: { owner: '1000' }, crc64Key: 'sum' });
  const url = `${server.url}/big/0000001?sig=x`;
  const content = await pattern(t, 1, BIG);
  const whole = await fetch(url, { headers: { 'x-ms-version': '2025-01-05' } });
  t.equal(whole.status, 200);
  t.equal(whole.headers.get('x-ms-blob-type'), 'BlockBlob');
  t.equal(whole.headers.get('x-ms-version'), '2025-01-05');
  t.equal(whole.headers.get('x-ms-meta-owner'), '1000');
  t.match(whole.headers.get('x-ms-meta-sum'), /^[A-Za-z0-9+/]{11}=$/);
  t.ok((await body(whole)).equals(content));

  const range = await fetch(url, { headers: { 'x-ms-range': 'bytes=1048570-2099999' } });
  t.equal(range.status, 206);
  t.equal(range.headers.get('content-range'), `bytes 1048570-2099999/${BIG}`);
  t.equal(range.headers.get('etag'), whole.headers.get('etag'));
  t.ok((await body(range)).equals(content.subarray(1048570, 2100000)));
  const tail = await fetch(url, { headers: { range: `bytes=${BIG - 5}-` } });
  t.ok((await body(tail)).equals(content.subarray(-5)));
  const beyond = await fetch(url, { headers: { range: `bytes=${BIG}-` } });
  t.equal(beyond.status, 416);
  t.equal(beyond.headers.get('x-ms-error-code'), 'InvalidRange');

  const head = await fetch(url, { method: 'HEAD' });
  t.equal(head.headers.get('content-length'), String(BIG));
  t.equal((await fetch(`${server.url}/big/0000002`)).status, 404);
});

/** CRC-64/NVME bit by bit, as Azure writes it. */
function crc64(bytes: Buffer): string {
  let crc = 0xffffffffffffffffn;
  for (const byte of bytes) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >> 1n) ^ (crc & 1n ? 0x9a6c9329ac4bc9b5n : 0n);
  }
  const sum = Buffer.alloc(8);
  sum.writeBigUInt64LE(crc ^ 0xffffffffffffffffn);
  return sum.toString('base64');
}

t.test('the checksum in the metadata', async (t) => {
  const check = Buffer.alloc(8);
  check.writeBigUInt64LE(0xae8b14860a799888n); // the check value that catalogues have
  t.equal(crc64(Buffer.from('123456789')), check.toString('base64'));
  const server = await start(t, { crc64Key: 'sum' });
  for (const [name, index, bytes] of [
    ['small/0000042', 42, 100],
    ['big/0000001', 1, BIG],
  ] as const) {
    const head = await fetch(`${server.url}/${name}`, { method: 'HEAD' });
    t.equal(head.headers.get('x-ms-meta-sum'), crc64(await pattern(t, index, bytes)), name);
  }
});

t.test('conditions', async (t) => {
  const server = await start(t);
  const url = `${server.url}/small/0000007`;
  const etag = (await fetch(url, { method: 'HEAD' })).headers.get('etag') ?? '';
  t.equal((await fetch(url, { headers: { 'if-match': etag } })).status, 200);
  t.equal((await fetch(url, { headers: { 'if-match': '"0x1"' } })).status, 412);
  const absent = { 'if-none-match': '*', 'x-ms-blob-type': 'BlockBlob' };
  t.equal((await fetch(url, { method: 'PUT', headers: absent, body: 'abc' })).status, 412);
  const other = `${server.url}/other`;
  t.equal((await fetch(other, { method: 'PUT', headers: absent, body: 'abc' })).status, 201);
  t.equal((await fetch(other, { method: 'PUT', headers: absent, body: 'abc' })).status, 412);
  t.equal(await (await fetch(other)).text(), 'abc', 'small content that is not of the pattern is kept');
});

t.test('lists by page, prefix and delimiter, uploads among the others', async (t) => {
  const server = await start(t);
  const container = new ContainerClient(server.url);
  await container.getBlockBlobClient('a & b').upload('x', 1, { metadata: { k: 'v' } });
  await container.getBlockBlobClient('small/0000001a').upload('y', 1);
  await container.getBlockBlobClient('big/0000000').delete();
  const names: string[] = [];
  for await (const { name } of container.listBlobsFlat()) names.push(name);
  t.equal(names.length, 1 + 1 + 5001 + 30);
  t.strictSame(names, [...names].sort());
  t.strictSame(names.slice(0, 5), [
    'a & b',
    'big/0000001',
    'small/0000000',
    'small/0000001',
    'small/0000001a',
  ]);
  t.equal(names.at(-1), 'tree/00002/0000029');

  const roots: string[] = [];
  for await (const item of container.listBlobsByHierarchy('/')) roots.push(item.name);
  t.strictSame(roots.sort(), ['a & b', 'big/', 'small/', 'tree/']);
  const under: string[] = [];
  for await (const item of container.listBlobsByHierarchy('/', { prefix: 'tree/' })) under.push(item.name);
  t.strictSame(under, ['tree/00000/', 'tree/00001/', 'tree/00002/']);
  for await (const page of container.listBlobsFlat({ includeMetadata: true }).byPage({ maxPageSize: 1 })) {
    const [first] = page.segment.blobItems;
    t.strictSame(first?.metadata, { k: 'v' });
    t.equal(first?.properties.contentLength, 1);
    t.equal(page.segment.blobItems.length, 1);
    break;
  }
});

t.test('uploads are judged by what their name promises', async (t) => {
  const server = await start(t, { verify: true });
  const content = await pattern(t, 3, BIG);
  const blocks = [content.subarray(0, 1_000_000), content.subarray(1_000_000)];
  const upload = async (name: string, parts: readonly Buffer[]): Promise<void> => {
    const client = new BlockBlobClient(`${server.url}/${name}`);
    const ids = parts.map((_, index) => Buffer.from(`block${index}`).toString('base64'));
    for (const [index, part] of parts.entries()) await client.stageBlock(ids[index] ?? '', part, part.length);
    await client.commitBlockList(ids);
  };
  await upload('up/3', blocks);
  t.match((await server.stats()).uploads, { blobs: 1, bytes: BIG, placed: 1, compared: 1, damaged: 0 });
  const again = await fetch(`${server.url}/up/3`);
  t.ok((await body(again)).equals(content), 'it can be read again');

  await server.reset();
  await upload('up/3', [...blocks].reverse());
  t.match((await server.stats()).uploads, { placed: 0, damaged: 1 }, 'blocks in the wrong order');
  await upload('up/4', blocks);
  t.match((await server.stats()).uploads, { placed: 0, damaged: 2 }, 'the content of another file');
  const broken = Buffer.from(content);
  broken[BIG - 1] = (broken[BIG - 1] ?? 0) ^ 1;
  await upload('up/3', [broken]);
  t.match((await server.stats()).uploads, { blobs: 3, placed: 0, damaged: 3 }, 'one bit');

  const client = new BlockBlobClient(`${server.url}/up/5`, undefined);
  await t.rejects(client.commitBlockList(['bm8=']), { statusCode: 400, code: 'InvalidBlockList' });
});

t.test('over TLS', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'lhsm-server-'));
  t.teardown(() => {
    rmSync(dir, { recursive: true });
  });
  const { cert, key } = selfSigned();
  const [certFile, keyFile] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
  writeFileSync(certFile, cert);
  writeFileSync(keyFile, key);
  const server = await start(t, { tls: { certFile, keyFile } });
  const got = await new Promise<Buffer>((resolve, reject) => {
    get(`${server.url}/big/0000000`, { ca: cert, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        resolve(Buffer.concat(chunks));
      });
    }).on('error', reject);
  });
  t.ok(got.equals(await pattern(t, 0, BIG)));
});

t.test('odd requests end the connection, not the server', async (t) => {
  const server = await start(t);
  const odd = await fetch(`${server.url}/a%00b`);
  t.equal(odd.status, 400);
  t.equal((await fetch(`${server.url}/x?comp=tags`)).status, 400);
  t.equal((await fetch(`${server.url}?restype=container`)).status, 200);
  t.equal((await server.stats()).failures, 2);
});

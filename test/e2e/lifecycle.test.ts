// The main job, end to end: archive, release, transparent restore, remove, cancel, over the real binding, the simulator
// and Azurite.
import { execFileSync, spawn } from 'node:child_process';
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  renameSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { randomBytes } from 'node:crypto';
import t from 'tap';
import { blobNameOfPath } from '../../daemon/blobs/names.js';
import { Site } from '../helpers/site.js';

/** Runs a command with a descriptor as its standard input; answers what it printed. */
function execFileAsync(command: string, args: string[], stdin: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const child = spawn(command, args, { stdio: [stdin, 'pipe', 'inherit'] });
    child.stdout?.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.on('error', reject);
    child.on('close', () => {
      resolve(Buffer.concat(chunks));
    });
  });
}

let site: Site;

t.before(async () => {
  site = await Site.start();
  await site.daemon();
});

t.teardown(() => site.stop());

const sizes = [0, 1, 4096, 1_000_003, 9 * 1024 * 1024 + 17];
for (const sizeBytes of sizes) {
  t.test(`${sizeBytes} bytes: archived, released, and brought back by a read`, async (t) => {
    const name = `size-${sizeBytes}`;
    const bytes = site.write(name, sizeBytes);
    await site.hsm('archive', site.path(name));
    t.equal(await site.state(site.path(name)), '(0x00000009) exists archived, archive_id:1');
    t.ok((await site.container.getBlobClient(name).downloadToBuffer()).equals(bytes), 'the blob is the file');
    await site.hsm('release', site.path(name));
    t.match(await site.state(site.path(name)), /released exists archived/);
    t.equal(statSync(site.path(name)).size, sizeBytes);
    t.ok((await site.read(name)).equals(bytes), 'the read is the file');
    if (sizeBytes > 0)
      t.equal(await site.state(site.path(name)), '(0x00000009) exists archived, archive_id:1');
  });
}

t.test('names of every kind go there and back', async (t) => {
  const names = [
    'with space',
    '100%',
    'a#b?c&d+e',
    'emoji 🧪',
    'back\\slash',
    'trailing.',
    'quote\'"',
    'ü/ä/ö',
  ];
  mkdirSync(site.path('names/ü/ä'), { recursive: true });
  for (const name of names) {
    const path = `names/${name}`;
    const bytes = site.write(path, 100);
    await site.hsm('archive', site.path(path));
    t.ok(
      (await site.container.getBlobClient(blobNameOfPath('', Buffer.from(path))).downloadToBuffer()).equals(
        bytes,
      ),
      name,
    );
    await site.hsm('release', site.path(path));
    t.ok((await site.read(path)).equals(bytes), name);
  }
});

t.test('archive touches no time of the file, and metadata says owner, group, mode and mtime', async (t) => {
  site.write('attributes', 10);
  execFileSync('chown', ['1001:1002', site.path('attributes')]);
  execFileSync('chmod', ['1640', site.path('attributes')]);
  execFileSync('touch', ['-d', '2020-02-03 04:05:06.789 UTC', site.path('attributes')]);
  const before = statSync(site.path('attributes'), { bigint: true });
  await site.hsm('archive', site.path('attributes'));
  const after = statSync(site.path('attributes'), { bigint: true });
  t.same([after.atimeNs, after.mtimeNs, after.ctimeNs], [before.atimeNs, before.mtimeNs, before.ctimeNs]);
  const { metadata } = await site.container.getBlobClient('attributes').getProperties();
  t.match(metadata, {
    owner: '1001',
    group: '1002',
    permissions: '1640',
    modtime: '2020-02-03 04:05:06 +0000',
    lustre_fid: /^\[0x/,
  });
});

t.test('a restore puts back the times, and the file may be read again and again', async (t) => {
  const bytes = site.write('times', 5000);
  execFileSync('touch', ['-d', '2021-01-01 00:00:00 UTC', site.path('times')]);
  await site.hsm('archive', site.path('times'));
  await site.hsm('release', site.path('times'));
  await site.hsm('restore', site.path('times'));
  t.equal(statSync(site.path('times')).mtime.toISOString(), '2021-01-01T00:00:00.000Z');
  t.ok((await site.read('times')).equals(bytes));
});

t.test('parents get directory stubs with their attributes', async (t) => {
  mkdirSync(site.path('deep/er/still'), { recursive: true });
  execFileSync('chmod', ['1777', site.path('deep/er')]);
  site.write('deep/er/still/file', 1);
  await site.hsm('archive', site.path('deep/er/still/file'));
  for (const [name, permissions] of [
    ['deep', '0755'],
    ['deep/er', '1777'],
    ['deep/er/still', '0755'],
  ] as const) {
    const { metadata, contentLength } = await site.container.getBlobClient(name).getProperties();
    t.match(metadata, { hdi_isfolder: 'true', owner: '0', group: '0', permissions }, name);
    t.equal(contentLength, 0);
  }
});

t.test('holes stay holes on restore', async (t) => {
  const fd = openSync(site.path('sparse'), 'w');
  const bytes = randomBytes(65536);
  writeSync(fd, bytes, 0, bytes.length, 40 * 1024 * 1024);
  ftruncateSync(fd, 64 * 1024 * 1024);
  closeSync(fd);
  const before = statSync(site.path('sparse')).blocks;
  await site.hsm('archive', site.path('sparse'));
  await site.hsm('release', site.path('sparse'));
  const content = await site.read('sparse');
  t.equal(content.length, 64 * 1024 * 1024);
  t.ok(content.subarray(40 * 1024 * 1024, 40 * 1024 * 1024 + 65536).equals(bytes));
  t.ok(statSync(site.path('sparse')).blocks <= before + 256, 'no more blocks than before');
});

t.test('a file renamed after archiving still restores', async (t) => {
  const bytes = site.write('old name', 1000);
  await site.hsm('archive', site.path('old name'));
  renameSync(site.path('old name'), site.path('new name'));
  await site.hsm('release', site.path('new name'));
  t.ok((await site.read('new name')).equals(bytes));
});

t.test('two files never share a blob: rename, new file at the old name, archive both', async (t) => {
  const first = site.write('shared', 1000);
  await site.hsm('archive', site.path('shared'));
  renameSync(site.path('shared'), site.path('moved away'));
  const second = site.write('shared', 2000);
  await site.hsm('archive', site.path('shared'));
  await site.hsm('release', site.path('shared'), site.path('moved away'));
  t.ok((await site.read('moved away')).equals(first));
  t.ok((await site.read('shared')).equals(second));
});

t.test('an unlinked but open file still restores', async (t) => {
  const bytes = site.write('unlinked', 3000);
  await site.hsm('archive', site.path('unlinked'));
  await site.hsm('release', site.path('unlinked'));
  const fd = openSync(site.path('unlinked'), 'r');
  unlinkSync(site.path('unlinked'));
  const content = execFileAsync('cat', [], fd);
  t.ok((await content).equals(bytes));
  closeSync(fd);
});

t.test('a changed file is dirty, is archived again, and restores its newest content', async (t) => {
  site.write('changing', 1000);
  await site.hsm('archive', site.path('changing'));
  const bytes = site.write('changing', 1500);
  t.match(await site.state(site.path('changing')), /dirty/);
  await site.hsm('archive', site.path('changing'));
  await site.hsm('release', site.path('changing'));
  t.ok((await site.read('changing')).equals(bytes));
});

t.test('remove deletes the blob and leaves the file', async (t) => {
  const bytes = site.write('removed', 10);
  await site.hsm('archive', site.path('removed'));
  await site.hsm('remove', site.path('removed'));
  t.notOk(await site.container.getBlobClient('removed').exists());
  t.equal(await site.state(site.path('removed')), '(0x00000000), archive_id:1');
  t.ok((await site.read('removed')).equals(bytes));
});

t.test('a symbolic link is refused, its target is not archived', async (t) => {
  site.write('target', 10);
  symlinkSync('target', site.path('link'));
  const { code } = await site.sim.lfs('hsm_archive', site.path('link'));
  await site.drained();
  t.not(code, 0);
  t.notOk(await site.container.getBlobClient('link').exists());
});

t.test(
  'cancel of a running restore: the reader gets ENODATA, the file stays released and restores later',
  async (t) => {
    const bytes = site.write('cancelled', 2_000_000);
    await site.hsm('archive', site.path('cancelled'));
    await site.hsm('release', site.path('cancelled'));
    site.gate.hold();
    // The reader may hear of it before `lfs hsm_cancel` has returned.
    const reader = site.read('cancelled').catch((error: unknown) => error);
    await site.gate.held(1);
    await site.lfs('hsm_cancel', site.path('cancelled'));
    t.match(String(((await reader) as { stderr?: unknown }).stderr), /No data available/);
    site.gate.open();
    await site.drained();
    t.match(await site.state(site.path('cancelled')), /released exists archived/);
    t.ok((await site.read('cancelled')).equals(bytes));
  },
);

t.test(
  'cancel of a running archive: state exists, and nothing but a later archive completes it',
  async (t) => {
    const bytes = site.write('cancelled archive', 2_000_000);
    site.gate.hold();
    await site.lfs('hsm_archive', site.path('cancelled archive'));
    await site.gate.held(1);
    await site.lfs('hsm_cancel', site.path('cancelled archive'));
    await site.drained();
    t.match(await site.state(site.path('cancelled archive')), /^\(0x00000001\) exists/);
    site.gate.open();
    await site.hsm('archive', site.path('cancelled archive'));
    await site.hsm('release', site.path('cancelled archive'));
    t.ok((await site.read('cancelled archive')).equals(bytes));
  },
);

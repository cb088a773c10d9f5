// The way of an exported tree through AzCopy, as docs/operations.md tells operators: its container copied to another one by the
// service, and by way of a local disk; then imported into a file system of its own.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ContainerSASPermissions, type ContainerClient } from '@azure/storage-blob';
import t from 'tap';
import { azcopyCopy, hasAzcopy, installAzcopy } from '../helpers/azcopy.js';
import { startCopyingProxy } from '../helpers/copying-proxy.js';
import { exportAll } from '../helpers/export-site.js';
import { JobSite } from '../helpers/job-site.js';
import { buildTree, comesBack } from '../helpers/round-trip.js';

/** What a container holds, as a listing tells it. */
async function listed(container: ContainerClient): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {};
  for await (const { name, metadata, properties } of container.listBlobsFlat({ includeMetadata: true })) {
    const { contentLength, contentType } = properties;
    // AzCopy writes the keys of a directory's as HTTP headers are written: `Owner`.
    const keys = Object.entries(metadata ?? {}).map(([key, value]) => [key.toLowerCase(), value] as const);
    found[name] = { metadata: Object.fromEntries(keys.sort()), contentLength, contentType };
  }
  return found;
}

t.test(
  'a container that AzCopy has copied is imported as the tree that was exported',
  { skip: hasAzcopy() ? false : 'npm has AzCopy for x86-64 only' },
  async (t) => {
    const program = await installAzcopy();
    const dir = mkdtempSync(join(tmpdir(), 'lhsm-azcopy-'));
    t.teardown(() => {
      rmSync(dir, { recursive: true });
    });
    const site = await JobSite.start(t);
    const { azurite, container: source } = site.site;
    const proxy = await startCopyingProxy(azurite.url);
    t.teardown(() => proxy.stop());
    const sas = async (container: ContainerClient, permissions: string): Promise<string> => {
      const url = await container.generateSasUrl({
        permissions: ContainerSASPermissions.parse(permissions),
        expiresOn: new Date(Date.now() + 3_600_000),
      });
      return url.replace(`:${new URL(azurite.url).port}/`, `:${proxy.port}/`);
    };
    await site.daemon();
    buildTree(site.mount);
    t.match(await exportAll(site, 'out'), { code: 0, state: 'Completed' });
    const before = await listed(source);
    const from = await sas(source, 'rl');
    const options = ['--recursive', '--include-directory-stub', '--preserve-symlinks'];
    const list = join(dir, 'empty');
    const find = ['-mindepth', '1', '-type', 'd', '-empty', '-printf', '%P\n'];
    writeFileSync(list, execFileSync('find', [site.mount, ...find]));

    await t.test('by the service', async (t) => {
      const copy = await azurite.container('copy');
      const to = await sas(copy, 'rcwd');
      // Blocks as small as it takes for the large file to have several.
      const how = [...options, '--from-to', 'BlobBlob', '--block-size-mb', '1', '--put-blob-size-mb', '1'];
      await azcopyCopy(program, [from, to, ...how], dir);
      const found = await listed(copy);
      t.strictSame(
        Object.keys(before).filter((name) => !(name in found)),
        ['a/b/empty', 'a/empty ü %'],
        'AzCopy leaves the stubs of empty directories behind',
      );
      await azcopyCopy(program, [from, to, ...how, '--list-of-files', list], dir);
      t.strictSame(await listed(copy), before, 'every blob is there with its metadata');
      t.match(proxy.copied, { blocks: 4 }, 'the large file came in blocks');
      await comesBack(t, site, 'copy');
    });

    await t.test('by way of a local disk', async (t) => {
      const local = join(dir, 'local');
      mkdirSync(local);
      const copy = await azurite.container('local');
      const to = await sas(copy, 'rcwd');
      const how = [...options, '--preserve-posix-properties'];
      const down = [from, local, ...how, '--as-subdir=false', '--from-to', 'BlobLocal'];
      await azcopyCopy(program, down, dir);
      await azcopyCopy(program, [...down, '--list-of-files', list], dir);
      await azcopyCopy(program, [`${local}/*`, to, ...how, '--from-to', 'LocalBlob'], dir);
      // AzCopy loses sticky bits and fractions of seconds, and all that directories and links have of their own.
      await comesBack(t, site, 'local', ({ mode, owner, mtimeNs, sizeBytes, target }) =>
        sizeBytes === undefined
          ? { target }
          : { sizeBytes, owner, mode: mode.slice(-3), mtimeS: mtimeNs / 1_000_000_000n },
      );
    });
  },
);

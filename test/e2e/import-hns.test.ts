// An account with a hierarchical namespace, end to end: owner, group and mode come from its listing, whichever way that is to be had.
import { lstatSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startHnsServer, type HnsServer } from '../helpers/hns-server.js';
import { JobSite } from '../helpers/job-site.js';

const USER = '11111111-2222-3333-4444-555555555555';
const GROUP = '99999999-8888-7777-6666-555555555555';
const MODIFIED_NS = BigInt(Date.parse('Sun, 22 Nov 2026 09:32:49 GMT')) * 1_000_000n;

async function open(
  t: Test,
  permissions: HnsServer['permissions'],
): Promise<{ server: HnsServer; site: JobSite }> {
  const server = await startHnsServer();
  server.permissions = permissions;
  const dir = mkdtempSync(join(tmpdir(), 'lhsm-hns-'));
  t.teardown(async () => {
    await server.stop();
    rmSync(dir, { recursive: true });
  });
  const file = (name: string, content: string): string => {
    writeFileSync(join(dir, name), content);
    return JSON.stringify(join(dir, name));
  };
  const users = file('users', `"${USER}" = 4001\n"ann@example.org" = 4002\n`);
  const groups = file('groups', `"${GROUP}" = 5001\n`);
  const site = await JobSite.start(t, {
    jobs: `user_map = ${users}\ngroup_map = ${groups}\nuid = 65534\ngid = 65533`,
  });
  // The first archive's account has the logging container.
  const archives = [
    ...site.settings().archives,
    {
      id: 2,
      container: server.containerUrl,
      credential: `{ type = "sas", file = ${file('sas', 'sv=2025-01-05&sig=Zmlyc3Q%3D')} }`,
    },
  ];
  await site.daemon(0, { archives });
  return { server, site };
}

function fill(server: HnsServer): void {
  server.directory('data', { owner: USER, group: GROUP, permissions: 'rwxrws--T+' });
  server.directory('data/empty dir', { permissions: 'rwxr-xr-x' });
  server.file('data/mapped', 'by the map', {
    owner: 'ann@example.org',
    group: GROUP,
    permissions: 'rw-r-----+',
  });
  server.file('data/numeric', 'a number', { owner: '7001', group: '7002', permissions: 'rwx--x--t' });
  server.file('data/root', 'root', { owner: '$superuser', group: '$superuser', permissions: 'r--r--r--' });
  server.file('data/nobody', 'unknown', { owner: 'bob@example.org', group: 'staff' });
  server.file('data/metadata', 'metadata win', {
    owner: USER,
    group: GROUP,
    permissions: 'rwxrwxrwx',
    metadata: { owner: '1001', group: '1002', permissions: '0600', modtime_ns: '1700000000123456789' },
  });
  server.file('data/deep/er/link', '../../root', { owner: USER, metadata: { is_symlink: 'true' } });
  server.file('data2/other', 'not of the prefix');
}

for (const permissions of ['told', 'left out', 'refused'] as const) {
  t.test(`owners and permissions: ${permissions} by List Blobs`, async (t) => {
    const { server, site } = await open(t, permissions);
    fill(server);
    const args = ['--archive-id', '2', '--prefix', '/data', '--name', 'hns', '--wait', '--json'];
    const { code, stdout, stderr } = await site.cli('import', 'start', ...args);
    t.equal(code, 0, stdout + stderr);
    t.match(JSON.parse(stdout), {
      counts: { importedFiles: 5, importedSymlinks: 1, importedDirectories: 4, totalErrors: 0 },
    });
    t.strictSame(
      readdirSync(site.mount, { encoding: 'utf8' }).filter((name) => name !== '.lustre'),
      ['data'],
    );
    const expected: Record<string, readonly [number, number, string, string?]> = {
      data: [4001, 5001, '1770'],
      'data/empty dir': [0, 0, '755'],
      'data/mapped': [4002, 5001, '640', 'by the map'],
      'data/numeric': [7001, 7002, '1711', 'a number'],
      'data/root': [0, 0, '444', 'root'],
      'data/nobody': [65_534, 65_533, '640', 'unknown'],
      'data/metadata': [1001, 1002, '600', 'metadata win'],
    };
    for (const [path, [uid, gid, mode, content]] of Object.entries(expected)) {
      const stat = lstatSync(site.path(path), { bigint: true });
      t.match(stat, { uid: BigInt(uid), gid: BigInt(gid) }, path);
      t.equal((Number(stat.mode) & 0o7777).toString(8), mode, path);
      t.equal(stat.mtimeNs, path === 'data/metadata' ? 1_700_000_000_123_456_789n : MODIFIED_NS, path);
      if (content === undefined) continue;
      t.match(await site.state(site.path(path)), 'released exists archived', path);
      t.equal((await site.read(path)).toString(), content);
    }
    t.equal(readlinkSync(site.path('data/deep/er/link')), '../../root');
    t.match(lstatSync(site.path('data/deep/er/link')), { uid: 4001, gid: 0 });
    const log = await site.cli('jobs', 'log', 'hns');
    const entries = log.stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as { code: string; path: string });
    t.strictSame(entries.map(({ code, path }) => `${code} ${path}`).sort(), [
      'GROUP_UNKNOWN data/nobody',
      'OWNER_UNKNOWN data/nobody',
      'SET_ID_DROPPED data',
    ]);
    const isByPaths = server.requests.some(({ target }) => target.includes('resource=filesystem'));
    t.equal(isByPaths, permissions !== 'told', 'paths are listed where List Blobs does not tell');

    const again = ['--archive-id', '2', '--prefix', '/data/', '--conflict', 'skip', '--wait', '--json'];
    const second = await site.cli('import', 'start', ...again);
    t.equal(second.code, 3, second.stdout + second.stderr);
    t.match(JSON.parse(second.stdout), { counts: { preexistingFiles: 5, preexistingDirectories: 4 } });
  });
}

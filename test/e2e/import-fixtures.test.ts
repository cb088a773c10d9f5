// Containers and files as others have left them: the open hydrator and azure-import, the lemur copytool, and this program's own
// archive. Each imports with its attributes and reads with its content; what they named in the file restores.
import {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import t, { type Test } from 'tap';
import { loadLustre } from '../../native-bindings/liblustreapi.js';
import { formatFid, type Lustre } from '../../native-bindings/lustre.js';
import { JobSite } from '../helpers/job-site.js';

interface Expected {
  readonly uid: number;
  readonly gid: number;
  /** In octal, type and set-id bits left out. */
  readonly mode: string;
  readonly mtimeNs?: bigint;
  readonly content?: string;
  readonly target?: string;
}

async function check(t: Test, site: JobSite, path: string, expected: Expected): Promise<void> {
  const stat = lstatSync(site.path(path), { bigint: true });
  const { uid, gid, mode, mtimeNs, content, target } = expected;
  t.match(
    stat,
    { uid: BigInt(uid), gid: BigInt(gid), ...(mtimeNs === undefined ? {} : { mtimeNs }) },
    `owner and time of ${path}`,
  );
  if (target !== undefined) t.equal(readlinkSync(site.path(path)), target, path);
  else t.equal((Number(stat.mode) & 0o7777).toString(8), mode, `mode of ${path}`);
  if (content === undefined) return;
  t.match(await site.state(site.path(path)), 'released exists archived', path);
  t.equal((await site.read(path)).toString(), content, `content of ${path}`);
}

/** A released file as a former importer or copytool has left it. */
async function leaveStub(
  site: JobSite,
  lustre: Lustre,
  path: string,
  sizeBytes: number,
  xattrs: Readonly<Record<string, string>>,
): Promise<void> {
  const times = { atimeNs: 0n, mtimeNs: 1_500_000_000_000_000_000n };
  await lustre.import(site.path(path), 1, {
    mode: 0o644,
    uid: 1,
    gid: 1,
    sizeBytes: BigInt(sizeBytes),
    ...times,
  });
  for (const [name, value] of Object.entries(xattrs))
    await lustre.setXattrPath(site.path(path), name, Buffer.from(value));
}

async function importAll(t: Test, site: JobSite): Promise<readonly string[]> {
  const { code, stdout, stderr } = await site.cli('import', 'start', '--name', 'all', '--wait', '--json');
  t.equal(code, 0, stdout + stderr);
  const log = await site.cli('jobs', 'log', 'all');
  const lines = log.stdout.split('\n').filter(Boolean);
  return lines.map((line) => {
    const { code: said, path } = JSON.parse(line) as { code: string; path: string };
    return `${said} ${path}`;
  });
}

// Keys: laaso/blobcache.py of microsoft/amlFilesystem-hydrator and cmd/azure-import/main.go of wastore/lemur.
t.test('what the hydrator and azure-import read, and the files that they made', async (t) => {
  const site = await JobSite.start(t);
  const named = { Owner: '1001', Group: '1002' };
  await site.put('h', '', { Hdi_isfolder: 'True', ...named, Permissions: 'rwxr-x---t' });
  await site.put('h/octal', 'octal', { ...named, Permissions: '1640' });
  await site.put('h/letters', 'letters', { ...named, Permissions: 'rw-r-----' });
  await site.put('h/root', 'root', { owner: 'root', group: '$superuser', permissions: '0600' });
  await site.put('h/link', 'octal', { Ftype: 'LNK', ...named });
  await site.put('h/both', '', { hdi_isfolder: 'true', ftype: 'LNK' });
  await site.put('h/plain', 'plain', {});
  await site.put('old/file', 'old', {
    uid: '2001',
    gid: '2002',
    perm: '640',
    modtime: '2020-02-03 04:05:06 +0100',
  });
  await site.put('old/sticky', 'sticky', { uid: '2001', gid: '2002', perm: '1777' });
  await site.daemon();
  t.strictSame(await importAll(t, site), ['TYPE_CONFLICT h/both']);
  await check(t, site, 'h', { uid: 1001, gid: 1002, mode: '1750' });
  await check(t, site, 'h/octal', { uid: 1001, gid: 1002, mode: '1640', content: 'octal' });
  await check(t, site, 'h/letters', { uid: 1001, gid: 1002, mode: '640', content: 'letters' });
  await check(t, site, 'h/root', { uid: 0, gid: 0, mode: '600', content: 'root' });
  await check(t, site, 'h/link', { uid: 1001, gid: 1002, mode: '777', target: 'octal' });
  t.ok(statSync(site.path('h/both')).isDirectory());
  await check(t, site, 'h/plain', { uid: 0, gid: 0, mode: '644', content: 'plain' });
  await check(t, site, 'old/file', {
    uid: 2001,
    gid: 2002,
    mode: '640',
    mtimeNs: BigInt(Date.parse('2020-02-03T04:05:06+01:00')) * 1_000_000n,
    content: 'old',
  });
  await check(t, site, 'old/sticky', { uid: 2001, gid: 2002, mode: '1777', content: 'sticky' });

  const lustre = loadLustre({ library: site.site.sim.library });
  await leaveStub(site, lustre, 'hydrated', 5, {
    'trusted.lhsm_uuid': 'az://archive/h/octal',
    'trusted.lhsm_url': 'trusted.lhsm_url',
    'trusted.lhsm_hash': '747275737465642E6C68736D5F68617368',
  });
  t.equal((await site.read('hydrated')).toString(), 'octal');
});

// cmd/lhsm-plugin-az-core/archive.go of wastore/lemur: Go's HTTP client writes the first letter of a key as a capital.
t.test('what the lemur copytool archived below its export prefix', async (t) => {
  const site = await JobSite.start(t);
  const meta = {
    Permissions: '0640',
    Modtime: '2021-03-04 05:06:07 +0000',
    Owner: '1001',
    Group: '1002',
  };
  await site.put('export/d', '', { ...meta, Permissions: '1777', Hdi_isfolder: 'true' });
  await site.put('export/d/a b%20c', 'of lemur', meta);
  const settings = site.settings();
  const archives = settings.archives.map((archive) => ({ ...archive, prefix: 'export/' }));
  await site.daemon(0, { archives });
  t.strictSame(await importAll(t, site), []);
  const common = { uid: 1001, gid: 1002, mtimeNs: 1_614_834_367_000_000_000n };
  await check(t, site, 'd', { ...common, mode: '1777' });
  await check(t, site, 'd/a b%20c', { ...common, mode: '640', content: 'of lemur' });

  const lustre = loadLustre({ library: site.site.sim.library });
  await leaveStub(site, lustre, 'renamed since', 8, { 'trusted.lhsm_uuid': 'd/a b%20c' });
  t.equal((await site.read('renamed since')).toString(), 'of lemur', 'a bare name is relative to the prefix');
});

t.test('what our own archive wrote, of files that were deleted since', async (t) => {
  const site = await JobSite.start(t);
  await site.daemon();
  const names = ['plain', 'with space', 'per%cent%41', 'a\\b', 'dots..', 'new\nline', '#?&', '日本 🌊'];
  mkdirSync(site.path('d'));
  mkdirSync(site.path('d/sub.'));
  const files = names.flatMap((name) => [name, `d/${name}`, `d/sub./${name}`]);
  files.forEach((name, index) => {
    const file = site.path(name);
    writeFileSync(file, `content of ${name}`);
    chownSync(file, 1000 + index, 2000 + index);
    chmodSync(file, index % 2 === 0 ? 0o640 : 0o1604);
    utimesSync(file, 1_600_000_000, 1_600_000_000.5 + index);
  });
  linkSync(site.path('plain'), site.path('second name'));
  for (const [index, name] of ['d/sub.', 'd'].entries()) {
    chownSync(site.path(name), 11 + index, 12);
    chmodSync(site.path(name), 0o1771);
    utimesSync(site.path(name), 1_500_000_000, 1_500_000_000 + index);
  }
  await site.site.hsm('archive', ...files.map((name) => site.path(name)));
  const seen = new Map(
    ['d', 'd/sub.', ...files].map((name) => [name, lstatSync(site.path(name), { bigint: true })] as const),
  );
  for (const name of readdirSync(site.mount)) {
    if (name !== '.lustre') rmSync(site.path(name), { recursive: true });
  }
  t.strictSame(await importAll(t, site), []);
  t.notOk(readdirSync(site.mount).includes('second name'), 'a blob has one name: other hard links are lost');
  for (const [name, { uid, gid, mode, mtimeNs }] of seen) {
    await check(t, site, name, {
      uid: Number(uid),
      gid: Number(gid),
      mode: (Number(mode) & 0o7777).toString(8),
      mtimeNs,
      ...(files.includes(name) ? { content: `content of ${name}` } : {}),
    });
  }

  // The blob names its new file: another one at the old path does not replace the only copy.
  const lustre = loadLustre({ library: site.site.sim.library });
  const stub = site.path('plain');
  const { metadata } = await site.site.container.getBlobClient('plain').getProperties();
  t.equal(metadata?.['lustre_fid'], formatFid(await lustre.pathToFid(stub)));
  await site.site.hsm('release', stub);
  renameSync(stub, site.path('moved'));
  writeFileSync(stub, 'another file');
  await site.site.hsm('archive', stub);
  await site.site.hsm('release', stub);
  t.equal((await site.read('moved')).toString(), 'content of plain');
  t.equal((await site.read('plain')).toString(), 'another file');
});

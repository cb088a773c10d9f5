// Bad input to an import, end to end: each a stable code in the report, and nothing lost.
import { lstatSync, mkdirSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Daemon } from '../helpers/daemon.js';
import { JobSite, type CliResult } from '../helpers/job-site.js';

interface Entry {
  readonly kind: string;
  readonly code: string;
  readonly path: string;
  readonly errno?: string;
}

interface Job {
  readonly state: string;
  readonly errorCode?: string;
  readonly counts: Readonly<Record<string, number>>;
}

async function entriesOf(site: JobSite, job: string): Promise<readonly Entry[]> {
  const { stdout } = await site.cli('jobs', 'log', job);
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Entry);
}

function run(site: JobSite, name: string, ...args: string[]): Promise<CliResult> {
  return site.cli('import', 'start', '--name', name, '--wait', '--json', ...args);
}

function jobOf({ stdout, stderr }: CliResult): Job {
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout) as Job;
}

const shown = (site: JobSite): string[] =>
  readdirSync(site.mount, { recursive: true, encoding: 'utf8' })
    .filter((name) => !name.startsWith('.lustre') && !name.startsWith('IMPORT_'))
    .sort();

async function readsAs(t: Test, site: JobSite, name: string, content: string): Promise<void> {
  t.equal((await site.read(name)).toString(), content, name);
}

t.test('blobs that cannot be files: each by its code, everything else is imported', async (t) => {
  const site = await JobSite.start(t);
  const long = 'n'.repeat(256);
  await site.put('double//slash', 'x', {});
  await site.put(`d/${long}`, 'x', {});
  await site.put('f', 'the file', {});
  await site.put('f/below', 'x', {});
  await site.put('links/empty', '', { is_symlink: 'true' });
  await site.put('links/endless', 'l'.repeat(4096), { is_symlink: 'true' });
  await site.put('links/good', '../f', { is_symlink: 'true' });
  await site.put('odd', 'odd', { owner: 'nobody', group: '-5', permissions: 'rwz', modtime: 'yesterday' });
  await site.site.container.getPageBlobClient('page').create(512);
  const appended = site.site.container.getAppendBlobClient('append');
  await appended.create();
  await appended.appendBlock('appended', 8);
  await site.daemon();

  const strict = await run(site, 'strict', '--dry-run');
  t.equal(strict.code, 4);
  t.match(jobOf(strict), { state: 'Failed', errorCode: 'TOO_MANY_ERRORS' });
  t.ok(
    (await entriesOf(site, 'strict')).some(({ kind }) => kind === 'error'),
    'the error is in the report',
  );

  const all = await run(site, 'all', '--max-errors', '-1');
  t.equal(all.code, 3, all.stdout + all.stderr);
  const job = jobOf(all);
  t.match(job, { state: 'CompletedPartial', counts: { totalBlobsWalked: 10, totalErrors: 6 } });
  const said = await entriesOf(site, 'all');
  t.strictSame(
    said.map(({ code, path, errno }) => [code, path, ...(errno ? [errno] : [])].join(' ')).sort(),
    [
      'APPEND_BLOB append',
      `COMPONENT_TOO_LONG d/${long} ENAMETOOLONG`,
      'FILE_AND_DIRECTORY f/below ENOTDIR',
      'GROUP_UNKNOWN odd',
      'MODE_UNREADABLE odd',
      'MTIME_UNREADABLE odd',
      'NAME_EMPTY_COMPONENT double//slash EINVAL',
      'OWNER_UNKNOWN odd',
      'PAGE_BLOB page EOPNOTSUPP',
      'SYMLINK_TARGET links/empty EINVAL',
      'SYMLINK_TARGET links/endless EINVAL',
    ],
  );
  t.strictSame(shown(site), ['append', 'f', 'links', 'links/good', 'odd']);
  await readsAs(t, site, 'f', 'the file');
  await readsAs(t, site, 'links/good', 'the file');
  await readsAs(t, site, 'odd', 'odd');
  await readsAs(t, site, 'append', 'appended');
  t.match(lstatSync(site.path('odd')), { uid: 0, gid: 0, mode: 0o100644 });
});

t.test('a blob that vanishes after it was listed', async (t) => {
  const site = await JobSite.start(t);
  await site.put('link', 'target', { is_symlink: 'true' });
  await site.put('other', 'stays', {});
  await site.daemon();
  site.holdData();
  const running = run(site, 'vanishing', '--max-errors', '5');
  await site.proxy.held(1);
  await site.site.container.deleteBlob('link');
  site.proxy.open();
  const { code } = await running;
  t.equal(code, 3);
  t.match(await entriesOf(site, 'vanishing'), [
    { kind: 'error', code: 'BLOB_VANISHED', path: 'link', errno: 'ENOENT' },
  ]);
  t.strictSame(shown(site), ['other']);
});

t.test('a listing that fails half way: what came before stays, a later import does the rest', async (t) => {
  const site = await JobSite.start(t, { jobs: 'page_size = 10' });
  const names = Array.from({ length: 25 }, (_, index) => `f${String(index).padStart(2, '0')}`);
  for (const name of names) await site.put(name, name, {});
  await site.daemon();
  // The first page passes, the next wait; meanwhile the container goes.
  site.proxy.hold(({ url = '' }) => url.includes('comp=list') && url.includes('marker='));
  const running = run(site, 'broken');
  await site.proxy.held(1);
  await site.site.container.delete();
  site.proxy.open();
  const broken = await running;
  t.equal(broken.code, 4);
  t.match(jobOf(broken), { state: 'Failed', errorCode: 'LISTING_FAILED' });
  t.match(readdirSync(site.mount).join(), 'IMPORT_Failed.');
  const before = shown(site);
  t.equal(before.length, 10);
  t.equal(jobOf(broken).counts['importedFiles'], 10);

  await site.site.container.createIfNotExists();
  for (const name of names) await site.put(name, name, {});
  const whole = await run(site, 'whole', '--conflict', 'overwrite-always');
  t.equal(whole.code, 0, whole.stdout + whole.stderr);
  t.strictSame(shown(site), names);
  await readsAs(t, site, 'f00', 'f00');
  await readsAs(t, site, 'f24', 'f24');
});

t.test(
  'a full metadata target ends the job, a quota costs its file; a later import does the rest',
  async (t) => {
    const site = await JobSite.start(t);
    const names = Array.from({ length: 6 }, (_, index) => `f${index}`);
    for (const name of names) await site.put(name, name, {});
    await site.put('link', 'f0', { is_symlink: 'true' });
    await site.daemon();
    const { sim } = site.site;
    let runs = 0;
    for (const call of ['import', 'setxattr']) {
      await sim.fault(`${call} errno=ENOSPC count=1`);
      const full = await run(site, `full${(runs += 1)}`, '--conflict', 'skip', '--max-errors', '-1');
      await sim.clearFaults();
      t.equal(full.code, 4, call);
      t.match(jobOf(full), { state: 'Failed', errorCode: 'MDT_FULL' }, call);
      t.ok(shown(site).length < 7, 'not everything was made');
      for (const name of shown(site)) {
        if (name !== 'link') t.match(await site.state(site.path(name)), 'released exists archived');
      }
    }
    await sim.fault('import errno=EDQUOT count=1');
    const quota = await run(site, 'quota', '--conflict', 'skip', '--max-errors', '-1');
    await sim.clearFaults();
    t.equal(quota.code, 3, quota.stdout);
    const errors = (await entriesOf(site, 'quota')).filter(({ kind }) => kind === 'error');
    t.match(errors, [{ code: 'INODE_QUOTA', errno: 'EDQUOT' }]);
    t.equal(errors.length, 1);
    const rest = await run(site, 'rest', '--conflict', 'skip');
    t.match(jobOf(rest).counts, { importedFiles: 1, totalErrors: 0 });
    t.strictSame(shown(site), [...names, 'link']);
    for (const name of names) await readsAs(t, site, name, name);
  },
);

t.test('a logging container that is missing, or that is the data’s own', async (t) => {
  const site = await JobSite.start(t);
  await site.put('f', 'content', {});
  const more = (container: string): string =>
    `[http]\nlisten = "127.0.0.1:0"\n[jobs]\nlogging_container = "${container}"\n`;
  await site.daemon(0, { more: more('not-there') });
  const refused = await run(site, 'refused');
  t.equal(refused.code, 1);
  t.match(refused.stderr, /the logging container not-there does not exist/);
  t.strictSame(shown(site), [], 'nothing was touched');

  const same = Daemon.spawn(site.settings(0, { more: more('archive') }));
  t.not((await same.exit()).code, 0);
  t.match(same.stderr, /jobs\.logging_container is an archive's container/);
  await same.stop();
});

t.test('a state directory that fails at the end of a job costs nothing but a line in the log', async (t) => {
  const site = await JobSite.start(t);
  await site.put('link', 'target', { is_symlink: 'true' });
  const daemon = await site.daemon();
  site.holdData();
  const running = run(site, 'job');
  await site.proxy.held(1);
  const state = join(daemon.dir, 'state');
  const current = readdirSync(state, { recursive: true, encoding: 'utf8' }).find((name) =>
    name.endsWith('current.json'),
  );
  // A directory cannot be removed as a file.
  rmSync(join(state, current ?? ''));
  mkdirSync(join(state, current ?? ''));
  site.proxy.open();
  t.equal((await running).code, 0);
  await daemon.log(({ msg }) => msg === 'a job is over, but the local state of jobs is not');
  rmdirSync(join(state, current ?? ''));
  t.equal((await run(site, 'next', '--conflict', 'overwrite-dirty')).code, 0, 'the daemon lives');
});

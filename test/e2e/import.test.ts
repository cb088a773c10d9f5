// An import through daemon, admin API and command line: what users see, one job at a time over all nodes, and what a
// kill leaves.
import { lstatSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import t from 'tap';
import { JobSite } from '../helpers/job-site.js';

t.test('a container becomes released files that read as its blobs', async (t) => {
  const site = await JobSite.start(t);
  await site.put('data/sub/a.txt', 'content of a', {
    owner: '1001',
    group: '1002',
    permissions: '0640',
    modtime_ns: '1700000000123456789',
  });
  await site.put('data', '', {
    hdi_isfolder: 'true',
    owner: '5',
    group: '6',
    permissions: '1775',
    modtime_ns: '1600000000000000001',
  });
  await site.put('data/link', 'sub/a.txt', { is_symlink: 'true', ftype: 'LNK', owner: '7', group: '8' });
  await site.put('plain', 'no metadata at all', {});
  await site.daemon();
  const { code, stdout } = await site.cli('import', 'start', '--name', 'first', '--wait', '--json');
  t.equal(code, 0, stdout);
  const job = JSON.parse(stdout) as { state: string; counts: Record<string, number> };
  t.equal(job.state, 'Completed');
  t.match(job.counts, {
    totalBlobsWalked: 4,
    totalBlobsImported: 4,
    importedFiles: 2,
    importedDirectories: 1,
    importedSymlinks: 1,
    totalErrors: 0,
    totalConflicts: 0,
  });
  const a = site.path('data/sub/a.txt');
  t.match(await site.state(a), 'released exists archived');
  const stat = statSync(a, { bigint: true });
  t.match(stat, { uid: 1001n, gid: 1002n, size: 12n, mtimeNs: 1_700_000_000_123_456_789n });
  t.equal(Number(stat.mode) & 0o7777, 0o640);
  const directory = statSync(site.path('data'), { bigint: true });
  t.match(directory, { uid: 5n, gid: 6n, mtimeNs: 1_600_000_000_000_000_001n });
  t.equal(Number(directory.mode) & 0o7777, 0o1775);
  t.equal(readlinkSync(site.path('data/link')), 'sub/a.txt');
  t.match(lstatSync(site.path('data/link')), { uid: 7, gid: 8 });
  t.equal((await site.read('data/sub/a.txt')).toString(), 'content of a');
  t.equal((await site.read('data/link')).toString(), 'content of a');
  t.equal((await site.read('plain')).toString(), 'no metadata at all');
  t.notMatch(readdirSync(site.mount).join(), 'IMPORT_', 'the status file is gone');

  const list = await site.cli('jobs', 'list', '--json');
  t.match((JSON.parse(list.stdout) as { jobs: unknown }).jobs, [{ name: 'first', state: 'Completed' }]);
  const again = await site.cli('import', 'start', '--name', 'second', '--wait');
  t.equal(again.code, 4, 'everything is there already, and the mode is fail');
  t.match(again.stderr + again.stdout, /CONFLICT|is there already|conflict/i);
  t.match(readdirSync(site.mount).join(), 'IMPORT_Failed.', 'the status file stays, with the reason');
  const log = await site.cli('jobs', 'log', 'second');
  t.equal(log.code, 0);
  const skipped = await site.cli('import', 'start', '--conflict', 'skip', '--wait', '--json');
  t.equal(skipped.code, 3);
  t.match(JSON.parse(skipped.stdout), {
    state: 'CompletedPartial',
    counts: { totalConflicts: 3, preexistingFiles: 2, preexistingSymlinks: 1, preexistingDirectories: 1 },
  });
});

t.test('one job at a time, over all nodes, and refused before anything is touched', async (t) => {
  const site = await JobSite.start(t, { nodes: 2 });
  for (let n = 0; n < 30; n += 1) await site.put(`link${n}`, 'target', { is_symlink: 'true' });
  await site.daemon(0);
  await site.daemon(1);
  const overlap = await site.cli('import', 'start', '--prefix', '/data', '--prefix', '/data2', '--wait');
  t.equal(overlap.code, 2);
  t.match(overlap.stderr, /"\/data" and "\/data2" overlap/);
  t.strictSame(readdirSync(site.mount), []);

  // The bodies of links are read through the proxy: held, the job cannot end.
  site.holdData();
  const begun = await site.cli('import', 'start', '--name', 'long');
  t.equal(begun.code, 0, begun.stderr);
  await site.proxy.held(1);
  const here = await site.cli('import', 'start');
  t.equal(here.code, 6);
  t.match(here.stderr, /The job long runs/);
  const there = await site.cliOn(1, 'import', 'start');
  t.equal(there.code, 6);
  t.match(there.stderr, /import.*long/s);
  const seen = await site.cliOn(1, 'jobs', 'show', 'long', '--json');
  t.match(JSON.parse(seen.stdout), { name: 'long', state: 'InProgress' });

  const cancelled = await site.cliOn(1, 'jobs', 'cancel', 'long');
  t.equal(cancelled.code, 0, cancelled.stderr);
  const watched = await site.cli('jobs', 'watch', 'long');
  t.equal(watched.code, 5);
  site.proxy.open();
  const next = await site.cliOn(1, 'import', 'start', '--conflict', 'skip', '--wait');
  t.equal(next.code, 0, next.stderr);
});

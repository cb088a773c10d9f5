// An export through daemon, admin API and command line: what goes to the container and what does not, what stands in the
// way, and the way back into another file system.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import t from 'tap';
import { JobSite } from '../helpers/job-site.js';
import { blobs, entries, exportAll, metadata } from '../helpers/export-site.js';
import { buildTree, comesBack } from '../helpers/round-trip.js';

t.test('what is new or changed is exported, and nothing else', async (t) => {
  const site = await JobSite.start(t);
  await site.daemon();
  mkdirSync(site.path('dir/empty'), { recursive: true });
  for (const name of ['a', 'b', 'dir/c', 'dir/none']) {
    writeFileSync(site.path(name), name === 'dir/none' ? '' : `content of ${name}`);
  }
  symlinkSync('dir/c', site.path('link'));
  chownSync(site.path('dir'), 12, 34);
  chmodSync(site.path('dir'), 0o1775);

  const dry = await exportAll(site, 'dry', '--dry-run');
  t.match(dry, { code: 0, state: 'Completed', counts: { totalFilesDiscovered: 4, totalFilesExported: 0 } });
  t.same(
    (await entries(site, 'dry')).map(({ kind, code, path }) => [kind, code, path]),
    ['a', 'b', 'dir/c', 'dir/none'].map((path) => ['item', 'WOULD_EXPORT', path]),
  );
  t.same(await blobs(site), {}, 'a dry run writes nothing');

  const first = await exportAll(site, 'first', '--log-items');
  t.match(first, {
    code: 0,
    state: 'Completed',
    percentComplete: 100,
    counts: {
      totalFilesDiscovered: 4,
      totalBytesDiscovered: 12 + 12 + 16,
      totalFilesExported: 4,
      totalBytesExported: 40,
      totalFilesFailed: 0,
      totalFilesSkipped: 0,
      totalDirectoriesExported: 2,
      totalSymlinksExported: 1,
      totalErrors: 0,
    },
  });
  t.same(await blobs(site), {
    a: 'content of a',
    b: 'content of b',
    dir: '',
    'dir/c': 'content of dir/c',
    'dir/empty': '',
    'dir/none': '',
    link: 'dir/c',
  });
  t.match(await metadata(site, 'dir'), {
    hdi_isfolder: 'true',
    owner: '12',
    group: '34',
    permissions: '1775',
  });
  t.match(await metadata(site, 'link'), { ftype: 'LNK', is_symlink: 'true' });
  t.match(await site.state(site.path('a')), 'exists archived');
  t.notMatch(readdirSync(site.mount).join(), 'EXPORT_', 'the status file is gone');
  t.same(
    (await entries(site, 'first')).map(({ code, path }) => `${code} ${path}`),
    ['a', 'b', 'dir', 'dir/c', 'dir/empty', 'dir/none', 'link'].map((path) => `EXPORTED ${path}`),
  );

  const before = await metadata(site, 'b');
  writeFileSync(site.path('a'), 'changed');
  chmodSync(site.path('b'), 0o600);
  chownSync(site.path('dir'), 0, 0);
  renameSync(site.path('dir/c'), site.path('dir/moved'));
  unlinkSync(site.path('dir/none'));
  unlinkSync(site.path('link'));
  symlinkSync('elsewhere', site.path('link'));
  await site.site.hsm('release', site.path('b'));
  const second = await exportAll(site, 'second');
  t.match(second, {
    code: 0,
    state: 'Completed',
    percentComplete: 100,
    counts: {
      totalFilesDiscovered: 3,
      totalFilesExported: 1,
      totalFilesSkipped: 2,
      totalDirectoriesExported: 0,
      totalSymlinksExported: 1,
    },
  });
  t.same(await blobs(site), {
    a: 'changed',
    b: 'content of b',
    dir: '',
    'dir/c': 'content of dir/c',
    'dir/empty': '',
    'dir/none': '',
    link: 'elsewhere',
  });
  t.same(await metadata(site, 'b'), before, 'a change of mode does not propagate');
  t.match(await metadata(site, 'dir'), { owner: '12' });
  t.match(await site.state(site.path('b')), 'released', 'nothing was restored for it');

  const third = await exportAll(site, 'third');
  t.match(third.counts, { totalFilesExported: 0, totalFilesSkipped: 3, totalSymlinksExported: 0 });
});

t.test('what cannot be exported is named; devices, FIFOs and sockets are never opened', async (t) => {
  const site = await JobSite.start(t);
  await site.daemon();
  mkdirSync(site.path('d'));
  const bad = Buffer.concat([Buffer.from(`${site.mount}/d/`), Buffer.from([0xff, 0x66])]);
  writeFileSync(bad, 'no UTF-8');
  writeFileSync(site.path('d/good'), 'good');
  writeFileSync(site.path('d/one'), 'of two names');
  linkSync(site.path('d/one'), site.path('d/two'));
  writeFileSync(site.path('d/never'), 'never');
  await site.site.lfs('hsm_set', '--noarchive', site.path('d/never'));
  // A FIFO would hang whoever opened it.
  execFileSync('mkfifo', [site.path('d/fifo')]);
  const server = createServer().listen(site.path('d/socket'));
  await once(server, 'listening');
  t.teardown(() => server.close());
  await site.put('d/sub', 'a file of somebody else', {});
  mkdirSync(site.path('d/sub'));
  symlinkSync('x', site.path('d/taken'));
  await site.put('d/taken', 'no link', {});

  const strict = await exportAll(site, 'strict');
  t.match(strict, { code: 4, state: 'Failed', errorCode: 'TOO_MANY_ERRORS' });
  t.match(strict.statusMessage, 'NAME_NOT_UTF8');
  t.match(readdirSync(site.mount).join(), 'EXPORT_Failed.');
  t.match(
    (await entries(site, 'strict')).filter(({ kind }) => kind === 'error'),
    [{ code: 'NAME_NOT_UTF8', path: 'd/\\xfff', errno: 'EILSEQ' }],
  );

  const lenient = await exportAll(site, 'lenient', '--max-errors', '-1', '/d');
  t.match(lenient, {
    code: 3,
    state: 'CompletedPartial',
    percentComplete: 100,
    counts: {
      totalFilesDiscovered: 6,
      totalFilesExported: 2,
      totalFilesFailed: 1,
      totalFilesSkipped: 3,
      totalErrors: 3,
      totalWarnings: 3,
    },
  });
  const found = (await entries(site, 'lenient')).map(({ kind, code, path }) => `${kind} ${code} ${path}`);
  t.strictSame(found.filter((line) => !line.includes('HARD_LINK')).sort(), [
    'error NAME_NOT_UTF8 d/\\xfff',
    'error NAME_TAKEN d/taken',
    'error PARENT_IS_FILE d/sub',
    'warning FILE_NOARCHIVE d/never',
    'warning SPECIAL_FILE d/fifo',
    'warning SPECIAL_FILE d/socket',
  ]);
  const links = found.filter((line) => line.includes('HARD_LINK'));
  t.equal(links.length, 1, 'of two names one has the blob, the other is noted');
  const named = Object.keys(await blobs(site)).filter((name) => name === 'd/one' || name === 'd/two');
  t.equal(named.length, 1);
  t.notMatch(links[0], named[0]);
});

t.test('a file whose copy is lost is exported anew, and one without content is named', async (t) => {
  const site = await JobSite.start(t);
  await site.daemon();
  const names = ['lost', 'dirty', 'clean', 'gone'];
  for (const name of names) writeFileSync(site.path(name), `content of ${name}`);
  await site.site.hsm('archive', ...names.map((name) => site.path(name)));
  await site.site.lfs('hsm_release', site.path('gone'));
  for (const name of ['lost', 'dirty', 'gone']) {
    await site.site.container.deleteBlob(name);
    await site.site.lfs('hsm_set', '--lost', site.path(name));
  }
  writeFileSync(site.path('dirty'), 'written since');
  const before = lstatSync(site.path('lost'), { bigint: true });

  const dry = await exportAll(site, 'dry', '--dry-run');
  t.match(dry, { code: 0, counts: { totalFilesDiscovered: 4, totalFilesSkipped: 2 } });
  t.match(
    await site.state(site.path('lost')),
    /^\(0x00000049\) exists archived lost/,
    'a dry run marks nothing',
  );

  const first = await exportAll(site, 'first');
  t.match(first, {
    code: 0,
    state: 'Completed',
    counts: { totalFilesExported: 2, totalFilesSkipped: 2, totalFilesFailed: 0, totalWarnings: 1 },
  });
  t.match(await entries(site, 'first'), [{ kind: 'warning', code: 'FILE_LOST', path: 'gone' }]);
  t.same(await blobs(site), {
    clean: 'content of clean',
    dirty: 'written since',
    lost: 'content of lost',
  });
  for (const name of ['lost', 'dirty']) {
    t.match(await site.state(site.path(name)), /^\(0x00000009\) exists archived,/, `${name} is lost no more`);
  }
  const after = lstatSync(site.path('lost'), { bigint: true });
  for (const time of ['mtimeNs', 'ctimeNs'] as const) t.equal(after[time], before[time], time);
  t.match(await site.state(site.path('gone')), 'released exists archived lost');
});

t.test('a path of no use is refused before there is a job', async (t) => {
  const site = await JobSite.start(t);
  await site.daemon();
  const gone = await site.cli('export', 'start', '--wait', '/nowhere');
  t.equal(gone.code, 1);
  t.match(gone.stderr, 'ENOENT');
  symlinkSync('/etc', site.path('out'));
  const outside = await site.cli('export', 'start', '--wait', '/out/ssh');
  t.equal(outside.code, 2, 'a mistake of the command line');
  t.match(outside.stderr, 'is not in the file system');
});

t.test('exported, imported elsewhere and restored, a tree is what it was', async (t) => {
  const site = await JobSite.start(t);
  await site.daemon();
  buildTree(site.mount);
  const first = await exportAll(site, 'out');
  t.match(first, { code: 0, state: 'Completed' });
  await comesBack(t, site, 'archive');
});

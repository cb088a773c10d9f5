// Batch restore, release and verify through daemon, admin API and command line.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { OperationDocument } from '../../daemon/jobs/operation.js';
import { JobSite } from '../helpers/job-site.js';

/** A tree of files that are archived, and released if asked to. */
async function setUp(t: Test, files: number, release = true) {
  const site = await JobSite.start(t);
  const daemon = await site.daemon();
  mkdirSync(site.path('tree/sub'), { recursive: true });
  const paths = Array.from({ length: files }, (_, at) => site.path('tree', at % 2 ? 'sub' : '.', `f${at}`));
  for (const [at, path] of paths.entries()) writeFileSync(path, `content ${at}`);
  for (let at = 0; at < files; at += 50) await site.site.lfs('hsm_archive', ...paths.slice(at, at + 50));
  await site.site.drained();
  if (release) await site.site.lfs('hsm_release', ...paths);
  return { site, daemon, paths, tree: site.path('tree') };
}

const parse = (text: string): OperationDocument => JSON.parse(text) as OperationDocument;

t.test('a tree comes back; what cannot is named, and the exit status says so', async (t) => {
  const { site, daemon, paths, tree } = await setUp(t, 60);
  await site.site.container.deleteBlob('tree/sub/f7');
  const ran = await site.cli('restore', tree, '--window', '40', '--wait', '--json');
  t.equal(ran.code, 3, ran.stderr);
  const end = parse(ran.stdout);
  t.match(end, {
    id: 'restore-1',
    state: 'partial',
    counts: { discovered: 60, asked: 60, done: 59, failed: 1, outstanding: 0, window: 40 },
    findings: [{ code: 'BLOB_MISSING', path: 'tree/sub/f7', severity: 'error' }],
  });
  t.ok((end.counts['maxQueue'] ?? 99) <= 40);
  t.equal(readFileSync(paths[8] ?? '', 'utf8'), 'content 8');
  t.match(await site.state(paths[7] ?? ''), 'released');
  const again = await site.cli('restore', join(tree, 'sub/..'), '--wait');
  t.equal(again.code, 4, 'of the one that is left none comes back');
  t.match(again.stdout, /ERROR BLOB_MISSING tree\/sub\/f7: .*\n\nrestore-2: failed\n/s);

  await site.site.lfs('hsm_release', paths[0] ?? '', paths[1] ?? '');
  const list = join(daemon.dir, 'list');
  writeFileSync(list, `${paths[0] ?? ''}\n${paths[2] ?? ''}\n`);
  const listed = await site.cli('restore', '--files-from', list, '--newest-first', '--wait', '--json');
  t.equal(listed.code, 0, listed.stderr);
  const request = parse(listed.stdout).request;
  t.match(parse(listed.stdout).counts, { done: 1, skipped: 1 });
  t.equal(existsSync('filesFrom' in request ? (request.filesFrom ?? '') : ''), false, 'the copy is gone');

  const outside = await site.cli('restore', '/etc', '--wait');
  t.match(outside, { code: 2, stderr: /"\/etc" is not in the file system/ });
  const all = await site.cli('operations', 'list');
  t.match(all.stdout, /restore-3 +complete.*restore-2 +failed.*restore-1 +partial/s);
});

t.test('a restore in the background: watched, canceled, and left to the coordinator by a stop', async (t) => {
  const { site, daemon, tree } = await setUp(t, 20);
  site.holdData();
  const begun = await site.cli('restore', tree);
  t.match(begun, { code: 0, stdout: /^restore-1 has begun\.\nWatch it/ });
  await site.proxy.held(1);
  t.match((await site.cli('operations', 'show', 'restore-1')).stdout, /restore-1: running/);
  const canceled = await site.cli('operations', 'cancel', 'restore-1', '--wait', '--json');
  t.equal(canceled.code, 5, canceled.stderr);
  t.match(parse(canceled.stdout), { state: 'canceled', counts: { canceled: 20, outstanding: 0, done: 0 } });

  await site.site.drained();
  await site.cli('restore', tree);
  const watch = site.cli('operations', 'watch', 'restore-2');
  for (let outstanding = 0; outstanding < 20;) {
    const { stdout } = await site.cli('operations', 'show', 'restore-2', '--json');
    outstanding = parse(stdout).counts['outstanding'] ?? 0;
  }
  daemon.signal('SIGTERM');
  const line = await daemon.log(({ operation, state }) => operation === 'restore-2' && state === 'canceled');
  t.match(line.msg, /The daemon stopped: .*20 requests stay at the coordinator, and agents go on with them/);
  site.proxy.open();
  await daemon.exit();
  t.not((await watch).code, 0);
});

t.test('release looks at the blob first', async (t) => {
  const { site, paths, tree } = await setUp(t, 10, false);
  const blob = site.site.container.getBlockBlobClient('tree/sub/f3');
  await blob.upload('other bytes', 11);
  const dry = await site.cli('release', tree, '--dry-run');
  t.equal(dry.code, 3, dry.stderr);
  t.match(dry.stdout, /ITEM WOULD_RELEASE tree\/f0: would be released: 9 bytes/);
  t.notMatch(await site.state(paths[0] ?? ''), 'released');
  const ran = await site.cli('release', tree, '--json');
  t.equal(ran.code, 3, ran.stderr);
  t.match(parse(ran.stdout), {
    state: 'partial',
    counts: { files: 10, released: 9, refused: 1 },
    findings: [{ code: 'BLOB_CHANGED', path: 'tree/sub/f3' }],
  });
  t.notMatch(await site.state(paths[3] ?? ''), 'released');
  t.match(await site.state(paths[0] ?? ''), 'released');
  t.equal((await site.cli('release', tree, '--older-than', '1d')).code, 0, 'nothing is that old');
  t.equal((await site.cli('release', paths[3] ?? '')).code, 4);
});

t.test('verify finds what is lost, and marks it with --repair only', async (t) => {
  const { site, paths, tree } = await setUp(t, 10, false);
  await site.site.lfs('hsm_release', paths[0] ?? '');
  for (const name of ['tree/f0', 'tree/f2']) await site.site.container.deleteBlob(name);
  const found = await site.cli('verify', tree, '--content');
  t.equal(found.code, 3, found.stderr);
  t.match(found.stdout, /ERROR BLOB_MISSING tree\/f0/);
  t.notMatch(await site.state(paths[0] ?? ''), 'lost');
  const repaired = await site.cli('verify', tree, '--repair', '--json');
  t.match(parse(repaired.stdout), { state: 'partial', counts: { checked: 10, errors: 2, repaired: 2 } });
  t.match(await site.state(paths[0] ?? ''), 'lost');
  t.match(await site.state(paths[2] ?? ''), 'dirty');
  await site.site.hsm('archive', paths[2] ?? '');
  const rest = await site.cli('verify', paths[2] ?? '', paths[4] ?? '', '--content');
  t.equal(rest.code, 0, rest.stdout);
});

t.test('the status of one node shows the agents of all, until they stop', async (t) => {
  const site = await JobSite.start(t, { nodes: 2 });
  await site.daemon(0);
  const other = await site.daemon(1);
  const agents = async (): Promise<readonly { mount: string; stale: boolean }[]> => {
    const { stdout } = await site.cli('status', '--json');
    return (JSON.parse(stdout) as { agents: { mount: string; stale: boolean }[] }).agents;
  };
  // Cards are read every ten seconds; what is in the container tells when to look.
  const cards = async (): Promise<number> => {
    let count = 0;
    for await (const { name } of site.logs.listBlobsFlat()) if (name.includes('/agents/')) count += 1;
    return count;
  };
  while ((await cards()) < 2) await new Promise((resolve) => setImmediate(resolve));
  t.match(await agents(), [
    { mount: String, stale: false },
    { mount: String, stale: false },
  ]);
  t.match((await site.cli('status')).stdout, /Agents of the file system\n/);
  await other.stop();
  t.equal(await cards(), 1, 'a clean stop takes the card away');
});

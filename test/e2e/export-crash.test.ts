// Exports in trouble: several agents, one of them killed, a tree that is written all the time, a cancel and a kill in the
// middle.
import { mkdirSync, readdirSync } from 'node:fs';
import { open } from 'node:fs/promises';
import t from 'tap';
import {
  archived,
  blobs,
  ended,
  entries,
  exportAll,
  inHand,
  job,
  wanted,
  write,
} from '../helpers/export-site.js';
import { JobSite } from '../helpers/job-site.js';

t.test('two agents share an export; one is killed, and nothing is lost', async (t) => {
  const site = await JobSite.start(t, { nodes: 2 });
  const names = write(site, 200);
  const [one, two] = [await site.daemon(0), await site.daemon(1)];
  const first = await exportAll(site, 'shared');
  t.match(first, { code: 0, counts: { totalFilesExported: 200 } });
  t.ok(archived(one) > 60 && archived(two) > 60, `${archived(one)} and ${archived(two)}`);
  t.same(await blobs(site), wanted(names));

  const more = write(site, 60, 'g');
  site.holdData();
  t.equal((await site.cli('export', 'start', '--name', 'killed')).code, 0);
  // What is on its way to a daemon that is killed, and not in its journal, is lost until the coordinator's timeout.
  while ((await inHand(site, 0)) + (await inHand(site, 1)) < more.length);
  t.ok((await inHand(site, 1)) > 0);
  await two.kill();
  site.proxy.open();
  await site.daemon(1, { dir: two.dir });
  const second = await ended(site, 'killed');
  t.match(second, { code: 0, state: 'Completed', counts: { totalFilesExported: 60, totalFilesFailed: 0 } });
  t.same(await blobs(site), wanted([...names, ...more]));
});

t.test('why another node could not archive a file stands in the report', async (t) => {
  const site = await JobSite.start(t, { nodes: 2 });
  mkdirSync(site.path('d'));
  write(site, 20, 'd/f');
  const foreign = Array.from({ length: 10 }, (_, at) => `d/f${at}`);
  for (const name of foreign) await site.put(name, 'of somebody else', {});
  await site.daemon(0);
  const other = await site.daemon(1);
  const { code, state, counts } = await exportAll(site, 'mixed', '--max-errors', '-1');
  t.match({ code, state, counts }, { code: 3, state: 'CompletedPartial', counts: { totalFilesFailed: 10 } });
  t.ok(other.lines.some(({ msg }) => msg.startsWith('archive failed')));
  const errors = (await entries(site, 'mixed')).filter(({ kind }) => kind === 'error');
  t.match(
    errors,
    foreign.map((path) => ({ code: 'BLOB_NOT_OURS', path, errno: 'EEXIST' })),
  );
  const left: string[] = [];
  for await (const { name } of site.logs.listBlobsFlat()) if (name.includes('/failures/')) left.push(name);
  t.strictSame(left, [], 'what agents had left is gone');
});

t.test('a tree that is written all the time loses no update, and ends well when it is at rest', async (t) => {
  const site = await JobSite.start(t);
  await site.daemon();
  const names = Array.from({ length: 12 }, (_, at) => `w${at}`);
  const versions = new Map<string, Set<string>>(names.map((name) => [name, new Set<string>()]));
  const last = new Map<string, string>();
  const writing = new AbortController();
  const rewrite = async (name: string, pauseMs: number): Promise<void> => {
    const file = await open(site.path(name), 'w+');
    try {
      for (let version = 0; version === 0 || !writing.signal.aborted; version += 1) {
        // One write, so that nothing between two versions ever existed.
        const text = `${name} ${String(version).padStart(8, '0')} `.repeat(100);
        versions.get(name)?.add(text);
        last.set(name, text);
        await file.write(Buffer.from(text), 0, text.length, 0);
        if (version === 0) started += 1;
        await new Promise((resolve) => setTimeout(resolve, pauseMs * Math.random()));
      }
    } finally {
      await file.close();
    }
  };
  let started = 0;
  const writers = names.map((name, at) => rewrite(name, at % 2 === 0 ? 3 : 2000));
  while (started < names.length) await new Promise((resolve) => setImmediate(resolve));
  const during = await exportAll(site, 'during');
  writing.abort();
  await Promise.all(writers);
  t.ok(['Completed', 'CompletedPartial'].includes(during.state), during.statusMessage);
  for (const [name, text] of Object.entries(await blobs(site))) {
    t.ok(versions.get(name)?.has(text), `${name} is a version that existed`);
  }
  const failed = (await entries(site, 'during')).filter(({ kind }) => kind === 'error');
  t.equal(during.counts['totalFilesFailed'], failed.length);
  t.equal((during.counts['totalFilesExported'] ?? 0) + failed.length, names.length);
  t.ok(failed.every(({ code, errno }) => code === 'FILE_CHANGED' && errno === 'EBUSY'));
  t.equal(during.state, failed.length > 0 ? 'CompletedPartial' : 'Completed');

  const rerun = await exportAll(site, 'rerun');
  t.match(rerun, { code: 0, state: 'Completed', counts: { totalFilesFailed: 0 } });
  t.same(await blobs(site), Object.fromEntries(last));
});

t.test('cancelled in the middle, its requests are cancelled too', async (t) => {
  const site = await JobSite.start(t);
  const names = write(site, 40);
  await site.daemon();
  site.holdData();
  t.equal((await site.cli('export', 'start', '--name', 'long')).code, 0);
  await site.proxy.held(4);
  t.match(readdirSync(site.mount).join(), 'EXPORT_');
  t.equal((await site.cli('jobs', 'cancel', 'long')).code, 0);
  t.match(await ended(site, 'long'), { code: 5, state: 'Canceled', counts: { totalFilesExported: 0 } });
  site.proxy.open();
  await site.site.drained();
  t.match(await site.site.sim.counters(), { waiting: 0, started: 0, canceled: 40 });
  t.match(await exportAll(site, 'again'), { code: 0, counts: { totalFilesExported: 40 } });
  t.same(await blobs(site), wanted(names));
});

t.test('killed in the middle, it goes on and counts every file once', async (t) => {
  const site = await JobSite.start(t);
  const names = [...write(site, 300, 'early'), ...write(site, 20, 'late')];
  const daemon = await site.daemon();
  site.proxy.hold(({ url = '' }) => url.startsWith('/devstoreaccount1/archive/late'));
  t.equal((await site.cli('export', 'start', '--name', 'killed', '--log-items')).code, 0);
  await site.proxy.held(4);
  await daemon.kill();
  site.proxy.open();
  await site.daemon(0, { dir: daemon.dir });
  const done = await ended(site, 'killed');
  t.match(done, {
    code: 0,
    state: 'Completed',
    percentComplete: 100,
    counts: { totalFilesDiscovered: 320, totalFilesExported: 320, totalFilesFailed: 0, totalFilesSkipped: 0 },
  });
  t.same(await blobs(site), wanted(names));
  const told = (await entries(site, 'killed')).map(({ code, path }) => `${code} ${path}`);
  t.same(
    told,
    [...names].sort().map((name) => `EXPORTED ${name}`),
  );
});

t.test('a coordinator that is stopped is waited for, and the status says so', async (t) => {
  const site = await JobSite.start(t);
  const names = write(site, 10);
  await site.daemon();
  await site.site.sim.setParam('hsm_control', 'shutdown');
  t.equal((await site.cli('export', 'start', '--name', 'patient')).code, 0);
  for (let message = ''; !message.includes('takes no requests');) {
    message = job(await site.cli('jobs', 'show', 'patient', '--json')).statusMessage;
  }
  await site.site.sim.setParam('hsm_control', 'enabled');
  // It has forgotten its agents.
  t.equal((await site.cli('reregister')).code, 0);
  t.match(await ended(site, 'patient'), { code: 0, state: 'Completed', counts: { totalFilesExported: 10 } });
  t.same(await blobs(site), wanted(names));
});

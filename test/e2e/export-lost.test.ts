// What the report of an export says of requests that no agent brings to an end.
import t from 'tap';
import { archived, blobs, ended, entries, exportAll, inHand, wanted, write } from '../helpers/export-site.js';
import { JobSite } from '../helpers/job-site.js';

t.test('what an agent has taken down with it, and what somebody cancels, is named', async (t) => {
  const site = await JobSite.start(t, { nodes: 2 });
  const names = write(site, 20);
  const [one, two] = [await site.daemon(0), await site.daemon(1)];
  site.holdData();
  t.equal((await site.cli('export', 'start', '--name', 'lost', '--max-errors', '-1')).code, 0);
  while ((await inHand(site, 0)) + (await inHand(site, 1)) < names.length);
  const taken = await inHand(site, 1);
  t.ok(taken > 0 && taken < names.length, `${taken} on the node that dies`);
  await two.kill();
  site.proxy.open();
  while (archived(one) < names.length - taken) await new Promise((resolve) => setImmediate(resolve));
  // Only now, for the other agent beats for a timeout of an hour.
  await site.site.sim.setParam('hsm.active_request_timeout', '1');
  const end = await ended(site, 'lost');
  t.match(end, {
    code: 3,
    state: 'CompletedPartial',
    counts: { totalFilesExported: names.length - taken, totalFilesFailed: taken, totalErrors: taken },
  });
  const errors = await entries(site, 'lost');
  t.equal(errors.length, taken);
  for (const { kind, code, errno, message } of errors) {
    t.match(
      { kind, code, errno, message },
      { kind: 'error', code: 'EXPORT_FAILED', errno: 'EIO', message: /no agent has left a reason/ },
    );
  }
  await site.site.sim.setParam('hsm.active_request_timeout', '3600');

  site.holdData();
  t.equal((await site.cli('export', 'start', '--name', 'some', '--max-errors', '-1')).code, 0);
  await site.proxy.held(Math.min(taken, 4));
  const [victim = ''] = errors.map(({ path }) => path);
  await site.site.lfs('hsm_cancel', site.path(victim));
  await site.site.sim.requestReaches(site.path(victim), 'CANCELED', { action: 'ARCHIVE' });
  site.proxy.open();
  t.match(await ended(site, 'some'), {
    code: 3,
    counts: { totalFilesExported: taken - 1, totalFilesFailed: 1 },
  });
  t.match(await entries(site, 'some'), [
    { kind: 'error', code: 'CANCELED', errno: 'ECANCELED', path: victim },
  ]);
  t.match(await exportAll(site, 'rest'), { code: 0, counts: { totalFilesExported: 1 } });
  t.same(await blobs(site), wanted(names));
});

// The jobs' folder on Azurite: documents that only their holder may overwrite, the list, the wish to cancel.
import t from 'tap';
import type { JobFolder } from '../../../daemon/jobs/job-folder.js';
import { JobStore } from '../../../daemon/jobs/job-store.js';
import { loseOnce } from '../../helpers/lossy-proxy.js';
import { documentOf, never, startLogs } from './logs.js';

const FS = 'lustre@1700000000';

async function takeOver(store: JobStore, job: string): Promise<JobFolder> {
  const opened = await store.open(job, never);
  if (!opened) throw new Error(`no job ${job}`);
  return opened.folder;
}

t.test('a job is made once, written by its holder, and read by any node', async (t) => {
  const { open } = await startLogs(t);
  const [store, elsewhere] = [new JobStore(open(), FS), new JobStore(open(), FS)];
  t.equal(await elsewhere.status('first', never), undefined);
  t.equal(await elsewhere.open('first', never), undefined);
  const folder = await store.create(documentOf('first'), never);
  await t.rejects(elsewhere.create(documentOf('first'), never), { code: 'JOB_EXISTS', errno: 17 });
  t.equal(await folder.readCheckpoint(never), undefined);
  await folder.writeCheckpoint({ marker: 'a' }, never);
  await folder.writeCheckpoint({ marker: 'b' }, never);
  await folder.writeStatus(documentOf('first', { state: 'Completed' }), never);
  await folder.writeSummary({ total: 1 }, never);
  t.same(await elsewhere.status('first', never), documentOf('first', { state: 'Completed' }));
  const summary = await store.container.read(`${FS}/jobs/first/summary.json`, never);
  t.same(JSON.parse(String(summary?.body)), { total: 1 });
  const again = await takeOver(elsewhere, 'first');
  t.same(await again.readCheckpoint(never), { marker: 'b' });
  await again.writeSummary({ total: 2 }, never);
});

t.test('a holder that has slept overwrites nothing', async (t) => {
  const { open } = await startLogs(t);
  const store = new JobStore(open(), FS);
  const sleeper = await store.create(documentOf('job'), never);
  await sleeper.writeCheckpoint({ marker: 'a' }, never);
  const taken = await takeOver(new JobStore(open(), FS), 'job');
  await taken.writeStatus(documentOf('job', { state: 'Failed' }), never);
  await taken.writeCheckpoint({ marker: 'b' }, never);
  const superseded = { code: 'JOB_SUPERSEDED', errno: 116, hint: /Another node/ };
  await t.rejects(sleeper.writeStatus(documentOf('job', { state: 'Completed' }), never), superseded);
  await t.rejects(sleeper.writeCheckpoint({ marker: 'c' }, never), superseded);
  await t.rejects(sleeper.writeStatus(documentOf('job'), never), superseded, 'and it stays so');
  t.match(await store.status('job', never), { state: 'Failed' });
  await store.container.delete(`${FS}/jobs/job/status.json`, never);
  await t.rejects(taken.writeStatus(documentOf('job'), never), superseded, 'deleted behind its back');
});

t.test('a write that was broken off after it was done does not lock its own writer out', async (t) => {
  const { open, proxy } = await startLogs(t);
  const store = new JobStore(open(), FS);
  const folder = await store.create(documentOf('job'), never);
  const stop = new AbortController();
  let broken = 0;
  const answer = loseOnce('answer', 'PUT', 'status.json');
  proxy.lose = (request) => {
    const loss = answer(request);
    if (loss === 'answer') broken += 1;
    // The write has been done when the next try begins.
    else if (broken === 1 && request.method === 'PUT') stop.abort();
    return loss;
  };
  const first = folder.writeStatus(documentOf('job', { statusMessage: 'one' }), stop.signal);
  await t.rejects(first, { code: 'ECANCELED' });
  proxy.lose = () => undefined;
  await folder.writeStatus(documentOf('job', { statusMessage: 'two' }), never);
  t.match(await store.status('job', never), { statusMessage: 'two' });
});

t.test('the newest jobs are listed first, and one that is damaged hides no other', async (t) => {
  const { open } = await startLogs(t);
  const store = new JobStore(open(), FS);
  t.same(await store.list(10, never), []);
  for (const [name, hour] of [
    ['c', '10'],
    ['a', '11'],
    ['b', '12'],
  ] as const) {
    const folder = await store.create(
      documentOf(name, { lastStartedTime: `2026-11-27T${hour}:00:00.000Z` }),
      never,
    );
    await folder.writeCheckpoint({}, never);
  }
  await new JobStore(store.container, 'lustre@17000000001').create(documentOf('other'), never);
  const names = async (limit: number) => (await store.list(limit, never)).map(({ name }) => name);
  t.same(await names(10), ['b', 'a', 'c']);
  t.equal((await names(2)).length, 2);
  const damaged: unknown[] = [];
  await store.container.write(`${FS}/jobs/a/status.json`, '{', {}, never);
  await store.container.write(`${FS}/jobs/x/status.json`, '{"schema":2}', {}, never);
  await store.container.write(`${FS}/jobs/y/status.json`, 'null', {}, never);
  await store.container.write(`${FS}/jobs/z/status.json`, '{"schema":1,"kind":"import"}', {}, never);
  const listed = await store.list(10, never, (error) => damaged.push(error));
  t.same(
    listed.map(({ name }) => name),
    ['b', 'c'],
  );
  t.match(
    damaged,
    [1, 2, 3, 4].fill(0).map(() => ({ code: 'JOB_DOCUMENT' })),
  );
  await t.rejects(store.status('a', never), { code: 'JOB_DOCUMENT', message: /a\/status\.json.*not JSON/ });
  await t.rejects(store.open('x', never), { code: 'JOB_DOCUMENT', message: /schema 2/ });
});

t.test('a wish to cancel reaches the holder, once', async (t) => {
  const { open } = await startLogs(t);
  const store = new JobStore(open(), FS);
  const folder = await store.create(documentOf('job'), never);
  t.equal(await folder.cancelWished(never), false);
  const wish = { host: 'node2', time: '2026-11-27T10:00:00.000Z' };
  await new JobStore(open(), FS).askCancel('job', wish, never);
  t.equal(await folder.cancelWished(never), true);
  await folder.clearCancel(never);
  t.equal(await folder.cancelWished(never), false);
  await folder.clearCancel(never);
});

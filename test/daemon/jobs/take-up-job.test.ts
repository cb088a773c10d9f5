// What a process does with the job that the one before it has left.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { LhsmError } from '../../../native-bindings/errors.js';
import { documentText } from '../../../daemon/jobs/document.js';
import type { JobDocument, LogEntry } from '../../../daemon/jobs/job.js';
import { documentOf, never } from './logs.js';
import { FakeSite, FS, specOf, until, type FakeNode } from './runner-rig.js';

const STATUS = `${FS}/jobs/one/status.json`;
const completed = documentText(documentOf('one', { state: 'Completed' }));
const entry: LogEntry = { kind: 'item', code: 'IMPORTED', path: 'a', message: 'is here' };
const passes = new LhsmError('no answer', { code: 'UNREACHABLE', op: 'Get Blob', retryable: true });

/** A site whose node1 was killed while it ran the job `one`, and had saved where it was. */
async function killed(t: Test): Promise<{ site: FakeSite; begun: JobDocument }> {
  const site = new FakeSite(t);
  const dead = site.node('node1', { checkpointMs: 5 });
  const begun = await dead.start('one');
  await dead.work.context.report.add(entry, never);
  dead.work.at = { page: 7 };
  const checkpoint = `${FS}/jobs/one/checkpoint.json`;
  await until(() => site.blobs.text(checkpoint)?.includes('"page": 7') ?? false);
  dead.kill();
  return { site, begun };
}

/** There is nothing left to take up. */
async function over({ runner, local }: FakeNode): Promise<void> {
  await until(() => local.read().current === undefined && runner.current === undefined);
}

/** The lock is free: another node has a job of its own. */
async function startsElsewhere(site: FakeSite): Promise<void> {
  const other = site.node('node2');
  await other.start('two');
  await other.end();
}

t.test('a process goes on where the one before it was killed', async (t) => {
  const { site, begun } = await killed(t);
  const node = site.node();
  await node.resume();
  const { context } = node.work;
  t.match(context, { snapshot: { page: 7 }, document: { id: begun.id, resumes: 1 } });
  t.equal(context.document.lastStartedTime, begun.lastStartedTime);
  t.match(await site.status('one'), { state: 'InProgress', resumes: 1 });
  await context.report.add(entry, never);
  await node.end();
  t.equal(
    site.blobs.text(`${FS}/jobs/one/log.jsonl`)?.split('\n').length,
    2,
    'what stands there is not repeated',
  );
  t.match(await site.status('one'), { state: 'Completed', resumes: 1 });
  await startsElsewhere(site);
});

t.test('one that was killed before its first checkpoint begins anew', async (t) => {
  const site = new FakeSite(t);
  const dead = site.node();
  await dead.start('one');
  dead.kill();
  const node = site.node();
  await node.resume();
  t.match(node.work.context, { snapshot: undefined, document: { resumes: 1 } });
  await node.end();
});

t.test('a job that is over or gone is left alone', async (t) => {
  for (const meanwhile of [
    ({ blobs }: FakeSite) => {
      blobs.put(STATUS, completed);
    },
    ({ blobs }: FakeSite) => {
      blobs.delete(STATUS);
    },
  ]) {
    const { site } = await killed(t);
    meanwhile(site);
    const before = site.blobs.text(STATUS);
    const node = site.node();
    node.runner.resume();
    await over(node);
    t.same(node.works, []);
    t.same(node.troubles, []);
    t.equal(site.blobs.text(STATUS), before);
  }
});

t.test('a job that ends between the look and the lock is left alone, and the lock is free', async (t) => {
  const { site } = await killed(t);
  site.blobs.before = (method) => {
    if (method === 'acquireLease') site.blobs.put(STATUS, completed);
  };
  const node = site.node();
  node.runner.resume();
  await over(node);
  t.same(node.works, []);
  t.equal(site.blobs.text(STATUS), completed);
  await startsElsewhere(site);
});

t.test('a job is left alone where another runs by now', async (t) => {
  const { site } = await killed(t);
  site.blobs.expireLeases();
  const other = site.node('node2');
  await other.start('two');
  // It could not be marked.
  site.blobs.put(STATUS, documentText(documentOf('one')));
  const node = site.node();
  node.runner.resume();
  await over(node);
  t.same(node.works, []);
  t.match(node.troubles, [/is not taken up: another runs/]);
  t.equal(site.blobs.text(STATUS), documentText(documentOf('one')));
  await other.end();
});

t.test('a job that cannot go on has failed', async (t) => {
  const { site } = await killed(t);
  const node = site.node('node1', {
    check: () => {
      throw new LhsmError('there is no such archive', { code: 'ARCHIVE_UNKNOWN', op: 'start job' });
    },
  });
  node.runner.resume();
  await over(node);
  t.match(await site.status('one'), { state: 'Failed', errorCode: 'ARCHIVE_UNKNOWN', resumes: 1 });
  await startsElsewhere(site);
});

t.test('what passes is waited for; until then no other job starts', async (t) => {
  const { site } = await killed(t);
  let tries = 0;
  const node = site.node('node1', {
    check: () => {
      tries += 1;
      if (tries === 1) throw passes;
    },
  });
  node.runner.resume();
  await until(() => node.troubles.length > 0);
  t.match(node.troubles, [/cannot be taken up yet/]);
  await t.rejects(node.runner.start(specOf('two'), never), {
    code: 'JOB_RUNNING',
    message: 'The job one runs on this node.',
  });
  await until(() => node.works.at(-1)?.isRunning ?? false);
  t.match(node.work.context, { snapshot: { page: 7 } });
  await node.end();
  t.match(await site.status('one'), { state: 'Completed' });
});

t.test('a daemon that stops waits no longer, and forgets nothing', async (t) => {
  const { site, begun } = await killed(t);
  const node = site.node('node1', { atPlace: () => Promise.reject(passes) });
  node.runner.resume();
  await until(() => node.troubles.length > 0);
  await node.runner.close();
  t.match(node.local.read(), { current: { id: begun.id } });
  t.match(await site.status('one'), { state: 'InProgress' });
});

t.test('without a state there is nothing to do; one that is damaged is told of', async (t) => {
  const site = new FakeSite(t);
  const node = site.node();
  node.runner.resume();
  await node.start('one');
  await node.end();
  t.same(node.troubles, []);
  writeFileSync(join(site.folder, 'node1', 'current.json'), '{');
  const next = site.node();
  next.runner.resume();
  await next.start('two');
  await next.end();
  t.match(next.troubles, [/was damaged and is moved aside/]);
  writeFileSync(join(site.folder, 'node2'), 'no folder');
  const other = site.node('node2');
  other.runner.resume();
  await until(() => other.troubles.length > 0);
  t.match(other.troubles, [/JOB_STATE/]);
  await t.rejects(other.runner.start(specOf('three'), never), { code: 'JOB_STATE' });
});

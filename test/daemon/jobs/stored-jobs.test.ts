// What the runner tells of jobs of all nodes, and how they are canceled from any of them.
import t from 'tap';
import { documentText } from '../../../daemon/jobs/document.js';
import type { LogEntry } from '../../../daemon/jobs/job.js';
import { documentOf, never } from './logs.js';
import { FakeSite, FS, until, type FakeNode } from './runner-rig.js';

const unknown = { code: 'JOB_UNKNOWN', errno: 2, hint: /jobs list/ };

async function logOf({ runner }: FakeNode, job: string, format: 'jsonl' | 'csv'): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of runner.log(job, format, never)) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

t.test('jobs of all nodes are listed and shown, the own one as it is now', async (t) => {
  const site = new FakeSite(t);
  const [node, other] = [site.node('node1'), site.node('node2')];
  t.same(await node.runner.list(10, never), []);
  site.blobs.put(`${FS}/jobs/old/status.json`, documentText(documentOf('old', { state: 'Failed' })));
  site.blobs.put(`${FS}/jobs/bad/status.json`, '{');
  await node.start('one');
  t.match(await node.runner.list(10, never), [{ name: 'one', statusMessage: 'Works.' }, { name: 'old' }]);
  t.match(node.troubles, [/bad.*status document of a job cannot be read/]);
  const stored = { name: 'one', statusMessage: 'Starting.' };
  t.match(await other.runner.list(10, never), [stored, { name: 'old' }]);
  t.match(await node.runner.show('one', never), { statusMessage: 'Works.' });
  t.match(await other.runner.show('one', never), stored);
  t.match(await node.runner.show('old', never), { state: 'Failed' });
  await t.rejects(node.runner.show('none', never), unknown);
  await t.rejects(node.runner.show('bad', never), { code: 'JOB_DOCUMENT' });
  await node.end();
});

t.test('the log of a job, from any node', async (t) => {
  const site = new FakeSite(t);
  const [node, other] = [site.node('node1'), site.node('node2')];
  await node.start('one');
  const entry: LogEntry = { kind: 'error', code: 'NO_SPACE', path: 'a', message: 'is full' };
  await node.work.context.report.add(entry, never);
  await node.end();
  t.match(JSON.parse(await logOf(other, 'one', 'jsonl')), entry);
  t.match(await logOf(node, 'one', 'csv'), /^time,.*\r\n.*,NO_SPACE,/);
  await t.rejects(logOf(node, 'none', 'csv'), unknown);
});

t.test('a job is canceled on its own node', async (t) => {
  const site = new FakeSite(t);
  const node = site.node();
  await node.start('one');
  t.match(await node.runner.cancel('one', never), { state: /^Cancell?(ing|ed)$/ });
  await until(() => node.runner.current === undefined);
  t.match(await site.status('one'), { state: 'Canceled' });
  t.match(await node.runner.cancel('one', never), { state: 'Canceled' }, 'it stays as it is');
  t.equal(site.blobs.text(`${FS}/jobs/one/cancel`), undefined, 'nobody would find the wish');
  await t.rejects(node.runner.cancel('none', never), unknown);
});

t.test('a job is canceled from another node', async (t) => {
  const site = new FakeSite(t);
  const [node, other] = [site.node('node1', { checkpointMs: 5 }), site.node('node2')];
  await node.start('one');
  t.match(await other.runner.cancel('one', never), { name: 'one', state: 'InProgress' });
  await until(() => node.runner.current === undefined);
  t.match(await site.status('one'), { state: 'Canceled' });
  t.equal(site.blobs.text(`${FS}/jobs/one/cancel`), undefined);
  t.same(node.local.read(), { current: undefined });
});

t.test('a wish that a daemon has not seen before it was killed is seen by the next', async (t) => {
  const site = new FakeSite(t);
  const node = site.node();
  await node.start('one');
  node.kill();
  await site.node('node2').runner.cancel('one', never);
  const next = site.node('node1', { checkpointMs: 5 });
  await next.resume();
  await until(() => next.runner.current === undefined);
  t.match(await site.status('one'), { state: 'Canceled' });
});

t.test('a job that nobody runs any more is canceled at once', async (t) => {
  const site = new FakeSite(t);
  const [dead, other] = [site.node('node1'), site.node('node2')];
  await dead.start('one');
  dead.kill();
  site.blobs.expireLeases();
  t.match(await other.runner.cancel('one', never), {
    state: 'Canceled',
    statusMessage: /its daemon had gone/,
    lastCompletionTime: String,
  });
  t.match(await site.status('one'), { state: 'Canceled' });
  t.equal(site.blobs.text(`${FS}/jobs/one/cancel`), undefined);
  await other.start('two');
  await other.end();
});

t.test('a job that ends while it is being canceled has its own end', async (t) => {
  const site = new FakeSite(t);
  const status = `${FS}/jobs/one/status.json`;
  site.blobs.put(status, documentText(documentOf('one')));
  site.blobs.before = (method) => {
    if (method === 'acquireLease')
      site.blobs.put(status, documentText(documentOf('one', { state: 'Completed' })));
  };
  const node = site.node();
  t.match(await node.runner.cancel('one', never), { state: 'Completed' });
  t.match(await site.status('one'), { state: 'Completed' });
  site.blobs.before = () => undefined;
  await node.start('two');
  await node.end();
});

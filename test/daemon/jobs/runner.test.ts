// The runner: one job at a time, from its start to its end, over a logging container in memory.
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { hostname } from 'node:os';
import t from 'tap';
import { LhsmError } from '../../../native-bindings/errors.js';
import { never } from './logs.js';
import { FakeSite, FS, specOf, until } from './runner-rig.js';

const unreachable = new LhsmError('no answer', { code: 'UNREACHABLE', op: 'Put Blob', retryable: true });

t.test('a job from its start to its end', async (t) => {
  const site = new FakeSite(t);
  const node = site.node();
  t.equal(node.runner.current, undefined);
  const begun = await node.start('one');
  t.match(begun, {
    name: 'one',
    kind: 'import',
    state: 'InProgress',
    resumes: 0,
    holder: { host: hostname(), mount: site.mount, pid: process.pid },
  });
  t.match(node.local.read(), { current: { name: 'one', kind: 'import', id: begun.id } });
  t.match(await site.status('one'), { state: 'InProgress', id: begun.id });
  t.match(node.runner.current, { name: 'one', statusMessage: 'Works.' });
  t.match(readdirSync(site.mount), [/^IMPORT_InProgress\./]);
  const { scratch, startedNs, snapshot } = node.work.context;
  t.ok(existsSync(scratch));
  t.ok(startedNs <= BigInt(Date.parse(begun.lastStartedTime)) * 1_000_000n, 'clocks may differ');
  t.equal(snapshot, undefined);

  await node.end();
  t.match(await site.status('one'), { state: 'Completed', lastCompletionTime: String });
  t.same(node.local.read(), { current: undefined });
  t.same(readdirSync(site.mount), []);
  await until(() => node.work.isClosed && !existsSync(scratch));
  await node.start('two');
  await node.end();
  t.same(node.troubles, []);
});

t.test('an export says from its first document on that it scans', async (t) => {
  const site = new FakeSite(t);
  const node = site.node();
  const spec = {
    kind: 'export',
    name: 'out',
    archiveId: 1,
    path: '/',
    maximumErrors: 0,
    dryRun: true,
    logItems: false,
    window: 100,
  } as const;
  let first: string | undefined;
  site.blobs.before = (method) => {
    if (method === 'createAppend') first ??= site.blobs.text(`${FS}/jobs/out/status.json`);
  };
  await node.runner.start(spec, never);
  t.match(JSON.parse(String(first)), { state: 'FSScanInProgress', counts: { totalFilesDiscovered: 0 } });
  await until(() => node.work.isRunning);
  t.same(readdirSync(site.mount), [], 'a dry run leaves the file system alone');
  await node.end();
});

t.test('while one job runs or starts, here or elsewhere, no other does', async (t) => {
  const site = new FakeSite(t);
  let go: () => void = () => undefined;
  const waits = new Promise<void>((resolve) => (go = resolve));
  const [node, other] = [site.node('node1', { check: () => waits }), site.node('node2')];
  const starting = node.start('one');
  const refused = { code: 'JOB_RUNNING', errno: 16, retryable: true, hint: /jobs cancel one/ };
  await t.rejects(node.runner.start(specOf('two'), never), refused, 'it is starting');
  await until(() => site.blobs.text(`${FS}/jobs/one/status.json`) !== undefined);
  await t.rejects(other.runner.start(specOf('two'), never), refused, 'from another node');
  go();
  const { lastStartedTime } = await starting;
  await t.rejects(node.runner.start(specOf('two'), never), {
    ...refused,
    message: `The job one runs on this node, started ${lastStartedTime}.`,
  });
  t.equal(await site.status('two'), undefined);
  await node.end();
  await other.start('two');
  await other.end();
});

t.test('a start that fails leaves the lock free, and nothing in progress', async (t) => {
  const site = new FakeSite(t);
  const wrong = new LhsmError('there is no such archive', { code: 'ARCHIVE_UNKNOWN', op: 'start job' });
  let check = (): void => {
    throw wrong;
  };
  const [node, other] = [
    site.node('node1', {
      check: () => {
        check();
      },
    }),
    site.node('node2'),
  ];
  await t.rejects(node.runner.start(specOf('one'), never), wrong);
  t.match(await site.status('one'), {
    state: 'Failed',
    errorCode: 'ARCHIVE_UNKNOWN',
    lastCompletionTime: String,
  });
  t.same(node.local.read(), { current: undefined });
  check = () => undefined;
  await t.rejects(node.runner.start(specOf('one'), never), { code: 'JOB_EXISTS', errno: 17 });
  t.match(await site.status('one'), { errorCode: 'ARCHIVE_UNKNOWN' }, 'that of the first is left alone');
  await other.start('two');
  await other.end();

  site.blobs.before = (method, name) => {
    if (method === 'createAppend' || (method === 'write' && !name.endsWith('/lock'))) throw unreachable;
  };
  await t.rejects(node.runner.start(specOf('three'), never), unreachable);
  site.blobs.before = (method) => {
    if (method === 'createAppend') {
      site.blobs.before = () => {
        throw unreachable;
      };
      throw wrong;
    }
  };
  await t.rejects(node.runner.start(specOf('four'), never), wrong, 'what the first error was');
  t.match(node.troubles.join(''), /could not be marked so.*\n.*lock of jobs is not released/);
  t.same(node.local.read(), { current: undefined });
});

t.test('the job of a holder that has gone is marked, and holds up no other', async (t) => {
  const site = new FakeSite(t);
  const [dead, node] = [site.node('node1'), site.node('node2')];
  await dead.start('one');
  dead.kill();
  await t.rejects(node.runner.start(specOf('two'), never), { code: 'JOB_RUNNING' }, 'its lease still runs');
  site.blobs.expireLeases();
  await node.start('two');
  t.match(await site.status('one'), {
    state: 'Failed',
    errorCode: 'JOB_INTERRUPTED',
    statusMessage: /daemon on .* has gone, and the job two has begun/,
  });
  node.kill();
  site.blobs.expireLeases();
  site.blobs.put(`${FS}/jobs/two/status.json`, '{');
  const third = site.node('node3');
  await third.start('three');
  t.match(third.troubles, [/a job whose daemon has gone is not marked so/]);
  await third.end();
});

t.test('a daemon that stops leaves its job to the next process', async (t) => {
  const site = new FakeSite(t);
  const node = site.node();
  const { id } = await node.start('one');
  node.work.at = { page: 7 };
  await node.runner.close();
  t.ok(node.work.isClosed);
  t.match(await site.status('one'), { state: 'InProgress' });
  t.match(node.local.read(), { current: { name: 'one', id } });
  await t.rejects(site.node('node2').runner.start(specOf('two'), never), { code: 'JOB_RUNNING' });

  const next = site.node();
  await next.resume();
  t.match(next.work.context, { snapshot: { page: 7 }, document: { id, resumes: 1 } });
  await next.end();
  t.match(await site.status('one'), { state: 'Completed', resumes: 1 });
  await next.runner.close();
  await next.runner.close();
});

t.test('a daemon that stops while a job starts takes it back', async (t) => {
  const site = new FakeSite(t);
  let isMaking = false;
  const node = site.node('node1', {
    check: async (_context, signal) => {
      isMaking = true;
      await once(signal, 'abort');
      signal.throwIfAborted();
    },
  });
  const starting = node.runner.start(specOf('one'), never);
  const refused = t.rejects(starting, { code: 'ECANCELED' });
  await until(() => isMaking);
  await node.runner.close();
  t.match(await site.status('one'), { state: 'Failed', errorCode: 'ECANCELED' });
  t.same(node.local.read(), { current: undefined });
  await refused;
  const other = site.node('node2');
  await other.start('two');
  await other.end();
});

t.test('a job that is ready just as the daemon stops is left to the next process', async (t) => {
  for (const begin of ['start', 'resume'] as const) {
    const site = new FakeSite(t);
    if (begin === 'resume') {
      const dead = site.node();
      await dead.start('one');
      dead.kill();
    }
    let stopped: Promise<void> | undefined;
    const node = site.node('node1', {
      check: () => {
        // Its work is made all the same.
        stopped = node.runner.close();
      },
    });
    if (begin === 'resume') node.runner.resume();
    else await node.runner.start(specOf('one'), never);
    await until(() => stopped !== undefined);
    await stopped;
    t.equal(node.runner.current, undefined, begin);
    t.match(node.works, [{ isClosed: true }]);
    t.match(await site.status('one'), { state: 'InProgress' });
    t.match(node.local.read(), { current: { name: 'one' } });
  }
});

t.test('a lock that was lost is taken again, and the job goes on', async (t) => {
  const site = new FakeSite(t);
  const node = site.node('node1', { checkpointMs: 5 });
  const { id } = await node.start('one');
  node.work.at = { page: 7 };
  const checkpoint = `${FS}/jobs/one/checkpoint.json`;
  await until(() => site.blobs.text(checkpoint)?.includes('"page": 7') ?? false);
  // Somebody has written to the document meanwhile.
  site.blobs.put(`${FS}/jobs/one/status.json`, site.blobs.text(`${FS}/jobs/one/status.json`) ?? '');
  await until(() => node.works.length === 2 && node.work.isRunning);
  t.match(node.works, [
    { isClosed: true },
    { context: { snapshot: { page: 7 }, document: { id, resumes: 1 } } },
  ]);
  t.match(node.troubles.join(''), /an interrupted job is taken up again/);
  await node.end();
  t.match(await site.status('one'), { state: 'Completed' });
});

t.test('the local disk fails: told, and the job is over all the same', async (t) => {
  const site = new FakeSite(t);
  const node = site.node();
  await node.start('one');
  node.local.clear = () => {
    throw new LhsmError('the disk is gone', { code: 'JOB_STATE', op: 'job state clear' });
  };
  await node.end();
  await until(() => node.troubles.length > 0);
  t.match(node.troubles, [/the local state of jobs is not/]);
  t.match(await site.status('one'), { state: 'Completed' });
  t.ok(existsSync(join(site.folder, 'node1', 'current.json')));
});

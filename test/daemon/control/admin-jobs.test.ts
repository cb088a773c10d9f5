// The jobs in the admin API, with a JobsControl that has none.
import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import t, { type Test } from 'tap';
import { startAdmin } from '../../../daemon/control/admin.js';
import { adminSocket } from '../../../daemon/config/mount-name.js';
import { LhsmError } from '../../../native-bindings/errors.js';
import { FakeControl, fakeMetrics, shortDir } from './fake-control.js';
import { documentOf, unknownJob } from './fake-jobs.js';
import { ask } from './request.js';

async function setUp(t: Test) {
  const control = new FakeControl();
  const metrics = fakeMetrics(control);
  const socket = adminSocket(shortDir(t), '/mnt/lustre');
  const broken: unknown[] = [];
  const onBroken = (error: unknown) => broken.push(error);
  const server = await startAdmin({ socket, control, metrics, onBroken });
  t.teardown(async () => {
    await server.close();
    metrics.close();
  });
  const send = (method: string, to: string, body?: unknown) =>
    ask(socket, method, to, body === undefined ? undefined : JSON.stringify(body));
  return { control, jobs: control.jobs, socket, server, send, broken };
}

const document = documentOf({
  ...{ maximumErrors: 0, dryRun: false, logItems: false },
  kind: 'export',
  path: '/',
});

t.test('start, list, show, cancel', async (t) => {
  const { jobs, send } = await setUp(t);
  t.match(
    await send('POST', '/v1/jobs', { kind: 'import', name: 'mine', conflictMode: 'OverwriteIfDirty' }),
    {
      status: 200,
      body: { name: 'mine', state: 'InProgress', spec: { conflictMode: 'overwrite-dirty', prefixes: ['/'] } },
    },
  );
  jobs.known = [document];
  t.match(await send('GET', '/v1/jobs'), { status: 200, body: { jobs: [{ name: document.name }] } });
  t.match(await send('GET', '/v1/jobs?limit=1000'), { status: 200 });
  jobs.looks = [document];
  t.match(await send('GET', `/v1/jobs/${document.name}`), { status: 200, body: document });
  t.match(await send('POST', '/v1/jobs/mine/cancel'), { status: 200, body: document });
  t.match(jobs.asked, [{ kind: 'import', name: 'mine' }, { list: 20 }, { list: 1000 }, { cancel: 'mine' }]);
});

t.test('mistakes and refusals carry status, code and hint', async (t) => {
  const { jobs, send } = await setUp(t);
  const bad: readonly [method: string, path: string, status: number, message: RegExp, body?: unknown][] = [
    ['POST', '/v1/jobs', 400, /the body must be \{"kind"/],
    ['POST', '/v1/jobs', 400, /did you mean prefixes\?/, { kind: 'import', prefixs: [] }],
    ['POST', '/v1/jobs', 400, /overlap/, { kind: 'import', prefixes: ['/data', '/data2'] }],
    ['GET', '/v1/jobs?limit=0', 400, /limit must be a whole number from 1 to 1000/],
    ['GET', '/v1/jobs?limit=ten', 400, /limit must be/],
    ['GET', '/v1/jobs/x%2F..%2Flock', 400, /no name of a job/],
    ['GET', '/v1/jobs/%ff', 400, /not encoded/],
    ['GET', '/v1/jobs/', 400, /no name of a job/],
    ['GET', '/v1/jobs/a/b', 404, /there is no \/v1\/jobs\/a\/b/],
    ['POST', '/v1/jobs/mine', 405, /POST is not for/],
    ['GET', '/v1/jobs/mine', 404, /there is no job mine/],
    ['GET', '/v1/jobs/mine/log?format=cvs', 400, /format must be one of jsonl, csv/],
    ['GET', '/v1/jobs/mine/log', 404, /there is no job any/],
  ];
  for (const [method, path, status, message, body] of bad) {
    t.match(await send(method, path, body), { status, body: { error: { message } } }, `${method} ${path}`);
  }
  jobs.failure = new LhsmError('The job night runs.', { code: 'JOB_RUNNING', op: 'start', hint: 'Wait.' });
  t.match(await send('POST', '/v1/jobs', { kind: 'import' }), {
    status: 409,
    body: { error: { code: 'JOB_RUNNING', message: 'The job night runs.', hint: 'Wait.' } },
  });
});

t.test('an agent without jobs says so', async (t) => {
  const { control, send } = await setUp(t);
  Object.defineProperty(control, 'jobs', {
    get: () => {
      throw new LhsmError('no', { code: 'LOGGING_CONTAINER_UNSET', op: 'jobs', hint: 'Set it.' });
    },
  });
  for (const [method, path, body] of [
    ['POST', '/v1/jobs', { kind: 'import' }],
    ['GET', '/v1/jobs', undefined],
    ['GET', '/v1/jobs/mine/log', undefined],
  ] as const) {
    t.match(await send(method, path, body), {
      status: 500,
      body: { error: { code: 'LOGGING_CONTAINER_UNSET', hint: 'Set it.' } },
    });
  }
});

t.test('a log of 50 MB is never in memory as a whole', async (t) => {
  const { jobs, socket } = await setUp(t);
  const chunk = Buffer.alloc(1 << 16, 'x');
  const total = 800;
  let made = 0;
  let taken = 0;
  let ahead = 0;
  jobs.chunks = async function* () {
    for (; made < total; made++) {
      ahead = Math.max(ahead, made * chunk.length - taken);
      // A turn of the event loop, so that the reader gets its own.
      await new Promise(setImmediate);
      yield chunk;
    }
  };
  const sent = request({ socketPath: socket, path: '/v1/jobs/mine/log?format=csv', agent: false }).end();
  const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
  t.equal(response.headers['content-type'], 'text/csv; charset=utf-8');
  for await (const bytes of response as AsyncIterable<Buffer>) {
    taken += bytes.length;
    // Slower than it comes.
    await new Promise(setImmediate);
    await new Promise(setImmediate);
  }
  t.equal(taken, total * chunk.length);
  t.ok(ahead < 4 * 2 ** 20, `the server ran ahead by ${ahead} bytes`);
});

t.test('who stops reading ends the reading of the log', async (t) => {
  const { jobs, socket, broken } = await setUp(t);
  let aborted = false;
  const ended = new Promise<void>((resolve) => {
    jobs.chunks = async function* (signal) {
      signal.addEventListener('abort', () => {
        aborted = true;
      });
      try {
        for (;;) {
          await new Promise(setImmediate);
          yield Buffer.alloc(1 << 16);
        }
      } finally {
        resolve();
      }
    };
  });
  const sent = request({ socketPath: socket, path: '/v1/jobs/mine/log', agent: false }).end();
  const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
  response.destroy();
  await ended;
  t.ok(aborted);
  t.same(broken, [], 'that is no failure');
});

t.test('a log that breaks off is no whole answer; HEAD reads none', async (t) => {
  const { jobs, send, broken } = await setUp(t);
  let ended = 0;
  jobs.chunks = async function* () {
    try {
      yield Buffer.from('{"a":1}\n');
      await Promise.resolve();
      throw unknownJob('gone');
    } finally {
      ended++;
    }
  };
  await t.rejects(send('GET', '/v1/jobs/mine/log'), { code: 'ECONNRESET' });
  t.match(broken, [{ code: 'JOB_UNKNOWN' }]);
  t.match(await send('HEAD', '/v1/jobs/mine/log'), { status: 200, text: '' });
  t.equal(ended, 2);
});

t.test('a start knows when nobody waits for it any more, and lives on behind its answer', async (t) => {
  const { jobs, socket, send, server } = await setUp(t);
  t.equal((await send('POST', '/v1/jobs', { kind: 'import' })).status, 200);
  const [first] = [jobs.startSignal];
  let release = (): void => undefined;
  jobs.startable = new Promise((resolve) => (release = resolve));
  const client = connect(socket);
  const body = '{"kind":"import"}';
  client.write(`POST /v1/jobs HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
  while (jobs.asked.length < 2) await new Promise(setImmediate);
  const { startSignal } = jobs;
  t.notOk(startSignal?.aborted);
  const aborted = once(startSignal ?? new AbortController().signal, 'abort');
  client.destroy();
  await aborted;
  release();
  await server.close();
  t.notOk(first?.aborted, 'the answered one is not aborted, not even with the server');
});

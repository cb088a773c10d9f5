import { execFile } from 'node:child_process';
import { chmod, lstat, mkdir, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { adminSocket, escapeMount } from '../../../daemon/config/mount-name.js';
import { startAdmin } from '../../../daemon/control/admin.js';
import { LhsmError } from '../../../native-bindings/errors.js';
import { FakeControl, fakeMetrics, shortDir } from './fake-control.js';
import { ask } from './request.js';

function setUp(t: Test, socket = adminSocket(shortDir(t), '/mnt/lustre')) {
  const control = new FakeControl();
  const metrics = fakeMetrics(control);
  t.teardown(() => {
    metrics.close();
  });
  const start = () => startAdmin({ socket, control, metrics });
  return {
    control,
    socket,
    start,
    send: (method: string, to: string, body?: string) => ask(socket, method, to, body),
  };
}

t.test('the whole API', async (t) => {
  const { control, start, send } = setUp(t);
  const server = await start();
  t.teardown(() => server.close());
  const status = await send('GET', '/v1/status');
  t.match(status, {
    status: 200,
    type: 'application/json',
    body: { pid: 4711, inFlight: [{ cookie: '0x6b02a920' }] },
  });
  t.notMatch(status.text, /c2VjcmV0/, 'no secret, even in an error of the past');
  t.match(await send('GET', '/v1/config'), { status: 200, body: { mount: '/mnt/lustre' } });
  t.match(await send('POST', '/v1/reregister'), {
    status: 200,
    body: { registered: true, archiveIds: [1, 2] },
  });
  t.match(await send('POST', '/v1/reload', '{}'), { status: 200, body: { applied: ['log.level'] } });
  t.same(control.calls, ['reregister', 'reload']);
  t.match(await send('POST', '/v1/log-level', '{"level":"debug"}'), {
    status: 200,
    body: { level: 'debug' },
  });
  t.match(await send('GET', '/v1/log-level'), { body: { level: 'debug' } });
  t.match((await send('GET', '/v1/metrics')).text, /lhsm_azblob_build_info/);
});

t.test('bad requests and failures carry code, message and hint', async (t) => {
  const { control, start, send } = setUp(t);
  const server = await start();
  t.teardown(() => server.close());
  const bad: readonly [body: string, message: RegExp][] = [
    ['{"level":"debgu"}', /no such log level/],
    ['{"level":3}', /must be \{"level"/],
    ['', /must be \{"level"/],
    ['{', /not JSON/],
    [`"${'x'.repeat(70_000)}"`, /too large/],
  ];
  for (const [body, message] of bad) {
    t.match(await send('POST', '/v1/log-level', body), {
      status: 400,
      body: { error: { code: 'BAD_REQUEST', message } },
    });
  }
  t.equal(control.level, 'info');
  control.failure = new LhsmError('no', { code: 'CONFIG', op: 'reload', hint: 'Mend it.' });
  t.match(await send('POST', '/v1/reload'), {
    status: 500,
    body: { error: { code: 'CONFIG', message: 'no', hint: 'Mend it.' } },
  });
  t.match(await send('GET', '/v1/reload'), { status: 405 });
});

t.test('only the owner may open the socket, whatever the umask', async (t) => {
  const { start, socket } = setUp(t);
  const server = await start();
  t.teardown(() => server.close());
  t.equal((await lstat(socket)).mode & 0o777, 0o600);
  t.equal((await lstat(path.dirname(socket))).mode & 0o777, 0o700);
});

t.test('the socket of a dead daemon is replaced, that of a living one is not', async (t) => {
  const { start, socket, send } = setUp(t);
  await mkdir(path.dirname(socket), { recursive: true });
  // A process that is killed leaves its socket behind.
  await promisify(execFile)(process.execPath, [
    '-e',
    `require('net').createServer().listen(${JSON.stringify(socket)}, () => process.kill(process.pid, 'SIGKILL'))`,
  ]).catch(() => undefined);
  t.ok((await lstat(socket)).isSocket(), 'left behind');
  const server = await start();
  await t.rejects(start(), { code: 'ADMIN_SOCKET', errno: 98, message: /in use by another daemon/ });
  t.equal((await send('GET', '/v1/status')).status, 200, 'the first one still answers');
  await server.close();
  t.same(await readdir(path.dirname(socket)), [], 'the socket goes with its daemon');
  await writeFile(socket, '');
  await t.rejects(start(), { code: 'ADMIN_SOCKET', message: /something else than a socket/ });
});

t.test('a place where no socket can be is a clear error', async (t) => {
  const dir = t.testdir({ file: '' });
  const { start } = setUp(t, path.join(dir, 'file', 'x', 'admin.sock'));
  await t.rejects(start(), { code: 'ADMIN_SOCKET', hint: /run_dir/ });
  const long = setUp(t, adminSocket(dir, `/mnt/${'x'.repeat(120)}`));
  await t.rejects(long.start(), { code: 'ADMIN_SOCKET', errno: 36, hint: /shorter run_dir/ });
  await chmod(dir, 0o700);
});

t.test('folders of mounts are named as systemd names them', (t) => {
  t.equal(escapeMount('/mnt/lustre'), 'mnt-lustre');
  t.equal(escapeMount('/mnt/lustre/'), 'mnt-lustre');
  t.equal(escapeMount('/mnt/my-fs'), 'mnt-my\\x2dfs');
  t.equal(escapeMount('/.a/ü'), '\\x2ea-\\xc3\\xbc');
  t.equal(escapeMount('/'), '-');
  t.equal(adminSocket('/run/x', '/mnt/a'), '/run/x/mnt-a/admin.sock');
  t.end();
});

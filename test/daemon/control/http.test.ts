import { connect } from 'node:net';
import t, { type Test } from 'tap';
import { startHttp } from '../../../daemon/control/http.js';
import { FakeControl, fakeMetrics, STATUS } from './fake-control.js';
import { ask } from './request.js';

async function setUp(t: Test, listen = '127.0.0.1:0') {
  const control = new FakeControl();
  const metrics = fakeMetrics(control);
  const server = await startHttp({ listen, control, metrics });
  t.teardown(async () => {
    await server.close();
    metrics.close();
  });
  return { control, server, metrics, get: (path: string) => ask(server.address, 'GET', path) };
}

t.test('/metrics is what Prometheus reads', async (t) => {
  const { get } = await setUp(t);
  const reply = await get('/metrics?x=1');
  t.equal(reply.status, 200);
  t.match(reply.type, /^text\/plain; version=0\.0\.4/);
  t.match(reply.text, /^# TYPE lhsm_azblob_queued_actions gauge$/m);
  t.match(reply.text, /^lhsm_azblob_queued_actions\{lane="archive"\} 1234$/m);
});

t.test('/healthz says that the event loop turns, or does not', async (t) => {
  const { get, metrics } = await setUp(t);
  t.match(await get('/healthz'), { status: 200, body: { healthy: true, eventLoopLagMs: { mean: Number } } });
  metrics.eventLoop().lag = () => ({ meanMs: 6_000, p99Ms: 9_000, maxMs: 9_000 });
  t.match(await get('/healthz'), { status: 503, body: { healthy: false } });
});

t.test('/readyz gives every reason why not', async (t) => {
  const { get, control } = await setUp(t);
  t.match(await get('/readyz'), { status: 200, body: { ready: true, reasons: [] } });
  control.current = {
    ...STATUS,
    registered: false,
    state: 'starting',
    archives: STATUS.archives.map((archive) => ({ ...archive, ready: false, problem: 'refused (403)' })),
  };
  t.match(await get('/readyz'), {
    status: 503,
    body: {
      ready: false,
      reasons: [
        'the daemon is starting',
        'not registered with the coordinator',
        'archive 1 (https://acct.blob.core.windows.net/cold): refused (403)',
      ],
    },
  });
});

t.test('what is not there or not allowed is a clear error', async (t) => {
  const { server, control, get } = await setUp(t);
  t.match(await get('/'), {
    status: 404,
    body: { error: { message: 'there is no /', hint: /GET \/metrics/ } },
  });
  t.match(await get('/__proto__'), { status: 404 });
  t.match(await ask(server.address, 'POST', '/metrics', '{}'), { status: 405 });
  t.match(await ask(server.address, 'HEAD', '/healthz'), { status: 200, text: '' });
  control.status = () => {
    throw new Error('broken sig=c2VjcmV0');
  };
  const reply = await get('/readyz');
  t.match(reply, { status: 500, body: { error: { code: 'INTERNAL' } } });
  t.notMatch(reply.text, /c2VjcmV0/);
});

t.test('an address in use is a clear error', async (t) => {
  const { server, control, metrics } = await setUp(t);
  await t.rejects(startHttp({ listen: server.address, control, metrics }), {
    code: 'HTTP_LISTEN',
    errno: 98,
    hint: /own port/,
  });
});

t.test('IPv6', async (t) => {
  const { get, server } = await setUp(t, '[::1]:0').catch(() => {
    t.pass('no IPv6 on this machine');
    return { get: undefined, server: undefined };
  });
  if (!get) return;
  t.match(server.address, /^\[::1\]:\d+$/);
  t.equal((await get('/healthz')).status, 200);
});

t.test('closing cuts idle connections', async (t) => {
  const control = new FakeControl();
  const metrics = fakeMetrics(control);
  const server = await startHttp({ listen: '127.0.0.1:0', control, metrics });
  const idle = connect(Number(server.address.split(':')[1]), '127.0.0.1');
  idle.on('error', () => undefined);
  const cut = new Promise((resolve) => idle.once('close', resolve));
  await new Promise((resolve) => idle.once('connect', resolve));
  await Promise.all([server.close(), cut]);
  metrics.close();
  t.pass('closed');
});

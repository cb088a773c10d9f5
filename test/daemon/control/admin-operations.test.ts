// Operations in the admin API, with an OperationsControl that has none.
import t, { type Test } from 'tap';
import { LhsmError } from '../../../native-bindings/errors.js';
import { serveControl } from './fake-control.js';
import { operationOf } from './fake-operations.js';
import { ask } from './request.js';

async function setUp(t: Test) {
  const { control, socket } = await serveControl(t);
  const send = (method: string, to: string, body?: unknown) =>
    ask(socket, method, to, body === undefined ? undefined : JSON.stringify(body));
  return { operations: control.operations, send };
}

const running = operationOf({ kind: 'verify', paths: ['/mnt/lustre/a'], content: false, repair: false });

t.test('start, list, show, cancel, log', async (t) => {
  const { operations, send } = await setUp(t);
  t.match(await send('POST', '/v1/operations', { kind: 'release', paths: ['/mnt/lustre/a'] }), {
    status: 200,
    body: { id: 'release-1', state: 'running' },
  });
  operations.known = [running];
  operations.looks = [running];
  t.match(await send('GET', '/v1/operations'), {
    status: 200,
    body: { folder: '/var/lib/none', operations: [{ id: 'verify-1' }] },
  });
  t.match(await send('GET', '/v1/operations/verify-1'), { status: 200, body: running });
  t.match(await send('POST', '/v1/operations/verify-1/cancel'), { status: 200, body: running });
  operations.lines = [{ code: 'BLOB_MISSING' }];
  t.match(await send('GET', '/v1/operations/verify-1/log'), {
    status: 200,
    body: { code: 'BLOB_MISSING' },
  });
  t.match(operations.asked, [
    { kind: 'release', paths: ['/mnt/lustre/a'], dryRun: false },
    { cancel: 'verify-1' },
    { log: 'verify-1' },
  ]);
});

t.test('mistakes and refusals carry status, code and hint', async (t) => {
  const { operations, send } = await setUp(t);
  t.match(await send('POST', '/v1/operations', { kind: 'verify', path: 'a' }), {
    status: 400,
    body: { error: { code: 'BAD_REQUEST', message: /did you mean paths\?/ } },
  });
  for (const id of ['..', 'verify-0', 'export-1', 'verify-1%2f..']) {
    t.match(await send('GET', `/v1/operations/${id}`), { status: 400 }, id);
    t.match(await send('GET', `/v1/operations/${id}/log`), { status: 400 }, id);
  }
  t.match(await send('GET', '/v1/operations/verify-1'), {
    status: 404,
    body: { error: { code: 'OPERATION_UNKNOWN' } },
  });
  for (const [code, status] of [
    ['PATH_OUTSIDE_MOUNT', 400],
    ['PATH_UNUSABLE', 400],
    ['OPERATIONS_BUSY', 409],
    ['NOT_SERVING', 500],
  ] as const) {
    operations.failure = new LhsmError('no', { code, op: 'start' });
    t.match(await send('POST', '/v1/operations', { kind: 'verify', paths: ['a'] }), {
      status,
      body: { error: { code } },
    });
  }
});

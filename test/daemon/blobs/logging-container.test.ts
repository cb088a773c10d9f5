// The logging container against Azurite: documents, append blobs and leases, also when answers are lost.
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { loggingContainerOf } from '../../../daemon/blobs/logging-address.js';
import type { LoggingContainer } from '../../../daemon/blobs/logging-container.js';
import { startAzurite } from '../../helpers/azurite.js';
import { loseOnce } from '../../helpers/lossy-proxy.js';
import { never, startLogs } from '../jobs/logs.js';

async function textOf(container: LoggingContainer, name: string, offset = 0): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of container.readFrom(name, offset, never)) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

t.test('documents are written in the version that is expected, listed, read and deleted', async (t) => {
  const { open } = await startLogs(t);
  const logs = open();
  await logs.check(never);
  t.equal(await logs.read('fs@1/a.json', never), undefined);
  t.equal(await logs.look('fs@1/a.json', never), undefined);
  const options = { expected: 'absent', metadata: { kind: 'import' }, contentType: 'text/plain' } as const;
  const etag = await logs.write('fs@1/a.json', 'one', options, never);
  t.match(await logs.read('fs@1/a.json', never), {
    body: Buffer.from('one'),
    etag,
    metadata: { kind: 'import' },
  });
  t.match(await logs.look('fs@1/a.json', never), { sizeBytes: 3, etag, blobType: 'BlockBlob' });
  await t.rejects(logs.write('fs@1/a.json', 'two', { expected: 'absent' }, never), { code: 'BLOB_CHANGED' });
  const later = await logs.write('fs@1/a.json', 'two', { expected: { etag } }, never);
  t.not(later, etag);
  await t.rejects(logs.write('fs@1/a.json', '3', { expected: { etag } }, never), { code: 'BLOB_CHANGED' });
  await logs.write('fs@1/empty', '', {}, never);
  t.match(await logs.read('fs@1/empty', never), { body: Buffer.alloc(0) });
  await logs.write('fs@12/b.json', '', {}, never);
  const names: string[] = [];
  for await (const { name, lastModified } of logs.list('fs@1/', never)) {
    names.push(name);
    t.type(lastModified, Date);
  }
  t.same(names, ['fs@1/a.json', 'fs@1/empty']);
  await logs.delete('fs@1/a.json', never);
  await logs.delete('fs@1/a.json', never);
  t.equal(await logs.read('fs@1/a.json', never), undefined);
});

t.test('a write whose answer is lost is done, and is no conflict with itself', async (t) => {
  const { open, proxy } = await startLogs(t);
  const logs = open();
  proxy.lose = loseOnce('answer', 'PUT');
  const etag = await logs.write('a', 'one', { expected: 'absent', metadata: { pid: '1' } }, never);
  proxy.lose = loseOnce('answer', 'PUT');
  const later = await logs.write('a', 'two', { expected: { etag } }, never);
  t.match(await logs.read('a', never), { body: Buffer.from('two'), etag: later });
  // Somebody else's write in between is one.
  proxy.lose = loseOnce('request', 'PUT');
  await logs.write('a', 'theirs', {}, never);
  proxy.lose = loseOnce('request', 'PUT');
  await t.rejects(logs.write('a', 'ours', { expected: { etag: later } }, never), { code: 'BLOB_CHANGED' });
});

t.test('an append is done once, whatever is lost', async (t) => {
  const { open, proxy } = await startLogs(t);
  const logs = open();
  await t.rejects(logs.append('log', Buffer.from('x'), 0, never), { code: 'BLOB_MISSING' });
  await t.rejects(textOf(logs, 'log'), { code: 'BLOB_MISSING' });
  await logs.createAppend('log', 'text/plain', never);
  await logs.append('log', Buffer.from('one\n'), 0, never);
  await logs.createAppend('log', 'text/plain', never);
  proxy.lose = loseOnce('answer', 'PUT', 'comp=appendblock');
  await logs.append('log', Buffer.from('two\n'), 4, never);
  proxy.lose = loseOnce('request', 'PUT', 'comp=appendblock');
  await logs.append('log', Buffer.from('three\n'), 8, never);
  await t.rejects(logs.append('log', Buffer.from('four\n'), 8, never), { code: 'BLOB_CHANGED' });
  t.equal(await textOf(logs, 'log'), 'one\ntwo\nthree\n');
  t.equal(await textOf(logs, 'log', 8), 'three\n');
  t.equal(await textOf(logs, 'log', 14), '', 'at its end');
  t.match(await logs.look('log', never), { sizeBytes: 14, blobType: 'AppendBlob', appends: 3 });
  const large = Buffer.alloc(4 << 20, 'x');
  for (let at = 0; at < 2; at += 1) await logs.append('log', large, 14 + at * large.length, never);
  t.equal((await textOf(logs, 'log', 14)).length, 2 * large.length, 'in several ranges');
});

t.test('a lease keeps others out, and its own id in', async (t) => {
  const { open, proxy } = await startLogs(t);
  const [one, other] = [open(), open()];
  const [mine, theirs] = [randomUUID(), randomUUID()];
  await t.rejects(one.acquireLease('lock', mine, 60, never), { code: 'BLOB_MISSING' });
  await one.write('lock', '', { expected: 'absent' }, never);
  proxy.lose = loseOnce('answer', 'PUT', 'comp=lease');
  await one.acquireLease('lock', mine, 60, never);
  await t.rejects(other.acquireLease('lock', theirs, 60, never), { code: 'BLOB_LEASED', errno: 16 });
  await t.rejects(other.renewLease('lock', theirs, never), { code: 'LEASE_LOST' });
  await t.rejects(other.write('lock', '', { leaseId: theirs }, never), { code: 'LEASE_LOST' });
  await t.rejects(other.write('lock', '', {}, never), { code: 'BLOB_LEASED' });
  await one.acquireLease('lock', mine, 60, never);
  await one.renewLease('lock', mine, never);
  await one.write('lock', '', { leaseId: mine, metadata: { kind: 'import' } }, never);
  t.match(await other.look('lock', never), { metadata: { kind: 'import' } });
  await one.releaseLease('lock', mine, never);
  await other.acquireLease('lock', theirs, 60, never);
  await t.rejects(one.releaseLease('lock', mine, never), { code: 'LEASE_LOST' });
  await t.rejects(one.write('lock', '', { leaseId: mine }, never), { code: 'LEASE_LOST' });
});

t.test('a container that is missing is named, whatever is asked of it', async (t) => {
  const { open, azurite } = await startLogs(t);
  const logs = open();
  const credential = { type: 'connection-string', file: azurite.connectionStringFile } as const;
  const gone = loggingContainerOf([{ container: 'data', credential }], 'nowhere');
  t.teardown(() => {
    gone.close();
  });
  const missing = { code: 'LOGGING_CONTAINER_MISSING', errno: 2, hint: /logging_container/ };
  await t.rejects(gone.check(never), missing);
  await t.rejects(gone.read('a', never), missing);
  await t.rejects(gone.look('a', never), missing);
  await t.rejects(gone.write('a', '', {}, never), missing);
  await t.rejects(gone.createAppend('a', 'text/plain', never), missing);
  await t.rejects(gone.acquireLease('a', randomUUID(), 60, never), missing);
  const stop = new AbortController();
  stop.abort();
  await t.rejects(logs.check(stop.signal), { code: 'ECANCELED' });
});

t.test('a check knows soon, whatever patience requests have', async (t) => {
  const server = createServer(() => undefined).listen(0, '127.0.0.1');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  await once(server, 'listening');
  const service = `http://127.0.0.1:${(server.address() as AddressInfo).port}/account`;
  const file = join(t.testdir({ key: Buffer.from('any key at all').toString('base64') }), 'key');
  const credential = { type: 'account-key', file } as const;
  const options = { maxTries: 8, retryForMs: 300_000, probePatienceMs: 300 };
  const logs = loggingContainerOf([{ container: `${service}/data`, credential }], 'logs', options);
  t.teardown(() => {
    logs.close();
  });
  await t.rejects(logs.check(never), {
    code: 'UNREACHABLE',
    message: 'logging container logs has not answered for 0.3 s.',
    retryable: true,
  });
});

async function configured(t: Test) {
  const azurite = await startAzurite();
  t.teardown(() => azurite.stop());
  const key = join(azurite.dir, 'key');
  writeFileSync(key, azurite.key);
  const string = { type: 'connection-string', file: azurite.connectionStringFile } as const;
  return { azurite, string, key: { type: 'account-key', file: key } as const };
}

t.test('the account and the credential are those of an archive', async (t) => {
  const { azurite, string, key } = await configured(t);
  await azurite.container('logs');
  const elsewhere = { container: 'https://elsewhere.blob.core.windows.net/logs', credential: key };
  const named = { container: 'data', credential: string };
  const full = { container: `${azurite.url}/data`, credential: key };
  for (const [archives, container] of [
    [[named], 'logs'],
    [[named], `${azurite.url}/logs`],
    [[full], 'logs'],
    [[elsewhere, full], `${azurite.url}/logs`],
  ] as const) {
    const logs = loggingContainerOf(archives, container, { maxTries: 1 });
    t.equal(logs.container, 'logs');
    await logs.check(never);
    logs.close();
  }
  for (const [archives, container] of [
    [[named], 'data'],
    [[elsewhere, full], `${azurite.url}/data`],
    [[named, { ...full, container: `${azurite.url}/second` }], 'second'],
  ] as const) {
    t.throws(() => loggingContainerOf(archives, container), { code: 'LOGGING_CONTAINER_IS_DATA' });
  }
  t.throws(() => loggingContainerOf([elsewhere, named], 'https://third.blob.core.windows.net/logs'), {
    code: 'LOGGING_CONTAINER_ACCOUNT',
  });
  t.throws(() => loggingContainerOf([named], 'no name'), { code: 'CONTAINER_INVALID' });
});

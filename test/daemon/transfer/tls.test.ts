// TLS: who is not who it should be is told at once, whatever the environment says; sessions are used again.
import t, { type Test } from 'tap';
import { AzureClients } from '../../../daemon/azure-client.js';
import { newCounters } from '../../../daemon/transfer/transfer.js';
import { startRawBlobServer } from '../../helpers/raw-blob-answers.js';
import type { Script } from '../../helpers/raw-http-server.js';
import { KIB, openBenchAt, pattern } from './bench.js';
import { ONE_RANGE, caFile, certificate, openRawBench, type RawBench } from './raw-bench.js';

const content = pattern(100 * KIB);
const untrusted = { code: 'TLS_CERTIFICATE', errno: 13, retryable: false };

async function open(t: Test, options: Parameters<typeof openRawBench>[2] = {}): Promise<RawBench> {
  const server = await startRawBlobServer(certificate);
  server.content = content;
  return openBenchAt(t, server, { ...ONE_RANGE, ...options });
}

t.test('a certificate that nobody vouches for', async (t) => {
  for (const workers of [0, 1]) {
    const at = await open(t, { workers });
    await t.rejects(at.download({ sizeBytes: content.length }), { ...untrusted, hint: /transfer\.ca_file/ });
    await t.rejects(at.upload({ content }), untrusted);
    t.match(at.counters, { requests: 2, retries: 0, bytes: 0 }, 'told at once');
    t.equal(at.target().length, 0);
    t.equal(at.server.requests.length, 0, 'nothing was sent');
  }
});

t.test('a certificate for another host', async (t) => {
  const at = await open(t, { caFile });
  // Loopback, too, but not in the certificate.
  const other = await startRawBlobServer(certificate, '127.0.0.2');
  t.teardown(() => other.stop());
  const blob = other.location('blob');
  const request = { blob, fd: -1, sizeBytes: 1, accept: () => undefined, counters: newCounters() };
  await t.rejects(at.engine.download(request, new AbortController().signal), untrusted);
  t.equal(other.requests.length, 0);
});

t.test('by name as well as by address', async (t) => {
  const at = await open(t, { caFile });
  const { url, auth } = at.server.location('blob');
  const blob = { url: url.replace('127.0.0.1', 'localhost'), auth };
  const counters = newCounters();
  const request = { blob, fd: -1, sizeBytes: 0, accept: () => undefined, counters };
  at.server.content = Buffer.alloc(0);
  await at.engine.download(request, new AbortController().signal);
  t.equal(counters.requests, 1);
});

t.test('NODE_TLS_REJECT_UNAUTHORIZED=0 changes nothing', async (t) => {
  const name = 'NODE_TLS_REJECT_UNAUTHORIZED';
  const before = process.env[name];
  process.env[name] = '0';
  t.teardown(() => {
    if (before === undefined) Reflect.deleteProperty(process.env, name);
    else process.env[name] = before;
  });
  for (const workers of [0, 1]) {
    const at = await open(t, { workers });
    await t.rejects(at.download({ sizeBytes: content.length }), untrusted, `${workers} workers`);
    await t.rejects(at.upload({ content }), untrusted);
  }
  const at = await open(t);
  const clients = new AzureClients();
  t.teardown(() => {
    clients.close();
  });
  const blob = clients.blob(at.server.location('blob'));
  await t.rejects(blob.getProperties(), /self-signed certificate/, 'nor for the requests that the SDK makes');
  t.equal(at.server.requests.length, 0);
});

t.test('the session is used again by the next connection', async (t) => {
  const at = await openRawBench(t, 'TLS');
  at.server.content = content;
  const once: Script = async (connection) => {
    const request = await connection.request();
    if (request) await at.server.answer(connection, request);
    connection.end();
  };
  at.server.follow(once, once, once);
  for (let round = 0; round < 3; round += 1) await at.download({ sizeBytes: content.length });
  t.same(
    at.server.connections.map(({ sessionReused }) => sessionReused),
    [false, true, true],
  );
  t.equal(at.counters.retries, 0);
});

t.test('a service that speaks no TLS', async (t) => {
  const at = await openRawBench(t, 'HTTP', { caFile });
  const { url, auth } = at.server.location('blob');
  const greet: Script = (connection) =>
    connection.send('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n');
  at.server.follow(greet, greet, greet);
  const blob = { url: url.replace('http:', 'https:'), auth };
  const request = { blob, fd: -1, sizeBytes: 1, accept: () => undefined, counters: at.counters };
  await t.rejects(at.engine.download(request, new AbortController().signal), {
    code: 'UNREACHABLE',
    errno: 11,
  });
});

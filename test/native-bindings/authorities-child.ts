// A process of authorities.test.ts: says whether node:tls, and a session of ours, in this thread and in a worker, trust a server that
// has the certificate whose files are named.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import tls from 'node:tls';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { usualCertificates } from '../../native-bindings/authorities.js';
import { TlsSession, tlsContext } from '../../native-bindings/tls-session.js';
import { TlsPeer, shakeHands } from './tls-peer.js';

const [cert = '', key = ''] = (isMainThread ? process.argv.slice(2) : (workerData as string[])).map((file) =>
  readFileSync(file, 'utf8'),
);

/** `ok`, or why not. */
async function verdict(trying: () => Promise<unknown>): Promise<string> {
  try {
    await trying();
    return 'ok';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

function ours(): Promise<string> {
  return verdict(async () => {
    const context = tlsContext(undefined);
    if (!context) throw new Error('wire.node was not built');
    const peer = new TlsPeer({ secureContext: tls.createSecureContext({ cert, key }) });
    const session = new TlsSession(context, 'localhost');
    await shakeHands(session, peer).finally(() => {
      peer.destroy();
    });
  });
}

async function nodes(ca?: readonly string[]): Promise<string> {
  const server = tls.createServer({ cert, key }).listen(0, '127.0.0.1');
  server.on('tlsClientError', () => undefined);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const options = { port, host: '127.0.0.1', servername: 'localhost', ...(ca ? { ca: [...ca] } : {}) };
  const client = tls.connect(options);
  client.on('error', () => undefined);
  const found = await verdict(() => once(client, 'secureConnect'));
  client.destroy();
  server.close();
  return found;
}

/** The same in a thread that was not given this one's options. */
async function inWorker(): Promise<string> {
  const worker = new Worker(new URL(import.meta.url), { workerData: process.argv.slice(2), execArgv: [] });
  const [said] = (await once(worker, 'message')) as [string];
  return said;
}

if (isMainThread) {
  const found = { node: await nodes(), ours: await ours(), named: await nodes(usualCertificates()) };
  const worker = process.execArgv.length > 0 ? await inWorker() : undefined;
  process.stdout.write(JSON.stringify({ ...found, worker }));
} else parentPort?.postMessage(await ours());

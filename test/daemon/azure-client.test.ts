// Connections that are used again, and the certificates that are trusted beside a CA file.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate, setTimeout as delay } from 'node:timers/promises';
import { rootCertificates } from 'node:tls';
import t from 'tap';
import { AzureClients } from '../../daemon/azure-client.js';
import { selfSigned } from '../helpers/self-signed.js';

const module = new URL('../../daemon/ca-file.js', import.meta.url).href;

/** What `loadCaFile` gives in a process of its own: Node reads NODE_EXTRA_CA_CERTS when it starts. */
function trusted(caFile: string, env: NodeJS.ProcessEnv): string[] {
  const script = `import { loadCaFile } from ${JSON.stringify(module)};
    process.stdout.write(JSON.stringify(loadCaFile(${JSON.stringify(caFile)})));`;
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
    maxBuffer: 1 << 26,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return JSON.parse(output) as string[];
}

t.test('a CA file adds to what Node trusts, extra certificates included', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'lhsm-ca-'));
  t.teardown(() => {
    rmSync(dir, { recursive: true });
  });
  const [own, extra] = [selfSigned().cert, selfSigned().cert];
  const [ownFile, extraFile] = [join(dir, 'own.pem'), join(dir, 'extra.pem')];
  writeFileSync(ownFile, own);
  writeFileSync(extraFile, extra);
  const has = (list: readonly string[], cert: string): boolean =>
    list.some((one) => one.trim() === cert.trim());
  const both = trusted(ownFile, { NODE_EXTRA_CA_CERTS: extraFile });
  t.ok(has(both, own));
  t.ok(has(both, extra));
  t.ok(has(both, rootCertificates[0] ?? ''));
  const missing = trusted(ownFile, { NODE_EXTRA_CA_CERTS: join(dir, 'none.pem') });
  t.ok(has(missing, own), 'a file that is not there is no failure, as Node has it');
  t.end();
});

t.test(
  'a request on a connection that is used again has all its time, whatever the server keeps idle ones for',
  async (t) => {
    let requests = 0;
    let connections = 0;
    let slow = false;
    const server = createServer((_request, response) => {
      requests += 1;
      response.setHeader('Content-Length', '5');
      // Longer than those two seconds: that is for the time between requests.
      void delay(slow ? 2500 : 0).then(() => response.end());
    });
    // What it tells in its Keep-Alive header.
    server.keepAliveTimeout = 2000;
    server.on('connection', () => (connections += 1)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const clients = new AzureClients({ socketTimeoutMs: 20_000 });
    t.teardown(() => {
      clients.close();
      server.close();
    });
    const { port } = server.address() as AddressInfo;
    const blob = clients.blob({
      url: `http://127.0.0.1:${port}/account/container/name`,
      auth: { kind: 'sas', query: () => 'sig=x' },
    });
    do {
      await blob.getProperties();
      await setImmediate();
    } while (connections === requests);
    slow = true;
    await blob.getProperties();
    t.ok(connections < requests);
  },
);

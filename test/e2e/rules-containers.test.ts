// Bad input while the daemon serves: containers and credentials that were good at the start and are not any more. The
// MDT hears a real errno, the log says why, nothing is lost, and with the cause mended the next request goes well.
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import { renameSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import {
  ContainerSASPermissions,
  generateBlobSASQueryParameters,
  StorageSharedKeyCredential,
} from '@azure/storage-blob';
import t, { type Test } from 'tap';
import { startAzurite, type Azurite } from '../helpers/azurite.js';
import type { Daemon, LogLine } from '../helpers/daemon.js';
import { Site } from '../helpers/site.js';

const QUICK = '[transfer]\nmax_tries = 2\n[http]\nlisten = "off"\n';

let site: Site;
let serial = 0;

t.before(async () => {
  site = await Site.start({ more: QUICK });
});

t.teardown(() => site.stop());

/** Archives a file of a node through this archive id; answers the line of the end. */
async function archive(daemon: Daemon, name: string): Promise<LogLine> {
  const after = daemon.lines.length;
  const fid = await site.sim.fidOf(site.path(name));
  await site.hsm('archive', site.path(name));
  return daemon.log((line) => daemon.lines.indexOf(line) >= after && line['fid'] === fid && 'result' in line);
}

/** Fails now, leaves the file as it was, and succeeds once `mend` is done. */
async function failsUntil(
  t: Test,
  daemon: Daemon,
  expected: { readonly code: string; readonly errno: string },
  mend: () => Promise<unknown>,
): Promise<void> {
  serial += 1;
  const name = `meanwhile-${serial}`;
  const bytes = site.write(name, 5000);
  t.match(await archive(daemon, name), { level: 'error', ...expected });
  t.notMatch(await site.state(site.path(name)), /archived/, 'not taken for archived');
  await mend();
  t.match(await archive(daemon, name), { result: 'succeeded' });
  await site.hsm('release', site.path(name));
  t.ok((await site.read(name)).equals(bytes));
}

t.test('a container that is deleted while the daemon serves', async (t) => {
  const container = await site.azurite.container('fleeting');
  const [base = { container: '', credential: '' }] = site.settings().archives;
  const daemon = await site.daemon(0, { archives: [{ ...base, container: 'fleeting' }] });
  await container.delete();
  await failsUntil(t, daemon, { code: 'CONTAINER_MISSING', errno: 'ENOENT' }, () => container.create());
  t.equal(await daemon.stop(), 0);
});

t.test('a container that forbids what the daemon needs while it serves', async (t) => {
  const file = join(site.azurite.dir, 'sas');
  const write = (permissions: string): void => {
    const sas = generateBlobSASQueryParameters(
      {
        containerName: 'archive',
        permissions: ContainerSASPermissions.parse(permissions),
        expiresOn: new Date(Date.now() + 3_600_000),
      },
      new StorageSharedKeyCredential(site.azurite.account, site.azurite.key),
    );
    writeFileSync(`${file}.new`, sas.toString());
    renameSync(`${file}.new`, file);
  };
  write('racwdl');
  const daemon = await site.daemon(0, {
    archives: [
      {
        container: `${site.azurite.url}/archive`,
        credential: `{ type = "sas", file = ${JSON.stringify(file)} }`,
      },
    ],
  });
  write('rl');
  await failsUntil(t, daemon, { code: 'FORBIDDEN', errno: 'EACCES' }, () => {
    write('racwdl');
    return Promise.resolve();
  });
  t.notMatch(daemon.output(), /sig=/, 'no signature in the log');
  t.equal(await daemon.stop(), 0);
});

/** A machine's identity service, as @azure/identity asks one in App Service: gives tokens, or refuses. */
async function identityService(): Promise<{ server: Server; url: string; refuse: (yes: boolean) => void }> {
  let refusing = false;
  const seconds = Math.floor(Date.now() / 1000);
  const claims = {
    aud: 'https://storage.azure.com',
    iss: 'https://sts.windows.net/22222222-2222-2222-2222-222222222222/',
    iat: seconds - 60,
    nbf: seconds - 60,
    exp: seconds + 3600,
  };
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const token = `${part({ alg: 'none', typ: 'JWT' })}.${part(claims)}.c2lnbmF0dXJl`;
  const server = createServer((_request, response) => {
    if (refusing) {
      response.writeHead(400, { 'content-type': 'application/json' });
      response.end('{"statusCode":400,"message":"no such identity"}');
      return;
    }
    // It expires at once, so that every request asks for a new one.
    const expires = String(Math.floor(Date.now() / 1000) + 1);
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(
      JSON.stringify({
        access_token: token,
        expires_on: expires,
        resource: claims.aud,
        token_type: 'Bearer',
      }),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    server,
    url: `http://127.0.0.1:${port}/msi/token`,
    refuse: (yes) => {
      refusing = yes;
    },
  };
}

t.test('a token that cannot be refreshed', async (t) => {
  const azurite: Azurite = await startAzurite({ https: true, oauth: 'basic' });
  t.teardown(() => azurite.stop());
  await azurite.container('archive');
  const identity = await identityService();
  t.teardown(() => {
    identity.server.closeAllConnections();
    identity.server.close();
  });
  const daemon = await site.daemon(0, {
    archives: [{ container: `${azurite.url}/archive`, credential: '{ type = "managed-identity" }' }],
    more: `[transfer]\nmax_tries = 2\nca_file = ${JSON.stringify(azurite.caFile)}\n[http]\nlisten = "off"\n`,
    env: { IDENTITY_ENDPOINT: identity.url, IDENTITY_HEADER: 'header' },
  });
  site.write('by token', 100);
  t.match(await archive(daemon, 'by token'), { result: 'succeeded' });
  identity.refuse(true);
  await failsUntil(t, daemon, { code: 'TOKEN_FAILED', errno: 'EACCES' }, () => {
    identity.refuse(false);
    return Promise.resolve();
  });
  t.notMatch(daemon.output(), /c2lnbmF0dXJl/, 'no token in the log');
  t.equal(await daemon.stop(), 0);
});

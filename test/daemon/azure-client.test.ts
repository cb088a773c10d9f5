// The certificates that are trusted beside a CA file.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import t from 'tap';
import { selfSigned } from '../helpers/self-signed.js';

const module = new URL('../../daemon/azure-client.js', import.meta.url).href;

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

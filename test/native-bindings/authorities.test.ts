// Whom a session trusts when nobody says otherwise is whom node:tls trusts, whatever options and variables Node was started with.
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { scratchFolder } from '../helpers/scratch.js';
import { selfSigned } from '../helpers/self-signed.js';

const run = promisify(execFile);
const child = fileURLToPath(new URL('./authorities-child.js', import.meta.url));
const folder = scratchFolder('lhsm-authorities-');
const { cert, key } = selfSigned();
const other = selfSigned().cert;
const broken = other.replace(/^M/m, '!!!');

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const mine = file('mine.pem', cert);
const keyFile = file('key.pem', key);
const empty = file('empty.pem', '');
const dir = join(folder, 'dir');
mkdirSync(dir);

interface Case {
  readonly options?: readonly string[];
  readonly extra?: string;
  readonly certFile?: string;
  readonly nodeOptions?: string;
  readonly isTrusted: boolean;
}

const openssl = ['--use-openssl-ca'];
const cases: Readonly<Record<string, Case>> = {
  'nothing said': { isTrusted: false },
  'an extra file of several, garbage behind them': {
    extra: file('several.pem', `# some\n${other}${cert}${broken}`),
    isTrusted: true,
  },
  'an extra file that breaks off before': { extra: file('before.pem', `${broken}${cert}`), isTrusted: false },
  'an extra file without certificates': { extra: file('garbage.pem', 'garbage\0\n'), isTrusted: false },
  'an extra file that is a folder': { extra: dir, isTrusted: false },
  'no name of an extra file': { extra: '', isTrusted: false },
  "OpenSSL's file, not asked for": { certFile: mine, isTrusted: false },
  "OpenSSL's file": { options: openssl, certFile: mine, isTrusted: true },
  "OpenSSL's file by NODE_OPTIONS": { nodeOptions: '--use_openssl_ca', certFile: mine, isTrusted: true },
  "an extra file beside OpenSSL's, which is empty": { options: openssl, extra: mine, isTrusted: true },
};

// Each is a process.
t.jobs = 2;
for (const [name, { options = [], extra, certFile = empty, nodeOptions, isTrusted }] of Object.entries(
  cases,
)) {
  t.test(name, { buffered: true }, async (t) => {
    const env = {
      PATH: process.env['PATH'],
      SSL_CERT_FILE: certFile,
      SSL_CERT_DIR: dir,
      ...(extra === undefined ? {} : { NODE_EXTRA_CA_CERTS: extra }),
      ...(nodeOptions === undefined ? {} : { NODE_OPTIONS: nodeOptions }),
    };
    const { stdout } = await run(process.execPath, [...options, child, mine, keyFile], { env });
    const { node, ours, worker, named } = JSON.parse(stdout) as Record<string, string>;
    t.equal(node, isTrusted ? 'ok' : 'DEPTH_ZERO_SELF_SIGNED_CERT');
    t.same([ours, worker ?? ours], [node, node], 'as node:tls');
    if (extra !== undefined) t.equal(named, node, 'and who adds to them');
  });
}

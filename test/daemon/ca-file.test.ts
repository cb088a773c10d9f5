// The CA file: what is in it is trusted beside the usual certificates, and one that is not good in all of it is named.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { loadCaFile } from '../../daemon/ca-file.js';
import { scratchFolder } from '../helpers/scratch.js';
import { selfSigned } from '../helpers/self-signed.js';

const folder = scratchFolder('lhsm-ca-');
const path = join(folder, 'ca.pem');
const [one, two] = [selfSigned().cert, selfSigned().cert];

t.test('several certificates, with whatever stands between them', (t) => {
  for (const text of [
    one,
    one + two,
    `# ours\n\n${one}\nand\n${two}\n# end`,
    `${one}${two}`.replaceAll('\n', '\r\n'),
  ]) {
    writeFileSync(path, text);
    const all = loadCaFile(path);
    t.ok(all.length > 100, 'the usual ones');
    t.equal(all.at(-1), text);
  }
  t.end();
});

t.test('a file that is not good says where', (t) => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['', /holds no certificate/],
    ['garbage\0', /holds no certificate/],
    [selfSigned().key, /holds no certificate/],
    [one.replace(/^M/m, '!!!'), /certificate 1 of 1 on/],
    [one + two.slice(0, 300), /certificate 2 of 2 on/],
    [`${one}${two.replace(/\n.{20}/, '\n')}${one}`, /certificate 2 of 3 on/],
  ];
  for (const [text, message] of cases) {
    writeFileSync(path, text);
    t.throws(() => loadCaFile(path), { code: 'EINVAL', errno: 22, message, hint: /transfer\.ca_file/ });
  }
  t.throws(() => loadCaFile(join(folder, 'missing.pem')), { code: 'ENOENT', message: /missing\.pem/ });
  t.throws(() => loadCaFile(folder), { code: 'EISDIR' });
  t.end();
});

// The documentation keeps up with the source: every error code is explained, and links lead somewhere.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { ROOT } from '../../docs/generate/generate-docs.js';
import { errnoNumber } from '../../native-bindings/errors.js';

function filesBelow(dir: string, ending: string): string[] {
  return readdirSync(path.join(ROOT, dir), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => path.join(dir, name));
}
const read = (file: string): string => readFileSync(path.join(ROOT, file), 'utf8');

function isErrno(code: string): boolean {
  try {
    return errnoNumber(code) > 0;
  } catch {
    return false;
  }
}

t.test('docs/operations.md explains every error code', (t) => {
  const page = read('docs/operations.md');
  const codes = new Set<string>();
  for (const file of [...filesBelow('daemon', '.ts'), ...filesBelow('native-bindings', '.ts')]) {
    for (const [, code = ''] of read(file).matchAll(/\bcode: (?:\w+ \? )?'([A-Z][A-Z0-9_]+)'/g))
      codes.add(code);
  }
  t.ok(codes.size > 30);
  for (const code of [...codes].sort()) if (!isErrno(code)) t.ok(page.includes(`\`${code}\``), code);
  t.end();
});

t.test('links between the documents lead somewhere', (t) => {
  const pages = ['README.md', 'CHANGELOG.md', ...filesBelow('docs', '.md')];
  for (const page of pages) {
    for (const [, target = ''] of read(page).matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
      t.ok(existsSync(path.join(ROOT, path.dirname(page), target)), `${page}: ${target}`);
    }
  }
  t.end();
});

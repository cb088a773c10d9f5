// docs/decisions/rules-and-tests.md leads to tests that exist.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import ts from 'typescript';
import { repositoryRoot } from './lustre-sim/build.js';

interface Row {
  readonly rule: string;
  readonly file: string;
  readonly name: string;
}

const root = repositoryRoot();

/** Rows of the tables; a rule of several tests stands in the first of its rows. */
function rows(): Row[] {
  const text = readFileSync(join(root, 'docs/decisions/rules-and-tests.md'), 'utf8');
  const found: Row[] = [];
  for (const line of text.split('\n')) {
    if (!line.startsWith('|')) continue;
    const [, rule = '', file = '', name = ''] = line.split('|').map((cell) => cell.trim());
    if (rule === 'rule' || /^-+$/.test(file)) continue;
    found.push({ rule: rule || (found.at(-1)?.rule ?? ''), file: file.replaceAll('`', ''), name });
  }
  return found;
}

/** The names of the tests of a file, as they are written: first arguments of `test(…)` and `rule(…)`. */
function testNames(file: string): string[] {
  const source = ts.createSourceFile(
    file,
    readFileSync(join(root, file), 'utf8'),
    ts.ScriptTarget.Latest,
    true,
  );
  const names: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && /(^|\.)(test|rule)$/.test(node.expression.getText())) {
      const [first] = node.arguments;
      if (first && ts.isStringLiteralLike(first)) names.push(first.text);
      else if (first && ts.isTemplateExpression(first)) names.push(first.getText().slice(1, -1));
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return names;
}

/** Whether a name begins with this, `…` standing for anything. */
function fits(name: string, beginning: string): boolean {
  const parts = beginning.split('…').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}`).test(name);
}

t.test('every row leads to a test that exists', (t) => {
  const names = new Map<string, string[]>();
  const all = rows();
  for (const { rule, file, name } of all) {
    if (!existsSync(join(root, file))) {
      t.fail(`${rule}: there is no ${file}`);
      continue;
    }
    const known = names.get(file) ?? testNames(file);
    names.set(file, known);
    if (name === '' || !known.some((each) => fits(each, name)))
      t.fail(`${rule}: ${file} has no test "${name}"`);
  }
  t.ok(all.length > 150, `${all.length} rows`);
  t.end();
});

t.test('no rule stands twice in one table', (t) => {
  const seen = new Set<string>();
  const text = readFileSync(join(root, 'docs/decisions/rules-and-tests.md'), 'utf8');
  for (const [at, section] of text.split('\n## ').entries()) {
    for (const [, rule = ''] of section.matchAll(/^\| (\S.*?) *\| `/gm)) {
      if (seen.has(`${at} ${rule}`)) t.fail(rule);
      seen.add(`${at} ${rule}`);
    }
  }
  t.ok(seen.size > 100, `${seen.size} rules`);
  t.end();
});

t.test('a row that leads nowhere would be noticed', (t) => {
  t.ok(fits('failure: ${name}', 'failure: …'));
  t.ok(fits('a blob ${what} than the stub is EIO, never', 'a blob … than the stub is EIO'));
  t.notOk(fits('another blob than the stub', 'a blob … than the stub'));
  t.notOk(fits('a blob', 'a blob that is not there'));
  t.notOk(testNames('test/rules-and-tests.test.ts').includes('no such test'));
  t.ok(testNames('test/rules-and-tests.test.ts').includes('every row leads to a test that exists'));
  t.end();
});

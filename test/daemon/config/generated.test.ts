// The files that operators read say what the program does: generated ones are fresh, the example parses, its
// defaults are the real ones.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { jsonSchema, type JsonSchema } from '../../../daemon/config/keys.js';
import { parseConfig } from '../../../daemon/config/load.js';
import { describeConfig } from '../../../daemon/config/to-config.js';
import { generatedFiles, ROOT, staleFiles } from '../../../docs/generate/generate-docs.js';

const example = readFileSync(path.join(ROOT, 'config/lhsm-azblob.toml'), 'utf8');
const parse = (text: string) => parseConfig(text, 'example', { env: {} });

t.test('no generated file is stale (npm run docs)', async (t) => {
  t.same(await staleFiles(), []);
  t.match([...(await generatedFiles()).keys()], ['config/lhsm-azblob.toml', 'docs/configuration.md']);
});

t.test('the example parses as it is, and with every comment removed', (t) => {
  const bare = example.replaceAll(/^#.*\n/gm, '');
  t.notMatch(bare, /#/);
  t.same(parse(bare), parse(example));
  t.end();
});

t.test('the defaults in the example are the real ones', (t) => {
  const uncommented = example.replaceAll(/^#(?=\w+ = )/gm, '');
  t.ok((uncommented.match(/^\w+ = /gm) ?? []).length >= 25, 'they were uncommented');
  t.same(parse(uncommented), parse(example));
  t.end();
});

t.test('the defaults in the documentation are the real ones, and every key is explained', (t) => {
  const page = readFileSync(path.join(ROOT, 'docs/configuration.md'), 'utf8');
  const real = describeConfig(parse(example));
  const lookUp = (keys: readonly string[], from: unknown): unknown =>
    keys.reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], from);
  const walk = (schema: JsonSchema, keys: readonly string[]): void => {
    for (const [name, child] of Object.entries(schema.properties ?? {})) {
      const path = [...keys, name];
      t.ok(child.description ?? child.const, `${path.join('.')} is explained`);
      if (child.type === 'object') walk(child, path);
      else if (child.default !== undefined) {
        t.equal(lookUp(path, real), child.default, `${path.join('.')}: the default that is documented`);
        const row = page
          .split('\n')
          .find((line) => line.startsWith(`| \`${name}\``) && line.includes(String(child.default)));
        t.ok(row, `${path.join('.')} stands in docs/configuration.md with its default`);
      }
    }
  };
  walk(jsonSchema(), []);
  t.end();
});

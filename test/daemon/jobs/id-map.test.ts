import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { loadIdMap } from '../../../daemon/jobs/id-map.js';

const { signal } = new AbortController();

t.test('object ids, UPNs and names', async (t) => {
  const file = join(t.testdir(), 'users.toml');
  writeFileSync(
    file,
    `# staff
8D1F0A2B-0000-4000-8000-00000000ABCD = 1001
"ada@example.com" = 1002
grace = 4294967294
`,
  );
  t.same(
    await loadIdMap(file, signal),
    new Map([
      ['8d1f0a2b-0000-4000-8000-00000000abcd', 1001],
      ['ada@example.com', 1002],
      ['grace', 4_294_967_294],
    ]),
  );
  writeFileSync(file, '');
  t.same(await loadIdMap(file, signal), new Map());
});

t.test('mistakes name file and key', async (t) => {
  const file = join(t.testdir(), 'users.toml');
  const bad: readonly [text: string, message: RegExp][] = [
    ['ada = "1001"', /users\.toml: ada is not a whole number from 0 to 4294967294/],
    ['ada = 1.0', /ada is not a whole number/],
    ['ada = -1', /ada is not a whole number/],
    ['ada = 4294967295', /ada is not a whole number/],
    ['ada.lovelace = 1001', /ada is a table/],
    ['ada = 1\nada = 2', /users\.toml: line 2, column \d+/],
    ['ada@example.com = 1', /line 1/],
  ];
  for (const [text, message] of bad) {
    writeFileSync(file, text);
    await t.rejects(loadIdMap(file, signal), { code: 'ID_MAP', errno: 22, message, hint: /quotes/ }, text);
  }
  await t.rejects(loadIdMap(`${file}.none`, signal), {
    code: 'ID_MAP',
    errno: 2,
    message: /users\.toml\.none/,
  });
  await t.rejects(loadIdMap(file, AbortSignal.abort()), { name: 'AbortError' });
});

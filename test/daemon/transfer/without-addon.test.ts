// Where wire.node cannot be had, transfers go by node:net, node:tls and libuv's writes: the tests of the transfer plane that meet
// these run once more, from a copy of what was built without it.
import { execFile } from 'node:child_process';
import { cpSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';

const run = promisify(execFile);
const root = process.cwd();

t.test('the same tests pass', { timeout: 120_000 }, async (t) => {
  const copy = t.testdir();
  for (const folder of ['daemon', 'native-bindings', 'test']) {
    cpSync(join(root, 'dist', folder), join(copy, 'dist', folder), { recursive: true });
  }
  for (const name of ['package.json', 'node_modules', 'test'])
    symlinkSync(join(root, name), join(copy, name));
  rmSync(join(copy, 'dist/native-bindings/wire.node'));
  for (const name of [
    'tls',
    'paused-reads',
    'download-faults',
    'raw-answers',
    'expected-answers',
    'raw-uploads',
  ]) {
    const file = join(copy, `dist/test/daemon/transfer/${name}.test.js`);
    const { stdout } = await run(process.execPath, [file], { cwd: copy, maxBuffer: 64 * 1024 * 1024 });
    t.match(stdout, /^ok 1 - /m, `${name} ran`);
    t.notMatch(stdout, /^ *not ok /m, `${name} passed`);
  }
});

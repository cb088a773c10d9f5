// `npm test [-- FILE…]`: runs the compiled tests under tap, all of them or those named, says what failed, and closes with
// one line that counts what passed and what failed.
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import t from 'tap';

/** A file that takes longer hangs. Its own tap goes by it, too. */
const TIMEOUT_S = 300;

const named = process.argv.slice(2).map((file) => file.replace(/^(?!dist\/)(.*)\.ts$/, 'dist/$1.js'));
/** Every compiled test whose source is still there; those that take longest first, so that none is left over for the end. */
function all(): string[] {
  const files = readdirSync('dist/test', { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.js') && existsSync(join('test', file.replace(/js$/, 'ts'))))
    .map((file) => join('dist/test', file))
    .sort();
  const isLong = (file: string): boolean => file.startsWith('dist/test/e2e/');
  return [...files.filter(isLong), ...files.filter((file) => !isLong(file))];
}
/** Each failed test of a TAP text with what it says of itself, its parents last. */
function* failures(text: string): Generator<string> {
  for (const [whole] of text.matchAll(/^( *)not ok .*(?:\n\1 {2}---\n(?:\1 {2}.*\n|\n)*?\1 {2}\.\.\.$)?/gm))
    yield whole;
}

let text = '';
t.pipe(
  new Writable({
    decodeStrings: false,
    write(chunk: Buffer | string, _encoding, done) {
      text += chunk.toString();
      done();
    },
  }),
);
// Most of the end-to-end tests' time is waiting: one more at once than there are cores.
t.jobs = availableParallelism() + 1;
t.setTimeout(0);
const files = named.length > 0 ? named : all();
await Promise.all(
  files.map(async (file) => {
    // tap's own command, and its spawn, have each process load hooks that we do not use, at two seconds a file and one a child.
    const args = ['-u', 'NODE_OPTIONS', process.execPath, '--enable-source-maps', file];
    const env = { ...process.env, TAP_TIMEOUT: String(TIMEOUT_S) };
    const result = await t.spawn(
      '/usr/bin/env',
      args,
      { env, timeout: TIMEOUT_S * 1000, buffered: true },
      file,
    );
    const seconds = ((result?.time ?? 0) / 1000).toFixed(1);
    process.stdout.write(`${result?.ok ? 'ok    ' : 'FAILED'} ${file} ${seconds} s\n`);
  }),
);
t.end();
await once(t, 'end');
for (const failure of failures(text)) process.stdout.write(`${failure}\n`);
const total = /^# \{ total: (\d+)(?:, pass: (\d+))?(?:, fail: (\d+))?/m.exec(text);
const [passed, failed] = [Number(total?.[2] ?? 0), Number(total?.[3] ?? 0)];
// A file that died without a failed assertion counts as one.
process.stdout.write(`${passed} passed, ${t.passing() ? failed : Math.max(failed, 1)} failed\n`);
process.exitCode = t.passing() ? 0 : 1;

// `npm test [-- FILE…]`: runs the compiled tests with tap, all of them or those named, says what failed, and closes with
// one line that counts what passed and what failed.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const named = process.argv.slice(2).map((file) => file.replace(/^(?!dist\/)(.*)\.ts$/, 'dist/$1.js'));
/** Every compiled test whose source is still there. */
function all(): string[] {
  return readdirSync('dist/test', { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.js') && existsSync(join('test', file.replace(/js$/, 'ts'))))
    .map((file) => join('dist/test', file))
    .sort();
}
/** Each failed test of a TAP file with what it says of itself, its parents last. */
function* failures(text: string): Generator<string> {
  for (const [whole] of text.matchAll(/^( *)not ok .*(?:\n\1 {2}---\n(?:\1 {2}.*\n|\n)*?\1 {2}\.\.\.$)?/gm))
    yield whole;
}
const files = named.length > 0 ? named : all();

const tap = join(dirname(createRequire(import.meta.url).resolve('tap/package.json')), 'dist/esm/run.mjs');
const scratch = mkdtempSync(join(tmpdir(), 'lhsm-tests-'));
const output = join(scratch, 'tap');
// Where the cursor cannot move, every count would be a line of its own.
const reporter = process.stdout.isTTY ? 'terse' : 'silent';
// Most of the end-to-end tests' time is waiting: one more at once than there are cores.
const jobs = availableParallelism() + 1;
const options = [`--reporter=${reporter}`, `--output-file=${output}`, `--jobs=${jobs}`];
const child = spawn(process.execPath, [tap, ...options, ...files], { stdio: 'inherit' });
const [status] = (await once(child, 'close')) as [number | null];
const tapText = readFileSync(output, 'utf8');
const total = /^# \{ total: (\d+)(?:, pass: (\d+))?(?:, fail: (\d+))?/m.exec(tapText);
rmSync(scratch, { recursive: true });
if (!process.stdout.isTTY) for (const failure of failures(tapText)) process.stdout.write(`${failure}\n`);
const [passed, failed] = [Number(total?.[2] ?? 0), Number(total?.[3] ?? 0)];
// A file that died without a failed assertion counts as one.
process.stdout.write(`${passed} passed, ${status === 0 ? failed : Math.max(failed, 1)} failed\n`);
process.exitCode = status ?? 1;

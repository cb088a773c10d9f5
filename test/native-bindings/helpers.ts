// What the binding's tests share: sources of this folder, C compiled into a test's own directory, descriptors.
import { callThreads } from '../../native-bindings/call-threads.js';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout: tests run from dist/test/native-bindings. */
export const root = fileURLToPath(new URL('../../../', import.meta.url));

/** A file of test/native-bindings, which tsc does not copy. */
export function fixture(name: string): string {
  return join(root, 'test/native-bindings', name);
}

/** Compiles C to `output` with gcc; throws with gcc's messages. */
export function gcc(output: string, ...args: readonly string[]): string {
  execFileSync('gcc', ['-Wall', '-Wextra', '-Werror', '-o', output, ...args], { stdio: 'pipe' });
  return output;
}

/** Compiles C text to a shared library. */
export function sharedLibrary(output: string, source: string): string {
  execFileSync('gcc', ['-Wall', '-shared', '-fPIC', '-o', output, '-xc', '-'], {
    input: source,
    stdio: 'pipe',
  });
  return output;
}

/** How many descriptors this process has open. */
export function openDescriptors(): number {
  // Its pipe stays open from the first call on.
  callThreads();
  return readdirSync('/proc/self/fd').length;
}

// `npm run build` ends with this: compiles crc64.c to dist/native-bindings/crc64.node when that is older than its sources,
// or cannot be loaded here. No node-gyp and nothing downloaded: N-API is the same in every Node, its headers are those
// beside this node or of the package node-api-headers.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, realpathSync, renameSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const here = dirname(fileURLToPath(import.meta.url));
const output = join(here, '../dist/native-bindings/crc64.node');
const sources = ['crc64.c', 'crc64-core.c'].map((name) => join(here, name));
const inputs = [...sources, join(here, 'crc64-core.h'), fileURLToPath(import.meta.url)];
// Warnings are errors in the tests only: another compiler than ours may have new ones.
const flags = [
  '-std=gnu11',
  '-O2',
  '-fPIC',
  '-shared',
  '-fvisibility=hidden',
  '-pthread',
  '-DNAPI_VERSION=8',
];

function fail(message) {
  throw new Error(message);
}

function loads(file) {
  try {
    return require(file).implementations.length > 0;
  } catch {
    return false;
  }
}

function isFresh() {
  const built = statSync(output, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  return inputs.every((file) => statSync(file).mtimeMs < built) && loads(output);
}

function headers() {
  const nodedir = process.env.npm_config_nodedir;
  const beside = [process.execPath, realpathSync(process.execPath)].map((node) => join(dirname(node), '..'));
  const dirs = [...(nodedir ? [nodedir] : []), ...beside].map((dir) => join(dir, 'include/node'));
  try {
    dirs.push(require('node-api-headers').include_dir);
  } catch {
    // Not installed: the headers may still be beside node.
  }
  const found = dirs.find((dir) => existsSync(join(dir, 'node_api.h')));
  return (
    found ?? fail('node_api.h is not beside node, and the package node-api-headers is missing. Run: npm ci')
  );
}

/** Compiles to `file`; false when there is no such compiler. */
function compile(compiler, file) {
  const [program, ...options] = compiler.split(/\s+/);
  const args = [...options, ...flags, '-isystem', headers(), '-o', file, ...sources];
  const { error, status, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (error?.code === 'ENOENT') return false;
  if (error || status !== 0) fail(`${compiler} could not compile the CRC64 addon:\n${error ?? stderr}`);
  return true;
}

function build() {
  mkdirSync(dirname(output), { recursive: true });
  // Beside the output, so that putting it in place is one rename: others may be loading it, or building it as well.
  const scratch = mkdtempSync(join(dirname(output), '.addon-'));
  try {
    const file = join(scratch, 'crc64.node');
    const compilers = process.env.CC ? [process.env.CC] : ['cc', 'gcc'];
    if (!compilers.some((compiler) => compile(compiler, file))) {
      fail(`No C compiler (${compilers.join(', ')}). On Debian or Ubuntu: apt-get install gcc libc6-dev`);
    }
    if (!loads(file)) fail('The compiled CRC64 addon cannot be loaded by this node.');
    renameSync(file, output);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

try {
  if (!isFresh()) build();
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}

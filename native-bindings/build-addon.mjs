// `npm run build` ends with this: compiles what is written in C to dist/native-bindings/ when that is older than its sources,
// or cannot be loaded here. No node-gyp and nothing downloaded: N-API is the same in every Node, its headers are those
// beside this node or of the package node-api-headers.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, realpathSync, renameSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const here = dirname(fileURLToPath(import.meta.url));
const outputs = join(here, '../dist/native-bindings');
const ADDON = 'crc64.node';
const libraries = {
  [ADDON]: ['crc64.c', 'crc64-core.c'],
  'calls.so': ['call-sequence.c', 'call-threads.c'],
};
const inputs = [...Object.values(libraries).flat(), 'crc64-core.h', 'call-sequence.h', 'build-addon.mjs'];
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

/** Whether a library that is no addon can be loaded: all that Node then misses is an addon's registration. */
function opens(file) {
  try {
    process.dlopen({ exports: {} }, file);
    return true;
  } catch (error) {
    return /did not self-register/.test(error.message);
  }
}

/** Whether all that stands in the folder can be loaded here. */
function isGood(folder) {
  return Object.keys(libraries).every((name) => (name === ADDON ? loads : opens)(join(folder, name)));
}

function isFresh() {
  const built = Object.keys(libraries).map(
    (name) => statSync(join(outputs, name), { throwIfNoEntry: false })?.mtimeMs ?? 0,
  );
  const oldest = Math.min(...built);
  return inputs.every((name) => statSync(join(here, name)).mtimeMs < oldest) && isGood(outputs);
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

/** Compiles all to `folder`; false when there is no such compiler. */
function compile(compiler, folder) {
  const [program, ...options] = compiler.split(/\s+/);
  for (const [name, sources] of Object.entries(libraries)) {
    const files = sources.map((source) => join(here, source));
    const args = [...options, ...flags, '-isystem', headers(), '-o', join(folder, name), ...files];
    const { error, status, stderr } = spawnSync(program, args, { encoding: 'utf8' });
    if (error?.code === 'ENOENT') return false;
    if (error || status !== 0) fail(`${compiler} could not compile ${name}:\n${error ?? stderr}`);
  }
  return true;
}

function build() {
  mkdirSync(outputs, { recursive: true });
  // Beside the outputs, so that putting each in place is one rename: others may be loading it, or building it as well.
  const scratch = mkdtempSync(join(outputs, '.addon-'));
  try {
    const compilers = process.env.CC ? [process.env.CC] : ['cc', 'gcc'];
    if (!compilers.some((compiler) => compile(compiler, scratch))) {
      fail(`No C compiler (${compilers.join(', ')}). On Debian or Ubuntu: apt-get install gcc libc6-dev`);
    }
    if (!isGood(scratch)) fail('What was compiled cannot be loaded by this node.');
    for (const name of Object.keys(libraries)) renameSync(join(scratch, name), join(outputs, name));
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

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
/**
 * What is made of what, and whether it is good. Without an optional one the same is done at a higher price: it needs an OpenSSL
 * in Node that addons may use, and its headers, which node-api-headers does not have.
 */
const libraries = {
  'crc64.node': {
    sources: ['crc64.c', 'crc64-core.c'],
    isGood: (file) => require(file).implementations.length > 0,
  },
  'calls.so': { sources: ['call-sequence.c', 'call-threads.c', 'path-xattr.c'], isGood: opens },
  'wire.node': {
    sources: [
      ...[
        'wire.c',
        'tls-session.c',
        'body-thread.c',
        'body.c',
        'splice-io.c',
        'get-thread.c',
        'get.c',
        'get-head.c',
        'route.c',
        'link.c',
        'byte-io.c',
        'work-threads.c',
      ],
      'crc64-core.c',
    ],
    isGood: (file) => require(file).startGet !== undefined,
    // What this Node does not have shows when it is loaded, not when it is called; and its threads outlive who loaded it.
    flags: ['-Wl,-z,now', '-Wl,-z,nodelete'],
    isOptional: true,
  },
};
const inputs = [
  ...Object.values(libraries).flatMap(({ sources }) => sources),
  'crc64-core.h',
  'call-sequence.h',
  'tls-session.h',
  'body-thread.h',
  'body.h',
  'splice-io.h',
  'get-thread.h',
  'get.h',
  'route.h',
  'link.h',
  'byte-io.h',
  'work-threads.h',
  'napi-helpers.h',
  'build-addon.mjs',
];
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

/** Whether a library that is no addon can be loaded: all that Node then misses is an addon's registration. */
function opens(file) {
  try {
    process.dlopen({ exports: {} }, file);
    return true;
  } catch (error) {
    return /did not self-register/.test(error.message);
  }
}

/** Whether a library stands in the folder, and can be loaded here. */
function isGood(folder, name) {
  try {
    return libraries[name].isGood(join(folder, name));
  } catch {
    return false;
  }
}

function isFresh() {
  const built = Object.keys(libraries).map(
    (name) => statSync(join(outputs, name), { throwIfNoEntry: false })?.mtimeMs ?? 0,
  );
  const oldest = Math.min(...built);
  return (
    inputs.every((name) => statSync(join(here, name)).mtimeMs < oldest) &&
    Object.keys(libraries).every((name) => isGood(outputs, name))
  );
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

/** Compiles a library to `folder`; answers what went wrong, or undefined. Throws when there is no compiler. */
function compile(name, folder) {
  const { sources, flags: more = [] } = libraries[name];
  const files = sources.map((source) => join(here, source));
  for (const compiler of process.env.CC ? [process.env.CC] : ['cc', 'gcc']) {
    const [program, ...options] = compiler.split(/\s+/);
    const args = [...options, ...flags, ...more, '-isystem', headers(), '-o', join(folder, name), ...files];
    const { error, status, stderr } = spawnSync(program, args, { encoding: 'utf8' });
    if (error?.code === 'ENOENT') continue;
    if (error || status !== 0) return `${compiler} could not compile ${name}:\n${error ?? stderr}`;
    return isGood(folder, name) ? undefined : `${name} was compiled, and cannot be loaded by this node.`;
  }
  fail('No C compiler. On Debian or Ubuntu: apt-get install gcc libc6-dev');
}

function build() {
  mkdirSync(outputs, { recursive: true });
  // Beside the outputs, so that putting each in place is one rename: others may be loading it, or building it as well.
  const scratch = mkdtempSync(join(outputs, '.addon-'));
  try {
    for (const name of Object.keys(libraries)) {
      const problem = compile(name, scratch);
      if (problem === undefined) renameSync(join(scratch, name), join(outputs, name));
      else if (libraries[name].isOptional) {
        rmSync(join(outputs, name), { force: true });
        process.stderr.write(
          `${problem}\nWithout ${name} transfers cost more CPU. OpenSSL's headers come with Node's archives, or as libssl-dev.\n`,
        );
      } else fail(problem);
    }
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

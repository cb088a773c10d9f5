// Compiles the simulated Lustre (C) with gcc into build/lustre-sim/ when its sources are newer.
// Called by LustreSim.start, by the demo and the benches, often by several processes at once.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Absolute paths of what the build made. */
export interface LustreSimBuild {
  /** Directory of all of them. */
  dir: string;
  /** The program that mounts the file system. */
  bin: string;
  /** The simulator's liblustreapi.so.1. */
  lib: string;
  lfs: string;
  lctl: string;
  /** The scripted copytool of the simulator's own tests. */
  simtool: string;
  /** Directory of `lustreapi.h`, for programs that are compiled against it. */
  include: string;
}

/** The directory of the package.json named lhsm-azblob above this file, which may run from dist/. */
export function repositoryRoot(): string {
  for (let dir = dirname(fileURLToPath(import.meta.url)); ; dir = dirname(dir)) {
    const file = join(dir, 'package.json');
    if (existsSync(file)) {
      const { name } = JSON.parse(readFileSync(file, 'utf8')) as { name?: string };
      if (name === 'lhsm-azblob') return dir;
    }
    if (dir === dirname(dir)) throw new Error('the root of lhsm-azblob is not above ' + import.meta.url);
  }
}

function inPath(program: string): boolean {
  const dirs = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/bin', '/bin'];
  return dirs.some((dir) => dir !== '' && existsSync(join(dir, program)));
}

function requirePackages(): void {
  const missing = [];
  if (!inPath('gcc')) missing.push('gcc', 'libc6-dev');
  if (!existsSync('/usr/include/fuse3/fuse_lowlevel.h')) missing.push('libfuse3-dev');
  if (!inPath('fusermount3')) missing.push('fuse3');
  if (missing.length > 0) {
    throw new Error(
      `The simulated Lustre needs packages that are not installed. Run as root: apt-get update && apt-get install -y ${missing.join(' ')}`,
    );
  }
}

async function run(program: string, args: string[]): Promise<void> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  const collect = (data: Buffer) => (output += data.toString());
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  if (code !== 0) throw new Error(`building the simulated Lustre failed (${program}: ${code}):\n${output}`);
}

let building: Promise<LustreSimBuild> | undefined;

async function build(): Promise<LustreSimBuild> {
  requirePackages();
  const root = repositoryRoot();
  const source = join(root, 'test', 'lustre-sim');
  const dir = join(root, 'build', 'lustre-sim');
  await mkdir(dir, { recursive: true });
  // flock(1) waits for whoever builds at this moment; build.sh then finds everything fresh.
  await run('flock', [join(dir, 'lock'), 'sh', join(source, 'build.sh'), dir]);
  return {
    dir,
    bin: join(dir, 'lustre-sim'),
    lib: join(dir, 'liblustreapi.so.1'),
    lfs: join(dir, 'lfs'),
    lctl: join(dir, 'lctl'),
    simtool: join(dir, 'simtool'),
    include: source,
  };
}

/**
 * Builds what is out of date, once a process.
 * @throws Error that names the apt command when a package is missing, or holds gcc's messages.
 */
export function buildLustreSim(): Promise<LustreSimBuild> {
  building ??= build();
  return building;
}

// Compiles the native programs of benches and tests (C) with gcc into build/bench/ when their sources are newer.
import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { repositoryRoot } from '../../lustre-sim/build.js';

/** Absolute paths of what the build made. */
export interface NativeBuild {
  readonly blobServer: string;
  readonly floor: string;
  readonly patternFile: string;
  readonly measure: string;
  readonly stubFloor: string;
}

let building: Promise<NativeBuild> | undefined;

async function build(): Promise<NativeBuild> {
  const root = repositoryRoot();
  const dir = join(root, 'build', 'bench');
  await mkdir(dir, { recursive: true });
  // flock(1) waits for whoever builds at this moment; build.sh then finds everything fresh.
  const script = join(root, 'test', 'bench', 'native', 'build.sh');
  await promisify(execFile)('flock', [join(dir, 'lock'), 'sh', script, dir]);
  return {
    blobServer: join(dir, 'blob-server'),
    floor: join(dir, 'floor'),
    patternFile: join(dir, 'pattern-file'),
    measure: join(dir, 'measure'),
    stubFloor: join(dir, 'stub-floor'),
  };
}

/** Builds what is out of date, once a process. Throws an error with gcc's messages. */
export function buildNative(): Promise<NativeBuild> {
  building ??= build();
  return building;
}

// AzCopy and rclone: where they come from, and how they are told to do a job. Both get what is fastest for them as far
// as it could be found out: no checksums, no log, as many connections as everybody.
import { execFile } from 'node:child_process';
import { chmodSync, existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { repositoryRoot } from '../../lustre-sim/build.js';
import { progress, SAS, type Job, type Lab } from './lab.js';
import type { Program } from './programs.js';

const exec = promisify(execFile);
const AZCOPY = '@azure-tools/azcopy-linux';
const AZCOPY_VERSION = '10.32.2';

/** The path of AzCopy's program, which is installed when it is not there yet. Throws when it does not start. */
async function installAzcopy(): Promise<string> {
  const dir = join(repositoryRoot(), 'build', 'bench', `azcopy-${AZCOPY_VERSION}`);
  const arch = process.arch === 'arm64' ? 'arm64' : 'amd64';
  const program = join(dir, 'node_modules', AZCOPY, 'dist', 'bin', `azcopy_linux_${arch}`);
  if (!existsSync(program)) {
    progress(`installing ${AZCOPY} ${AZCOPY_VERSION}`);
    await mkdir(dir, { recursive: true });
    const quiet = ['--no-save', '--no-audit', '--no-fund', '--no-package-lock', '--loglevel=error'];
    await exec('npm', ['install', ...quiet, '--prefix', dir, `${AZCOPY}@${AZCOPY_VERSION}`], { cwd: dir });
  }
  chmodSync(program, 0o755);
  await exec(program, ['--version', '--skip-version-check']);
  return program;
}

function urlOf(job: Job, path: string): string {
  return `${job.server.url}/${path}?${SAS}`;
}

/** Undefined, with a word on standard error, when it cannot be had. */
export async function azcopy(lab: Lab): Promise<Program | undefined> {
  let file: string;
  try {
    file = await installAzcopy();
  } catch (error) {
    progress(`AzCopy is left out: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
  const { connections } = lab.options;
  // Each of its connections waits a good deal between small files: more of them cost it less CPU, too.
  const forSmall = connections * 4;
  const env = {
    AZCOPY_LOG_LOCATION: lab.scratch.path('azcopy'),
    AZCOPY_JOB_PLAN_LOCATION: lab.scratch.path('azcopy'),
    AZCOPY_DISABLE_SYSLOG: 'true',
    AZCOPY_AUTO_LOGIN_TYPE: '',
    HOME: lab.scratch.dir,
  };
  const common = ['--skip-version-check', '--log-level', 'NONE', '--output-level', 'essential'];
  return {
    name: 'azcopy',
    about: `AzCopy ${AZCOPY_VERSION}, ${connections} connections (${forSmall} for small files), blocks of 8 MiB, no MD5`,
    command(job) {
      const there = urlOf(job, job.work === 'archive' ? job.prefix : `${job.prefix}/*`);
      const paths =
        job.work === 'archive'
          ? [`${job.dir}/*`, there, '--from-to', 'LocalBlob']
          : [there, job.dir, '--from-to', 'BlobLocal', '--check-md5', 'NoCheck'];
      const size = job.work === 'smallRestore' ? [] : ['--block-size-mb', '8'];
      return {
        file,
        args: ['copy', ...paths, ...size, ...common],
        env: {
          ...env,
          AZCOPY_CONCURRENCY_VALUE: String(job.work === 'smallRestore' ? forSmall : connections),
          ...(job.caFile === undefined ? {} : { SSL_CERT_FILE: job.caFile }),
        },
      };
    },
    nothing: { file, args: ['--version', '--skip-version-check'], env },
  };
}

/** Undefined, with a word on standard error, when it is not installed. */
export async function rclone(lab: Lab): Promise<Program | undefined> {
  let version: string;
  try {
    const { stdout } = await exec('rclone', ['version', '--config', '/dev/null']);
    version = stdout.split('\n')[0] ?? '';
  } catch {
    progress('rclone is left out: it is not installed');
    return undefined;
  }
  const { connections, largeFiles } = lab.options;
  const perFile = String(Math.max(1, Math.round(connections / largeFiles)));
  const common = [
    ...['--config', '/dev/null', '--stats', '0', '--retries', '1', '--ignore-checksum', '--no-check-dest'],
    ...['--transfers', String(connections), '--checkers', String(connections)],
    ...['--multi-thread-streams', perFile, '--multi-thread-cutoff', '64M'],
    ...['--azureblob-chunk-size', '8M', '--azureblob-upload-concurrency', perFile],
    ...['--azureblob-disable-checksum'],
  ];
  return {
    name: 'rclone',
    about: `${version}, ${connections} transfers, ${perFile} streams a large file, chunks of 8 MiB, no checksums`,
    command(job) {
      const there = `:azureblob:container/${job.prefix}`;
      const paths = job.work === 'archive' ? [job.dir, there] : [there, job.dir];
      return {
        file: 'rclone',
        args: ['copy', ...paths, ...common, ...(job.caFile === undefined ? [] : ['--ca-cert', job.caFile])],
        env: { RCLONE_AZUREBLOB_SAS_URL: urlOf(job, '').replace('/?', '?') },
      };
    },
    nothing: { file: 'rclone', args: ['version', '--config', '/dev/null'] },
  };
}

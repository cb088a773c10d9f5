// AzCopy and rclone: where they come from, and how they are told to do a job. Both get what is fastest for them as far
// as it could be found out: no checksums, no log, as many connections as everybody.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { AZCOPY_QUIET, AZCOPY_VERSION, azcopyEnv, installAzcopy } from '../../helpers/azcopy.js';
import { progress, SAS, type Job, type Lab } from './lab.js';
import type { Program } from './programs.js';

const exec = promisify(execFile);

function urlOf(job: Job, path: string): string {
  return `${job.server.url}/${path}?${SAS}`;
}

/** Undefined, with a word on standard error, when it cannot be had. */
export async function azcopy(lab: Lab): Promise<Program | undefined> {
  let file: string;
  try {
    file = await installAzcopy(progress);
  } catch (error) {
    progress(`AzCopy is left out: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
  const { connections } = lab.options;
  // Each of its connections waits a good deal between small files: more of them cost it less CPU, too.
  const forSmall = connections * 4;
  const env = azcopyEnv(lab.scratch.dir);
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
        args: ['copy', ...paths, ...size, ...AZCOPY_QUIET],
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

// What the sections of the transfer bench have in common: servers, scratch directory, jobs, measured runs.
import { writeFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { selfSigned } from '../../helpers/self-signed.js';
import { BlobServer, type Series } from '../native/blob-server.js';
import { buildNative, type NativeBuild } from '../native/native.js';
import { execute, type Command } from './execute.js';
import type { Options, Scheme } from './options.js';
import type { Scratch } from './scratch.js';

export const MIB = 1024 ** 2;
export const GIB = 1024 ** 3;
export const SMALL_BYTES = 4096;
/** Transfers in flight at most, as many as the agent has. */
export const IN_FLIGHT = 64;
/** Any will do: the server looks at none. */
export const SAS = 'sv=2025-01-05&sr=c&sp=racwdl&sig=bench';

export interface JobFile {
  /** The number whose pattern is its content. */
  readonly index: number;
  readonly blob: string;
  readonly bytes: number;
  readonly path: string;
}

export type Work = 'restore' | 'archive' | 'smallRestore';

/** Files to be moved, all in one directory here and under one prefix there, with the same names. */
export interface Job {
  readonly work: Work;
  readonly server: BlobServer;
  /** Undefined: without TLS. */
  readonly caFile: string | undefined;
  readonly prefix: string;
  readonly dir: string;
  readonly files: readonly JobFile[];
  readonly totalBytes: number;
  /** The files, one a line: blob, bytes and path, with tabs between them. */
  readonly listFile: string;
}

export interface Usage {
  readonly wallSeconds: number;
  readonly cpuSeconds: number;
  readonly peakRssMiB: number;
}

export interface Lab {
  readonly options: Options;
  readonly native: NativeBuild;
  readonly scratch: Scratch;
  readonly signal: AbortSignal;
  readonly caFile: string;
  server(scheme: Scheme): BlobServer;
  close(): Promise<void>;
}

export async function openLab(
  options: Options,
  scratch: Scratch,
  series: readonly Series[],
  signal: AbortSignal,
): Promise<Lab> {
  const native = await buildNative();
  const { cert, key } = selfSigned();
  const [certFile, keyFile] = [scratch.path('cert.pem'), scratch.path('key.pem')];
  writeFileSync(certFile, cert);
  writeFileSync(keyFile, key);
  const servers = new Map<Scheme, BlobServer>();
  const close = async (): Promise<void> => {
    for (const server of servers.values()) await server.stop();
  };
  try {
    for (const scheme of options.schemes) {
      const server = await BlobServer.start({
        series,
        ...(scheme === 'tls' && { tls: { certFile, keyFile } }),
        ...(options.crc64Key !== undefined && { crc64Key: options.crc64Key }),
      });
      servers.set(scheme, server);
    }
  } catch (error) {
    await close();
    throw error;
  }
  return {
    options,
    native,
    scratch,
    signal,
    caFile: certFile,
    server(scheme) {
      const server = servers.get(scheme);
      if (!server) throw new Error(`there is no server for ${scheme}`);
      return server;
    },
    close,
  };
}

export interface JobOptions {
  readonly work: Work;
  readonly scheme: Scheme;
  /** The series to restore, or the prefix to archive under. */
  readonly prefix: string;
  readonly dir: string;
  readonly count: number;
  readonly bytes: number;
}

export function newJob(lab: Lab, { work, scheme, prefix, dir, count, bytes }: JobOptions): Job {
  const files = Array.from({ length: count }, (_, index) => {
    const name = String(index).padStart(7, '0');
    return { index, blob: `${prefix}/${name}`, bytes, path: join(dir, name) };
  });
  const listFile = lab.scratch.path('list');
  writeFileSync(listFile, files.map(({ blob, path }) => `${blob}\t${bytes}\t${path}\n`).join(''));
  return {
    work,
    server: lab.server(scheme),
    caFile: scheme === 'tls' ? lab.caFile : undefined,
    prefix,
    dir,
    files,
    totalBytes: count * bytes,
    listFile,
  };
}

/** Runs a command and says what it took, with all of its children that it has waited for. */
export async function measured(lab: Lab, command: Command): Promise<Usage> {
  const report = lab.scratch.path('usage.json');
  await execute(
    { ...command, file: lab.native.measure, args: [report, command.file, ...command.args] },
    lab.signal,
  );
  const usage = JSON.parse(readFileSync(report, 'utf8')) as {
    wallSeconds: number;
    userSeconds: number;
    systemSeconds: number;
    maxRssKiB: number;
  };
  return {
    wallSeconds: usage.wallSeconds,
    cpuSeconds: usage.userSeconds + usage.systemSeconds,
    peakRssMiB: usage.maxRssKiB / 1024,
  };
}

function patternList(files: readonly JobFile[]): string {
  return files.map(({ index, bytes, path }) => `${index}\t${bytes}\t${path}\n`).join('');
}

/** Writes the files that an archive job reads. */
export async function makeFiles(lab: Lab, files: readonly JobFile[]): Promise<void> {
  const command = { file: lab.native.patternFile, args: ['make'], input: patternList(files) };
  await execute(command, lab.signal);
}

/** Throws an Error that names the files whose content is not that of their blobs. */
export async function checkFiles(lab: Lab, files: readonly JobFile[]): Promise<void> {
  const command = { file: lab.native.patternFile, args: ['check'], input: patternList(files) };
  await execute(command, lab.signal);
}

/** Throws an Error unless the server has got exactly these files. */
export async function checkUploads(job: Job, isVerifying: boolean): Promise<void> {
  const { uploads } = await job.server.stats();
  const placed = isVerifying ? uploads.compared : uploads.placed;
  const { files, totalBytes } = job;
  if (uploads.blobs === files.length && uploads.bytes === totalBytes && placed === files.length) return;
  throw new Error(`of ${files.length} files, ${totalBytes} bytes, arrived: ${JSON.stringify(uploads)}`);
}

export function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

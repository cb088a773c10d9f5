// The programs that are compared: how each is told to do a job. The peers are in peers.ts.
import { fileURLToPath } from 'node:url';
import type { Command } from './execute.js';
import { IN_FLIGHT, SAS, type Job, type Lab } from './lab.js';
import type { ProgramName } from './options.js';

export interface Program {
  readonly name: ProgramName;
  /** What it is and how it was told to work, for the report. */
  readonly about: string;
  command(job: Job): Command;
  /** Does nothing but start and end. */
  readonly nothing: Command;
}

/** The native floor; `isWriting` false leaves the content unwritten. */
export function floorCommand(lab: Lab, job: Job, isWriting = true): Command {
  const { connections } = lab.options;
  return {
    file: lab.native.floor,
    args: [
      job.work === 'smallRestore' ? 'small' : job.work,
      ...['--url', job.server.url, '--query', SAS, '--list', job.listFile],
      ...['--connections', String(connections), '--buffer', '1048576'],
      ...(job.caFile === undefined ? [] : ['--ca', job.caFile]),
      ...(isWriting ? [] : ['--no-write']),
    ],
  };
}

export function floor(lab: Lab): Program {
  return {
    name: 'floor',
    about: `C, ${lab.options.connections} threads with a connection each, ranges of 8 MiB, blocking calls, no checksum`,
    command: (job) => floorCommand(lab, job),
    nothing: {
      file: lab.native.floor,
      args: ['restore', '--url', 'http://127.0.0.1:1/', '--list', '/dev/null'],
    },
  };
}

export interface OursOptions {
  readonly workers?: number | undefined;
  /** Files at once. */
  readonly inFlight?: number;
  /** Each of the transfers in flight always writes into the same file. */
  readonly reuseFiles?: boolean;
  /** Where the child writes what it noted of its memory. */
  readonly reportFile?: string;
  /** Ranges of one file; left out, the default of the configuration. */
  readonly rangesPerFile?: number;
}

/** Our transfer engine in a process of its own: transfer-child.ts. */
export function oursCommand(lab: Lab, job: Job | undefined, options: OursOptions): Command {
  const workers = options.workers ?? lab.options.workers;
  const numbers = { 'in-flight': options.inFlight ?? IN_FLIGHT, workers, ranges: options.rangesPerFile };
  return {
    file: process.execPath,
    args: [
      fileURLToPath(new URL('../transfer-child.js', import.meta.url)),
      job?.work === 'archive' ? 'upload' : 'download',
      ...['--url', job?.server.url ?? 'http://127.0.0.1:1/a/c', '--query', SAS],
      ...['--list', job?.listFile ?? '/dev/null'],
      ...Object.entries(numbers).flatMap(([key, value]) =>
        value === undefined ? [] : [`--${key}`, String(value)],
      ),
      ...(job?.caFile === undefined ? [] : ['--ca', job.caFile]),
      ...(options.reuseFiles === true ? ['--reuse-files'] : []),
      ...(options.reportFile === undefined ? [] : ['--report', options.reportFile]),
    ],
    // As the daemon's entry sets it.
    env: { UV_THREADPOOL_SIZE: '64' },
  };
}

export function ours(lab: Lab): Program {
  const { connections, largeFiles } = lab.options;
  const rangesPerFile = Math.max(1, Math.round(connections / largeFiles));
  return {
    name: 'ours',
    about: `the transfer engine with the configuration's defaults, ${rangesPerFile} ranges a file, ${IN_FLIGHT} files in flight`,
    command: (job) => oursCommand(lab, job, { rangesPerFile }),
    nothing: oursCommand(lab, undefined, {}),
  };
}

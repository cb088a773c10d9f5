// What `import start` and `export start` share: options, the request, and waiting for the end.
import { InvalidArgumentError, type Command } from 'commander';
import type { JobDocument } from '../jobs/job.js';
import { ask, findDaemon } from './client.js';
import { followJob } from './follow-job.js';
import { CommandEnd, ExitCode, type Io } from './io.js';
import { daemonOptions } from './options.js';

/** For commander; bounds are the daemon's business. */
export function wholeNumber(text: string): number {
  const value = /^-?\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(value)) throw new InvalidArgumentError('It is no whole number.');
  return value;
}

interface StartOptions {
  readonly archiveId?: number;
  readonly maxErrors?: number;
  readonly dryRun?: boolean;
  readonly logItems?: boolean;
  readonly name?: string;
  readonly wait?: boolean;
  readonly json?: boolean;
}

/** Adds the options that every start has. */
export function addStartOptions(command: Command): Command {
  return command
    .option('--archive-id <n>', 'the archive; needed where several are configured', wholeNumber)
    .option('--max-errors <n>', 'go on after so many errors; -1 for any number (default: 0)', wholeNumber)
    .option('--dry-run', 'only report what would be done')
    .option('--log-items', 'log every item, not only conflicts, warnings and errors')
    .option('--name <name>', "the job's name (default: kind and time)")
    .option('--wait', 'show how it goes on, and end with it (see the exit status)')
    .option('--json', "print the job's document as JSON; with --wait that of its end");
}

/** Starts a job; `own` are the keys of the request that only its kind has. */
export async function startJob(
  kind: JobDocument['kind'],
  own: object,
  command: Command,
  io: Io,
): Promise<void> {
  const { archiveId, maxErrors, dryRun, logItems, name, wait, json } = command.opts<StartOptions>();
  const socket = await findDaemon(daemonOptions(command), io.env);
  const body = { kind, name, archiveId, maximumErrors: maxErrors, dryRun, logItems, ...own };
  let text: string;
  try {
    // However long it takes: until the lease of a daemon that was killed has run out, say.
    text = await ask(socket, 'POST', '/v1/jobs', { body, signal: io.signal, timeoutMs: 0 });
  } catch (error) {
    if (!io.signal.aborted) throw error;
    io.err('Broken off before the job ran. Look whether it does: lhsm-azblob jobs list\n');
    throw new CommandEnd(ExitCode.INTERRUPTED);
  }
  const job = JSON.parse(text) as JobDocument;
  if (json !== true) io.out(`The ${kind} ${job.name} has begun.\n`);
  if (wait === true) await followJob(socket, job.name, json === true ? 'last' : 'progress', io);
  else if (json === true) io.out(`${JSON.stringify(job, null, 2)}\n`);
  else io.out(`Watch it: lhsm-azblob jobs watch ${job.name}\n`);
}

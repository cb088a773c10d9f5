// `lhsm-azblob jobs watch NAME`: how a job goes on, until it has ended.
import type { Command } from 'commander';
import { findDaemon } from '../client.js';
import { followJob } from '../follow-job.js';
import type { Io } from '../io.js';
import { daemonOptions } from '../options.js';

export function addJobsWatch(jobs: Command, io: Io): void {
  jobs
    .command('watch')
    .description('show how a job goes on until it has ended; the exit status says how')
    .argument('<name>')
    .option('--json', 'print its document as a line of JSON whenever something is new')
    .action(async (name: string, { json }: { readonly json?: boolean }, command: Command) => {
      const socket = await findDaemon(daemonOptions(command), io.env);
      await followJob(socket, name, json === true ? 'each' : 'progress', io);
    });
}

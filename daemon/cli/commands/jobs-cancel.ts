// `lhsm-azblob jobs cancel NAME`: ends a job, on whichever node it runs. What it has done stays.
import type { Command } from 'commander';
import { isFinal, type JobDocument } from '../../jobs/job.js';
import { ask, findDaemon } from '../client.js';
import { followJob } from '../follow-job.js';
import type { Io } from '../io.js';
import { daemonOptions } from '../options.js';

interface CancelOptions {
  readonly wait?: boolean;
  readonly json?: boolean;
}

export function addJobsCancel(jobs: Command, io: Io): void {
  jobs
    .command('cancel')
    .description('cancel a job, on whichever node it runs; what it has done stays')
    .argument('<name>')
    .option('--wait', 'end with the job; the exit status says how it ended, 5 when canceled')
    .option('--json', 'print its document as JSON; with --wait that of its end')
    .action(async (name: string, { wait, json }: CancelOptions, command: Command) => {
      const socket = await findDaemon(daemonOptions(command), io.env);
      const url = `/v1/jobs/${encodeURIComponent(name)}/cancel`;
      const job = JSON.parse(await ask(socket, 'POST', url, { signal: io.signal })) as JobDocument;
      if (json !== true) {
        io.out(
          isFinal(job.state)
            ? `The job ${name} is over already: ${job.state}.\n`
            : `The job ${name} is being canceled.\n`,
        );
      }
      if (wait === true) await followJob(socket, name, json === true ? 'last' : 'progress', io);
      else if (json === true) io.out(`${JSON.stringify(job, null, 2)}\n`);
    });
}

// `lhsm-azblob jobs show NAME`: everything about one job.
import type { Command } from 'commander';
import type { JobDocument } from '../../jobs/job.js';
import { ask, findDaemon } from '../client.js';
import type { Io } from '../io.js';
import { renderJob } from '../job-text.js';
import { daemonOptions } from '../options.js';

export function addJobsShow(jobs: Command, io: Io): void {
  jobs
    .command('show')
    .description('show a job: state, counts, rates, why it failed')
    .argument('<name>')
    .option('--json', 'print its document as JSON')
    .action(async (name: string, { json }: { readonly json?: boolean }, command: Command) => {
      const socket = await findDaemon(daemonOptions(command), io.env);
      const url = `/v1/jobs/${encodeURIComponent(name)}`;
      const job = JSON.parse(await ask(socket, 'GET', url, { signal: io.signal })) as JobDocument;
      io.out(json === true ? `${JSON.stringify(job, null, 2)}\n` : renderJob(job, io.clock.now()));
    });
}

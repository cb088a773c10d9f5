// `lhsm-azblob jobs list`: the last jobs of the file system.
import type { Command } from 'commander';
import type { JobDocument } from '../../jobs/job.js';
import { ask, findDaemon } from '../client.js';
import type { Io } from '../io.js';
import { renderJobs } from '../job-text.js';
import { daemonOptions } from '../options.js';
import { wholeNumber } from '../start-job.js';

interface ListOptions {
  readonly limit?: number;
  readonly json?: boolean;
}

export function addJobsList(jobs: Command, io: Io): void {
  jobs
    .command('list')
    .description('list the last jobs of the file system, the newest first')
    .option('--limit <n>', 'how many at most (default: 20)', wholeNumber)
    .option('--json', 'print JSON')
    .action(async ({ limit, json }: ListOptions, command: Command) => {
      const socket = await findDaemon(daemonOptions(command), io.env);
      const url = `/v1/jobs${limit === undefined ? '' : `?limit=${limit}`}`;
      const answer = JSON.parse(await ask(socket, 'GET', url, { signal: io.signal })) as {
        readonly jobs: readonly JobDocument[];
      };
      io.out(json === true ? `${JSON.stringify(answer, null, 2)}\n` : renderJobs(answer.jobs));
    });
}

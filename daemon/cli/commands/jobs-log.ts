// `lhsm-azblob jobs log NAME`: a job's log as it lies in the logging container, however long it is.
import { Option, type Command } from 'commander';
import { LOG_FORMATS, type LogFormat } from '../../control/jobs-control.js';
import { askStream, findDaemon } from '../client.js';
import type { Io } from '../io.js';
import { daemonOptions } from '../options.js';

export function addJobsLog(jobs: Command, io: Io): void {
  jobs
    .command('log')
    .description("print a job's log: conflicts, warnings, errors")
    .argument('<name>')
    .addOption(
      new Option('--format <format>', 'JSON lines, or CSV for a spreadsheet')
        .choices(LOG_FORMATS)
        .default('jsonl'),
    )
    .addOption(new Option('--json', 'the same as --format jsonl').conflicts('format'))
    .action(async (name: string, { format }: { readonly format: LogFormat }, command: Command) => {
      const socket = await findDaemon(daemonOptions(command), io.env);
      const url = `/v1/jobs/${encodeURIComponent(name)}/log?format=${format}`;
      for await (const bytes of askStream(socket, url, { signal: io.signal })) await io.raw(bytes);
    });
}

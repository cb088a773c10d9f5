// `lhsm-azblob export start`: archives what is new or changed below a path.
import type { Command } from 'commander';
import type { Io } from '../io.js';
import { addStartOptions, startJob, wholeNumber } from '../start-job.js';

export function addExport(program: Command, io: Io): void {
  const group = program.command('export').description('archive the files of a tree that are new or changed');
  const start = group
    .command('start')
    .description('start an export')
    .argument('[path]', 'below the mount; without it, the whole file system')
    .option(
      '--window <n>',
      "requests at the coordinator at once (default: the configuration's)",
      wholeNumber,
    );
  addStartOptions(start).action(
    (path: string | undefined, { window }: { readonly window?: number }, command: Command): Promise<void> =>
      startJob('export', { path, window }, command, io),
  );
}

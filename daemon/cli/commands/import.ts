// `lhsm-azblob import start`: brings a container's names into the file system as released files.
import type { Command } from 'commander';
import type { Io } from '../io.js';
import { addStartOptions, startJob } from '../start-job.js';

interface ImportOptions {
  readonly prefix?: readonly string[];
  readonly conflict?: string;
  readonly attributesOnly?: boolean;
}

export function addImport(program: Command, io: Io): void {
  const group = program
    .command('import')
    .description("bring a container's names into the file system as released files");
  const start = group
    .command('start')
    .description('start an import; the content of files comes when they are first read')
    .option(
      '--prefix <prefix>',
      'only what begins so; may be repeated, none may begin with another (default: /, everything)',
      (prefix: string, before: readonly string[] | undefined) => [...(before ?? []), prefix],
    )
    .option(
      '--conflict <mode>',
      'where something is there already: fail, skip, overwrite-dirty, overwrite-always (default: fail)',
    )
    .option('--attributes-only', 'only update owner, mode and time of what is there');
  addStartOptions(start).action(
    ({ prefix, conflict, attributesOnly }: ImportOptions, command: Command): Promise<void> =>
      startJob('import', { prefixes: prefix, conflictMode: conflict, attributesOnly }, command, io),
  );
}

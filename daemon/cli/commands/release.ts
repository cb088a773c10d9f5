// `lhsm-azblob release PATH…`: frees the space of files whose copy was looked at first.
import type { Command } from 'commander';
import { parseDuration, parseSize } from '../amounts.js';
import type { Io } from '../io.js';
import { absolutePath, startOperation, type StartOptions } from '../start-operation.js';

interface ReleaseOptions extends StartOptions {
  readonly olderThan?: number;
  readonly minSize?: number;
  readonly dryRun?: boolean;
}

export function addRelease(program: Command, io: Io): void {
  program
    .command('release')
    .description('release archived files whose blob is there, in the right version and size')
    .argument('<path...>', 'directories and files; relative ones begin at the working directory')
    .option(
      '--older-than <duration>',
      'only files neither read nor written for so long: 12h, 30d',
      parseDuration,
    )
    .option('--min-size <size>', 'only files of at least that size: 1M, 10GiB', parseSize)
    .option('--dry-run', 'only say what would be released')
    .option('--no-wait', 'end at once; the release goes on in the daemon')
    .option('--json', 'print the document of its end as JSON')
    .action(async (paths: readonly string[], options: ReleaseOptions, command: Command) => {
      const { olderThan, minSize, dryRun } = options;
      const own = {
        paths: paths.map((each) => absolutePath(each, io)),
        olderThanSeconds: olderThan,
        minSizeBytes: minSize,
        dryRun,
      };
      await startOperation('release', own, options, command, io);
    });
}

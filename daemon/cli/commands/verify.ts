// `lhsm-azblob verify PATH…`: compares archived files with their blobs.
import type { Command } from 'commander';
import type { Io } from '../io.js';
import { absolutePath, startOperation, type StartOptions } from '../start-operation.js';

interface VerifyOptions extends StartOptions {
  readonly content?: boolean;
  readonly repair?: boolean;
}

export function addVerify(program: Command, io: Io): void {
  program
    .command('verify')
    .description('compare archived files with their blobs: there, the right version, the right size')
    .argument('<path...>', 'directories and files; relative ones begin at the working directory')
    .option('--content', 'read and compare content, too')
    .option('--repair', 'mark files without a good copy: as lost, present ones to be archived anew')
    .option('--no-wait', 'end at once; it goes on in the daemon')
    .option('--json', 'print the document of its end as JSON')
    .action(async (paths: readonly string[], options: VerifyOptions, command: Command) => {
      const { content, repair } = options;
      const own = { paths: paths.map((each) => absolutePath(each, io)), content, repair };
      await startOperation('verify', own, options, command, io);
    });
}

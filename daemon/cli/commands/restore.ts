// `lhsm-azblob restore PATH…`: brings everything released below some paths, or in a list, back at once.
import { copyFile, mkdir } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import type { Command } from 'commander';
import { LhsmError, systemErrorName } from '../../../native-bindings/errors.js';
import { LIST_PREFIX } from '../../jobs/operation.js';
import { parseSize } from '../amounts.js';
import { ask, findDaemon } from '../client.js';
import type { Io } from '../io.js';
import { daemonOptions } from '../options.js';
import { wholeNumber } from '../start-job.js';
import { absolutePath, startOperation, type StartOptions } from '../start-operation.js';

interface RestoreOptions extends StartOptions {
  readonly filesFrom?: string;
  readonly window?: number;
  readonly bytesLimit?: number;
  readonly newestFirst?: boolean;
}

/** Puts the list where the daemon can read it: the unit has a /tmp and a /home of its own. The daemon removes it. */
async function handOver(list: string, command: Command, io: Io): Promise<string> {
  const socket = await findDaemon(daemonOptions(command), io.env);
  const answer = await ask(socket, 'GET', '/v1/operations', { signal: io.signal });
  const { folder } = JSON.parse(answer) as { folder: string };
  const copy = path.join(folder, `${LIST_PREFIX}${randomBytes(8).toString('hex')}`);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await copyFile(list === '-' ? '/dev/stdin' : absolutePath(list, io), copy);
  } catch (error) {
    throw new LhsmError(`the list ${list} cannot be handed to the daemon: ${systemErrorName(error)}`, {
      code: 'USAGE',
      op: 'restore',
      errno: 22,
      hint: `It is copied to ${folder}: run the command as root, on the daemon's node.`,
      cause: error,
    });
  }
  return copy;
}

export function addRestore(program: Command, io: Io): void {
  program
    .command('restore')
    .description('bring everything released below some paths back, without overwhelming the MDS')
    .argument('[path...]', 'directories and files; relative ones begin at the working directory')
    .option('--files-from <file>', 'a list of files instead, one a line or one before each NUL; - for stdin')
    .option(
      '--window <n>',
      "most requests at the coordinator at once, of all restores (default: the configuration's)",
      wholeNumber,
    )
    .option('--bytes-limit <size>', 'stop asking before the sum of sizes passes it: 500M, 10TiB', parseSize)
    .option('--newest-first', 'the last written first')
    .option('--wait', 'show how it goes on, and end with it (see the exit status); Ctrl-C leaves it running')
    .option('--json', 'print its document as JSON; with --wait that of its end')
    .action(async (paths: readonly string[], options: RestoreOptions, command: Command) => {
      const { filesFrom, window, bytesLimit, newestFirst } = options;
      if (paths.length > 0 === (filesFrom !== undefined)) {
        const message = 'name either paths or a list (--files-from)';
        throw new LhsmError(message, {
          code: 'USAGE',
          op: 'restore',
          errno: 22,
          hint: 'See restore --help.',
        });
      }
      const list = filesFrom === undefined ? undefined : await handOver(filesFrom, command, io);
      const own = {
        paths: paths.map((each) => absolutePath(each, io)),
        filesFrom: list,
        window,
        bytesLimit,
        newestFirst,
      };
      await startOperation('restore', own, options, command, io);
    });
}

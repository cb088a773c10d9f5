// `lhsm-azblob log-level [LEVEL]`: shows or sets the level until the next reload or restart.
import { Argument, type Command } from 'commander';
import { LOG_LEVELS } from '../../config/schema.js';
import { ask, findDaemon } from '../client.js';
import type { Io } from '../io.js';
import { daemonOptions } from '../options.js';

export function addLogLevel(program: Command, io: Io): void {
  program
    .command('log-level')
    .description("show the daemon's log level, or set it until the next reload or restart")
    .addArgument(new Argument('[level]').choices(LOG_LEVELS))
    .action(async (level: string | undefined, _options: object, command: Command) => {
      const socket = await findDaemon(daemonOptions(command), io.env);
      const answer =
        level === undefined
          ? await ask(socket, 'GET', '/v1/log-level', { signal: io.signal })
          : await ask(socket, 'POST', '/v1/log-level', { body: { level }, signal: io.signal });
      io.out(`${(JSON.parse(answer) as { level: string }).level}\n`);
    });
}

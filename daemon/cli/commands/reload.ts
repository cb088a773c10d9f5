// `lhsm-azblob reload`: reads the configuration again, as SIGHUP does, and says what came of it.
import type { Command } from 'commander';
import type { ReloadResult } from '../../control/agent-control.js';
import { ask, findDaemon } from '../client.js';
import type { Io } from '../io.js';
import { daemonOptions } from '../options.js';

export function addReload(program: Command, io: Io): void {
  program
    .command('reload')
    .description('read the configuration again and say what is in force and what needs a restart')
    .action(async (_options: object, command: Command) => {
      const socket = await findDaemon(daemonOptions(command), io.env);
      const answer = await ask(socket, 'POST', '/v1/reload', { signal: io.signal });
      const { applied, needRestart } = JSON.parse(answer) as ReloadResult;
      if (applied.length > 0) io.out(`In force: ${applied.join(', ')}.\n`);
      if (needRestart.length > 0) io.out(`After a restart only: ${needRestart.join(', ')}.\n`);
      if (applied.length + needRestart.length === 0) io.out('Nothing has changed.\n');
    });
}

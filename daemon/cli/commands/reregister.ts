// `lhsm-azblob reregister`: after hsm_control=shutdown the coordinator has forgotten the daemon, which cannot notice.
import type { Command } from 'commander';
import type { ReregisterResult } from '../../control/agent-control.js';
import { ask, findDaemon } from '../client.js';
import type { Io } from '../io.js';
import { daemonOptions } from '../options.js';

export function addReregister(program: Command, io: Io): void {
  program
    .command('reregister')
    .description('register with the coordinator anew, without a restart (after hsm_control=shutdown)')
    .action(async (_options: object, command: Command) => {
      const socket = await findDaemon(daemonOptions(command), io.env);
      const answer = await ask(socket, 'POST', '/v1/reregister', { signal: io.signal });
      const { archiveIds } = JSON.parse(answer) as ReregisterResult;
      const which = archiveIds.length === 0 ? 'every archive id' : `archive ids ${archiveIds.join(', ')}`;
      io.out(`Registered for ${which}.\n`);
    });
}

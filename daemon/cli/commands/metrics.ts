// `lhsm-azblob metrics`: what /metrics gives, over the admin socket, where http.listen is off or far away.
import type { Command } from 'commander';
import { ask, findDaemon } from '../client.js';
import type { Io } from '../io.js';
import { daemonOptions } from '../options.js';

export function addMetrics(program: Command, io: Io): void {
  program
    .command('metrics')
    .description('print the metrics as Prometheus reads them')
    .action(async (_options: object, command: Command) => {
      const socket = await findDaemon(daemonOptions(command), io.env);
      io.out(await ask(socket, 'GET', '/v1/metrics', { signal: io.signal }));
    });
}

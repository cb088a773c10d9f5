// `lhsm-azblob config show` and `config check FILE`.
import type { Command } from 'commander';
import { stringify } from 'smol-toml';
import { loadConfig } from '../../config/load.js';
import { ask, findDaemon } from '../client.js';
import type { Io } from '../io.js';
import { daemonOptions } from '../options.js';

/** Stands for systemd's CREDENTIALS_DIRECTORY, which only the unit's own process has. */
const NO_CREDENTIALS = '/run/credentials/lhsm-azblobd';

async function show(command: Command, json: boolean, io: Io): Promise<void> {
  const socket = await findDaemon(daemonOptions(command), io.env);
  const config = JSON.parse(await ask(socket, 'GET', '/v1/config', { signal: io.signal })) as Record<
    string,
    unknown
  >;
  io.out(json ? `${JSON.stringify(config, null, 2)}\n` : `${stringify(config)}\n`);
}

/** As the unit would load it: `--mount` may stand for the mount that the unit's name gives. */
async function check(file: string, command: Command, io: Io): Promise<void> {
  const { mount } = daemonOptions(command);
  const config = await loadConfig({
    file,
    env: { CREDENTIALS_DIRECTORY: NO_CREDENTIALS, ...io.env },
    overrides: mount === undefined ? [] : [{ key: 'mount', text: mount, from: '--mount' }],
  });
  const ids = config.archives.map(({ id }) => id).join(', ');
  io.out(
    `${file} is well-formed: mount ${config.mount}, archive ids ${ids}.\n` +
      'Credentials, containers, mount and library are checked by lhsm-azblobd --check.\n',
  );
}

export function addConfig(program: Command, io: Io): void {
  const config = program.command('config').description('show or check a configuration');
  config
    .command('show')
    .description('print the configuration in force, without secrets')
    .option('--json', 'as JSON instead of TOML')
    .action((options: { json?: boolean }, command: Command) => show(command, options.json ?? false, io));
  config
    .command('check')
    .description('check the form of a configuration file; no daemon is needed')
    .argument('<file>')
    .action((file: string, _options: object, command: Command) => check(file, command, io));
}

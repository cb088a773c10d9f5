// The options that every command of the daemon takes.
import type { Command } from 'commander';
import type { DaemonOptions } from './client.js';

/** Adds --socket, --mount and --run-dir to the program; its commands read them with daemonOptions. */
export function addDaemonOptions(program: Command): Command {
  return program
    .option('--mount <path>', 'the daemon that serves this mount')
    .option('--socket <path>', 'the admin socket itself (else LHSM_AZBLOB_SOCKET)')
    .option('--run-dir <path>', "the daemon's run_dir (else LHSM_AZBLOB_RUN_DIR)");
}

/** What the operator gave, before or behind the command's name. */
export function daemonOptions(command: Command): DaemonOptions {
  return command.optsWithGlobals();
}

// The operator's command `lhsm-azblob`: its commands, and how their errors reach the operator.
import { Command, CommanderError } from 'commander';
import { LhsmError } from '../../native-bindings/errors.js';
import { plainError } from '../log-values.js';
import { redact } from '../redact.js';
import { VERSION } from '../version.js';
import { addConfig } from './commands/config.js';
import { addLogLevel } from './commands/log-level.js';
import { addMetrics } from './commands/metrics.js';
import { addReload } from './commands/reload.js';
import { addReregister } from './commands/reregister.js';
import { addStatus } from './commands/status.js';
import { ExitCode, exitCodeMeanings, type Io } from './io.js';
import { addDaemonOptions } from './options.js';

/** The program with all its commands; docs/cli.md is generated from it. */
export function buildProgram(io: Io): Command {
  const program = new Command('lhsm-azblob')
    .description(
      "Talks to lhsm-azblobd, the Lustre HSM copytool for Azure Blob Storage, on the mount's node.",
    )
    .version(VERSION, '--version')
    .configureOutput({ writeOut: io.out, writeErr: io.err })
    .configureHelp({ helpWidth: 100 })
    .showSuggestionAfterError()
    .exitOverride();
  addDaemonOptions(program);
  addStatus(program, io);
  addReregister(program, io);
  addReload(program, io);
  addConfig(program, io);
  addLogLevel(program, io);
  addMetrics(program, io);
  const meanings = Object.entries(exitCodeMeanings).map(([code, meaning]) => `  ${code}  ${meaning}\n`);
  return program.addHelpText('after', `\nExit status:\n${meanings.join('')}`);
}

function report(error: unknown, io: Io): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.OK : ExitCode.USAGE;
  if (io.signal.aborted) return ExitCode.OK;
  if (!(error instanceof LhsmError)) {
    io.err(redact(`lhsm-azblob: unexpected: ${JSON.stringify(plainError(error as Error))}\n`));
    return ExitCode.FAILED;
  }
  io.err(redact(`lhsm-azblob: ${error.message}\n${error.hint === undefined ? '' : `${error.hint}\n`}`));
  if (error.code === 'NO_DAEMON') return ExitCode.NO_DAEMON;
  return error.code === 'USAGE' ? ExitCode.USAGE : ExitCode.FAILED;
}

/** Runs a command line (`process.argv.slice(2)`); resolves to the exit code and never rejects. */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  try {
    await buildProgram(io).parseAsync(argv, { from: 'user' });
    return ExitCode.OK;
  } catch (error) {
    return report(error, io);
  }
}

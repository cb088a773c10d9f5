// The operator's command `lhsm-azblob`: its commands, and how their errors reach the operator.
import { Command, CommanderError } from 'commander';
import { LhsmError } from '../../native-bindings/errors.js';
import { plainError } from '../log-values.js';
import { redact } from '../redact.js';
import { VERSION } from '../version.js';
import { addConfig } from './commands/config.js';
import { addDoctor } from './commands/doctor.js';
import { addExport } from './commands/export.js';
import { addImport } from './commands/import.js';
import { addJobs } from './commands/jobs.js';
import { addLogLevel } from './commands/log-level.js';
import { addMetrics } from './commands/metrics.js';
import { addOperations } from './commands/operations.js';
import { addRelease } from './commands/release.js';
import { addReload } from './commands/reload.js';
import { addReregister } from './commands/reregister.js';
import { addRestore } from './commands/restore.js';
import { addStatus } from './commands/status.js';
import { addVerify } from './commands/verify.js';
import { CommandEnd, ExitCode, exitCodeMeanings, type Io } from './io.js';
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
  addDoctor(program, io);
  addReregister(program, io);
  addReload(program, io);
  addImport(program, io);
  addExport(program, io);
  addJobs(program, io);
  addRestore(program, io);
  addRelease(program, io);
  addVerify(program, io);
  addOperations(program, io);
  addConfig(program, io);
  addLogLevel(program, io);
  addMetrics(program, io);
  const meanings = Object.entries(exitCodeMeanings).map(
    ([code, meaning]) => `  ${code.padStart(3)}  ${meaning}\n`,
  );
  return program.addHelpText('after', `\nExit status:\n${meanings.join('')}`);
}

/** By the code of what a command was refused with. */
const codes: ReadonlyMap<string, number> = new Map([
  ['NO_DAEMON', ExitCode.NO_DAEMON],
  ['USAGE', ExitCode.USAGE],
  ['BAD_REQUEST', ExitCode.USAGE],
  ['JOB_SPEC', ExitCode.USAGE],
  ['PREFIX_INVALID', ExitCode.USAGE],
  ['PREFIXES_OVERLAP', ExitCode.USAGE],
  ['PATH_INVALID', ExitCode.USAGE],
  ['PATH_OUTSIDE_MOUNT', ExitCode.USAGE],
  ['PATH_UNUSABLE', ExitCode.USAGE],
  ['JOB_RUNNING', ExitCode.JOB_RUNNING],
  // A job that could not begin has failed.
  ...['IMPORT_NAMING', 'ID_MAP', 'JOB_EXISTS', 'ARCHIVE_UNKNOWN'].map(
    (code) => [code, ExitCode.JOB_FAILED] as const,
  ),
]);

function report(error: unknown, io: Io): number {
  if (error instanceof CommandEnd) return error.exitCode;
  if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.OK : ExitCode.USAGE;
  if (io.signal.aborted) return ExitCode.OK;
  if (!(error instanceof LhsmError)) {
    io.err(redact(`lhsm-azblob: unexpected: ${JSON.stringify(plainError(error as Error))}\n`));
    return ExitCode.FAILED;
  }
  const { message, code, hint } = error;
  // The code is what operations.md is searched for.
  io.err(redact(`lhsm-azblob: ${message} (${code})\n${hint === undefined ? '' : `${hint}\n`}`));
  return codes.get(error.code) ?? ExitCode.FAILED;
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

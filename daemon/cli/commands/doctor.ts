// `lhsm-azblob doctor`: why nothing happens, and what to do about it.
import type { Command } from 'commander';
import { LhsmError } from '../../../native-bindings/errors.js';
import type { DoctorFinding, DoctorReport } from '../../doctor/doctor-report.js';
import { sortFindings } from '../../doctor/run-checks.js';
import { ask, findDaemon } from '../client.js';
import { coordinatorFindings } from '../doctor/coordinator-findings.js';
import { coordinatorParameters, findLctl } from '../doctor/lctl.js';
import { localFindings } from '../doctor/local-findings.js';
import { printable } from '../format.js';
import { CommandEnd, ExitCode, type Io } from '../io.js';
import { daemonOptions } from '../options.js';
import { absolutePath } from '../start-operation.js';

interface DoctorOptions {
  readonly probe?: string | true;
  readonly lctl?: string;
  readonly config?: string;
  readonly json?: boolean;
}

interface Found {
  readonly checks: readonly string[];
  readonly findings: readonly DoctorFinding[];
}

function renderFinding({ severity, code, what, hint }: DoctorFinding): string {
  return `${printable(`${severity.toUpperCase().padEnd(7)}  ${code}: ${what}. ${hint}`)}\n`;
}

/** What the daemon sees, and what an lctl tells of the coordinator. */
async function examine(socket: string, options: DoctorOptions, io: Io): Promise<Found> {
  const { signal } = io;
  const report = JSON.parse(await ask(socket, 'GET', '/v1/doctor', { signal })) as DoctorReport;
  const checks = [...report.checks];
  const findings = [...report.findings];
  const { fsname, archiveIds } = report;
  const lctl = await findLctl(options.lctl, io.env);
  const parameters =
    lctl === undefined || fsname === undefined
      ? undefined
      : await coordinatorParameters(lctl, fsname, signal);
  if (parameters && fsname !== undefined) {
    checks.push('coordinator');
    findings.push(...coordinatorFindings(parameters, { fsname, archiveIds }));
  } else if (options.probe === undefined) {
    findings.push({
      severity: 'note',
      code: 'COORDINATOR_NOT_ASKED',
      what: 'the coordinator was not looked at: there is no lctl here that knows an MDT',
      hint: 'Run this on the MDS, with an lctl that reaches it (--lctl), or try the whole way: --probe.',
    });
  }
  if (options.probe !== undefined) {
    const body = options.probe === true ? undefined : { directory: absolutePath(options.probe, io) };
    const text = await ask(socket, 'POST', '/v1/doctor/probe', { body, signal, timeoutMs: 0 });
    const probed = JSON.parse(text) as DoctorReport;
    checks.push(...probed.checks);
    findings.push(...probed.findings);
  }
  return { checks, findings };
}

export function addDoctor(program: Command, io: Io): void {
  program
    .command('doctor')
    .description('say why nothing happens, one finding a line, each with what to do; exit status 0: all well')
    .option(
      '--probe [directory]',
      "archive a small file there (else in the mount's root), and remove it again",
    )
    .option('--lctl <file>', 'an lctl that reaches the MDS (else LHSM_AZBLOB_LCTL, else that of the PATH)')
    .option('--config <file>', 'where no daemon answers: the configuration to check (else those in /etc)')
    .option('--json', 'print JSON')
    .action(async (options: DoctorOptions, command: Command) => {
      let found: Found;
      try {
        const socket = await findDaemon(daemonOptions(command), io.env);
        found = await examine(socket, options, io);
      } catch (error) {
        if (!(error instanceof LhsmError) || error.code !== 'NO_DAEMON') throw error;
        const { config } = options;
        const { mount } = daemonOptions(command);
        const where = {
          ...(config === undefined ? {} : { configFile: config }),
          ...(mount === undefined ? {} : { mount }),
        };
        found = { checks: ['daemon', 'configuration'], findings: await localFindings(error, where, io) };
      }
      const findings = sortFindings(found.findings);
      const isWell = findings.every(({ severity }) => severity === 'note');
      if (options.json === true) {
        io.out(`${JSON.stringify({ well: isWell, checks: found.checks, findings }, null, 2)}\n`);
      } else {
        for (const finding of findings) io.out(renderFinding(finding));
        if (isWell) io.out(`All well: ${printable(found.checks.join(', '))}.\n`);
      }
      if (!isWell) throw new CommandEnd(ExitCode.FAILED);
    });
}

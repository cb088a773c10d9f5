// What this node says when no daemon answers: the configuration, and everything that `lhsm-azblobd --check` tries.
// commands/doctor.ts calls it.
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { LhsmError } from '../../../native-bindings/errors.js';
import { loadConfig } from '../../config/load.js';
import { foundError, type DoctorFinding } from '../../doctor/doctor-report.js';
import type { Io } from '../io.js';

export const CONFIG_DIR = '/etc/lhsm-azblob';
/** Stands for systemd's CREDENTIALS_DIRECTORY, which only the unit's own process has. */
const NO_CREDENTIALS = '/run/credentials/lhsm-azblobd';

/** `error`: why nobody answers. `configFile`: the operator's; else all that are in the usual place. */
export async function localFindings(
  error: LhsmError,
  { configFile, mount }: { readonly configFile?: string; readonly mount?: string },
  { env }: Pick<Io, 'env'>,
): Promise<DoctorFinding[]> {
  const findings = [foundError(error)];
  const files = configFile === undefined ? await configFiles() : [configFile];
  if (files.length === 0) {
    findings.push({
      severity: 'error',
      code: 'CONFIG_MISSING',
      what: `there is no configuration in ${CONFIG_DIR}`,
      hint: 'Make one (docs/configuration.md), or name it with --config; then systemctl enable --now lhsm-azblobd@….',
    });
  }
  for (const file of files) findings.push(...(await checkFile(file, mount, env)));
  return findings;
}

async function configFiles(): Promise<string[]> {
  const names = await readdir(CONFIG_DIR).catch(() => []);
  return names.filter((name) => name.endsWith('.toml')).map((name) => path.join(CONFIG_DIR, name));
}

async function checkFile(file: string, mount: string | undefined, env: Io['env']): Promise<DoctorFinding[]> {
  try {
    const config = await loadConfig({
      file,
      env: { CREDENTIALS_DIRECTORY: NO_CREDENTIALS, ...env },
      overrides: mount === undefined ? [] : [{ key: 'mount', text: mount, from: '--mount' }],
    });
    const failures: DoctorFinding[] = [];
    // It loads what the daemon loads, which the other commands need not wait for.
    const { check } = await import('../../check.js');
    await check(config, (line) => {
      if (!line.startsWith('FAIL')) return;
      failures.push({
        severity: 'error',
        code: 'CHECK_FAILED',
        what: `${file}: ${line.slice('FAIL'.length).trim()}`,
        hint: `Mend it, then try all of it: lhsm-azblobd --config ${file} --check.`,
      });
    });
    return failures;
  } catch (error) {
    const found = foundError(error, 'See docs/configuration.md.');
    return [{ ...found, what: `${file}: ${found.what}` }];
  }
}

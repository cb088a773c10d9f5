// AzCopy as npm has it: fetched once into build/, and run. The import's tests lay out containers with it, the transfer bench
// compares with it.
import { execFile } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { repositoryRoot } from '../lustre-sim/build.js';

const exec = promisify(execFile);
const PACKAGE = '@azure-tools/azcopy-linux';
export const AZCOPY_VERSION = '10.32.2';

/** What every run is given: AzCopy asks nobody for a newer version of itself. */
export const AZCOPY_QUIET = ['--skip-version-check', '--log-level', 'NONE', '--output-level', 'essential'];

/** Logs and plans go below `dir`, and nothing is taken from the user's own settings. */
export function azcopyEnv(dir: string): Record<string, string> {
  return {
    AZCOPY_LOG_LOCATION: join(dir, 'azcopy'),
    AZCOPY_JOB_PLAN_LOCATION: join(dir, 'azcopy'),
    AZCOPY_DISABLE_SYSLOG: 'true',
    AZCOPY_AUTO_LOGIN_TYPE: '',
    HOME: dir,
  };
}

/** Whether AzCopy is published for this processor: npm has it for x86-64 only. */
export function hasAzcopy(): boolean {
  return process.arch === 'x64';
}

/**
 * The path of AzCopy's program, which is fetched when it is not there yet; `onInstall` is told. It is no dependency of package.json:
 * 56 MiB that only this needs. Rejects when it cannot be had or does not start (it needs libsecret-1-0).
 */
export async function installAzcopy(onInstall?: (what: string) => void): Promise<string> {
  const build = join(repositoryRoot(), 'build');
  const dir = join(build, `azcopy-${AZCOPY_VERSION}`);
  const program = join(dir, 'node_modules', PACKAGE, 'dist', 'bin', 'azcopy_linux_amd64');
  if (!existsSync(program)) {
    onInstall?.(`installing ${PACKAGE} ${AZCOPY_VERSION}`);
    await mkdir(build, { recursive: true });
    // Whole or not at all, whoever else installs it at the same time.
    const fresh = mkdtempSync(`${dir}-`);
    try {
      const quiet = ['--no-save', '--no-audit', '--no-fund', '--no-package-lock', '--loglevel=error'];
      const args = ['install', '--ignore-scripts', ...quiet, '--prefix', fresh];
      await exec('npm', [...args, `${PACKAGE}@${AZCOPY_VERSION}`], { cwd: fresh });
      chmodSync(join(fresh, program.slice(dir.length)), 0o755);
      renameSync(fresh, dir);
    } catch (error) {
      if (!existsSync(program)) throw error;
    } finally {
      rmSync(fresh, { recursive: true, force: true });
    }
  }
  await exec(program, ['--version', '--skip-version-check']);
  return program;
}

/** Runs `azcopy copy` with these arguments. Its standard input stays open: at its end AzCopy cancels the job. */
export async function azcopyCopy(program: string, args: readonly string[], dir: string): Promise<string> {
  // It downloads under longer names otherwise, and fails with those of 255 bytes.
  const env = { ...process.env, ...azcopyEnv(dir), AZCOPY_DOWNLOAD_TO_TEMP_PATH: 'false' };
  const { stdout } = await exec(program, ['copy', ...args, ...AZCOPY_QUIET], { cwd: dir, env });
  return stdout;
}

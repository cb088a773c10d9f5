// What an import is measured on: the bench's blob server as the container of archive 1, Azurite for the jobs' logs, the
// simulator and the daemon over both. import.ts and restore.ts each run in one.
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Daemon } from '../helpers/daemon.js';
import { repositoryRoot } from '../lustre-sim/build.js';
import { LustreSim, type LustreSimOptions } from '../lustre-sim/lustre-sim.js';
import type { AzuriteProcess } from './azurite-process.js';
import { ATTRIBUTES, PER_DIRECTORY, SAS, SIZE_BYTES } from './compare-files.js';
import { BlobServer } from './native/blob-server.js';

const exec = promisify(execFile);
const CLI = join(repositoryRoot(), 'dist/daemon/cli/main.js');
/** Most that a command says. */
export const OUTPUT_BYTES = 1 << 26;

export interface ImportSite {
  readonly sim: LustreSim;
  readonly server: BlobServer;
  readonly daemon: Daemon;
}

export interface ImportSiteSettings {
  readonly azurite: AzuriteProcess;
  /** How many blobs each series has. */
  readonly blobs: Readonly<Record<string, number>>;
  readonly sim?: LustreSimOptions;
  /** More lines of `[jobs]`. */
  readonly jobs?: string;
}

export function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Sets a site up, runs `work` in it, and takes it down, whatever fails. */
export async function inImportSite<T>(
  { azurite, blobs, sim: simOptions, jobs = '' }: ImportSiteSettings,
  work: (site: ImportSite) => Promise<T>,
): Promise<T> {
  const takeDown: (() => unknown)[] = [];
  try {
    const scratch = mkdtempSync(join(tmpdir(), 'lhsm-bench-import-'));
    takeDown.push(() => {
      rmSync(scratch, { recursive: true });
    });
    const sasFile = join(scratch, 'sas');
    writeFileSync(sasFile, SAS, { mode: 0o600 });
    const series = Object.entries(blobs).map(([name, count]) => ({
      name,
      count,
      sizeBytes: SIZE_BYTES,
      perDirectory: PER_DIRECTORY,
    }));
    const server = await BlobServer.start({ series, metadata: ATTRIBUTES });
    takeDown.push(() => server.stop());
    const sim = await LustreSim.start(simOptions);
    takeDown.push(() => sim.stop());
    const credential = (type: string, file: string): string =>
      `{ type = "${type}", file = ${JSON.stringify(file)} }`;
    const fromString = credential('connection-string', azurite.connectionStringFile);
    const logs = JSON.stringify(`${azurite.url}/logs`);
    const daemon = await Daemon.start({
      mount: sim.mount,
      library: sim.library,
      archives: [
        { id: 1, container: server.url, credential: credential('sas', sasFile) },
        { id: 2, container: `${azurite.url}/archive`, credential: fromString },
      ],
      more: `[http]\nlisten = "off"\n[jobs]\n${jobs}\nlogging_container = ${logs}\n`,
    });
    takeDown.push(() => daemon.stop());
    try {
      return await work({ sim, server, daemon });
    } catch (error) {
      progress(daemon.output().slice(-20_000));
      throw error;
    }
  } finally {
    for (const each of takeDown.reverse()) await each();
  }
}

/** Runs a command of lhsm-azblob to the end of what it has begun, and answers the document that it prints. */
export async function cli({ daemon }: ImportSite, ...args: string[]): Promise<unknown> {
  const line = [CLI, '--run-dir', join(daemon.dir, 'run'), ...args, '--wait', '--json'];
  return JSON.parse((await exec(process.execPath, line, { maxBuffer: OUTPUT_BYTES })).stdout);
}

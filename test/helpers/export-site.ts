// What the end-to-end tests of exports ask of a site: run one, and see its report and the container.
import { writeFileSync } from 'node:fs';
import type { Daemon } from './daemon.js';
import type { CliResult, JobSite } from './job-site.js';

export interface Job {
  readonly state: string;
  readonly percentComplete: number;
  readonly statusMessage: string;
  readonly errorCode?: string;
  readonly counts: Record<string, number>;
}

export interface Entry {
  readonly kind: string;
  readonly code: string;
  readonly path: string;
  readonly message: string;
  readonly action?: string;
  readonly errno?: string;
}

export const job = ({ stdout, stderr }: CliResult): Job => {
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout) as Job;
};

export async function exportAll(
  site: JobSite,
  name: string,
  ...args: string[]
): Promise<Job & { code: number }> {
  const result = await site.cli('export', 'start', '--name', name, '--wait', '--json', ...args);
  return { ...job(result), code: result.code };
}

export async function entries(site: JobSite, name: string): Promise<Entry[]> {
  const { stdout } = await site.cli('jobs', 'log', name);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Entry)
    .sort((one, other) => (one.path < other.path ? -1 : 1));
}

export async function blobs(site: JobSite): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for await (const { name } of site.site.container.listBlobsFlat()) {
    found[name] = (await site.site.container.getBlobClient(name).downloadToBuffer()).toString();
  }
  return found;
}

export async function metadata(site: JobSite, name: string): Promise<Record<string, string>> {
  return (await site.site.container.getBlobClient(name).getProperties()).metadata ?? {};
}

/** Makes so many small files; answers their names. */
export function write(site: JobSite, count: number, prefix = 'f'): string[] {
  const names = Array.from({ length: count }, (_, at) => `${prefix}${at}`);
  for (const name of names) writeFileSync(site.path(name), `content of ${name}`);
  return names;
}

/** Their blobs. */
export const wanted = (names: readonly string[]): Record<string, string> =>
  Object.fromEntries(names.map((name) => [name, `content of ${name}`]));

/** Archives that a daemon has told of. */
export const archived = (daemon: Daemon): number =>
  daemon.lines.filter(({ msg }) => msg === 'archive done').length;

/** Actions that a node's daemon has in its journal. */
export async function inHand(site: JobSite, node: number): Promise<number> {
  const { stdout } = await site.cliOn(node, 'status', '--json');
  return (JSON.parse(stdout) as { journal: { items: number } }).journal.items;
}

/** Waits for the end of a job; `code`: of the command that watched it. */
export async function ended(site: JobSite, name: string): Promise<Job & { code: number }> {
  const watched = await site.cli('jobs', 'watch', name);
  const shown = await site.cli('jobs', 'show', name, '--json');
  return { ...job(shown), code: watched.code };
}

// What the end-to-end tests of exports ask of a site: run one, and see its report and the container.
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

// A site for jobs: a simulated Lustre, Azurite with a data and a logging container behind a proxy that can hold the data's
// requests, daemons, and the command line.
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ContainerClient } from '@azure/storage-blob';
import type { Test } from 'tap';
import { repositoryRoot } from '../lustre-sim/build.js';
import type { Daemon, DaemonSettings } from './daemon.js';
import { startHoldingProxy, type HoldingProxy } from './holding-proxy.js';
import { Site } from './site.js';

const CLI = join(repositoryRoot(), 'dist/daemon/cli/main.js');

export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface JobSiteOptions {
  readonly nodes?: number;
  /** More lines of `[jobs]`. */
  readonly jobs?: string;
  readonly tunables?: Record<string, string>;
}

export class JobSite {
  readonly site: Site;
  readonly proxy: HoldingProxy;
  readonly logs: ContainerClient;
  readonly #daemons = new Map<number, Daemon>();

  private constructor(site: Site, proxy: HoldingProxy, logs: ContainerClient) {
    this.site = site;
    this.proxy = proxy;
    this.logs = logs;
  }

  /** Everything goes away with the test. */
  static async start(t: Test, options: JobSiteOptions = {}): Promise<JobSite> {
    const site = await Site.start({
      https: false,
      nodes: options.nodes ?? 1,
      ...(options.tunables ? { tunables: options.tunables } : {}),
      more: `[http]\nlisten = "127.0.0.1:0"\n[jobs]\nlogging_container = "logs"\n${options.jobs ?? ''}\n`,
    });
    const proxy = await startHoldingProxy(site.azurite.url);
    t.teardown(async () => {
      proxy.open();
      await site.stop();
      await proxy.stop();
    });
    return new JobSite(site, proxy, await site.azurite.container('logs'));
  }

  get mount(): string {
    return this.site.mount;
  }

  path(...names: string[]): string {
    return this.site.path(...names);
  }

  state(file: string): Promise<string> {
    return this.site.state(file);
  }

  read(name: string): Promise<Buffer> {
    return this.site.read(name);
  }

  async put(name: string, body: string, metadata: Record<string, string>): Promise<void> {
    await this.site.container.getBlockBlobClient(name).upload(body, Buffer.byteLength(body), { metadata });
  }

  /** Settings of a daemon on a node, whose requests go through the proxy. */
  settings(node = 0, changes: Partial<DaemonSettings> = {}): DaemonSettings {
    const { azurite } = this.site;
    const file = join(azurite.dir, 'held-connection-string');
    const direct = `:${new URL(azurite.url).port}/`;
    writeFileSync(file, azurite.connectionString.replace(direct, `:${this.proxy.port}/`), { mode: 0o600 });
    const credential = `{ type = "connection-string", file = ${JSON.stringify(file)} }`;
    return { ...this.site.settings(node), archives: [{ container: 'archive', credential }], ...changes };
  }

  /** Starts a daemon on a node, the one that `cliOn` asks from now on. */
  async daemon(node = 0, changes: Partial<DaemonSettings> = {}): Promise<Daemon> {
    const daemon = await this.site.daemon(node, this.settings(node, changes));
    this.#daemons.set(node, daemon);
    return daemon;
  }

  cli(...args: string[]): Promise<CliResult> {
    return this.cliOn(0, ...args);
  }

  /** Runs `lhsm-azblob` for the daemon of a node. */
  cliOn(node: number, ...args: string[]): Promise<CliResult> {
    const daemon = this.#daemons.get(node);
    if (!daemon) throw new Error(`no daemon on node ${node}`);
    return new Promise((resolve) => {
      execFile(
        process.execPath,
        [CLI, '--run-dir', join(daemon.dir, 'run'), ...args],
        { maxBuffer: 1 << 28 },
        (error, stdout, stderr) => {
          resolve({ code: error ? Number(error.code ?? -1) : 0, stdout, stderr });
        },
      );
    });
  }

  /** Requests for blobs of the data container wait from now on; listings and the logging container do not. */
  holdData(): void {
    this.proxy.hold(({ url = '' }) => /^\/devstoreaccount1\/archive\/[^?]/.test(url));
  }
}

// A whole site on one machine: a simulated Lustre, Azurite behind a gate, and as many daemons as asked for. The
// end-to-end tests, the demo and the benches begin here.
import { randomBytes } from 'node:crypto';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ContainerClient } from '@azure/storage-blob';
import { LustreSim } from '../lustre-sim/lustre-sim.js';
import { startAzurite, type Azurite } from './azurite.js';
import { Daemon, type DaemonSettings } from './daemon.js';
import { startGateProxy, type GateProxy } from './gate-proxy.js';

const exec = promisify(execFile);

const PATIENCE_MS = 100_000;

export interface SiteOptions {
  /** Azurite over TLS; by default as the environment's LHSM_TEST_HTTPS=1 says. */
  readonly https?: boolean;
  /** Simulated client nodes. */
  readonly nodes?: number;
  readonly tunables?: Record<string, string>;
  /** More of the daemon's configuration, as TOML. */
  readonly more?: string;
}

export class Site {
  readonly sim: LustreSim;
  readonly azurite: Azurite;
  readonly gate: GateProxy;
  readonly container: ContainerClient;
  readonly #more: string | undefined;
  readonly #daemons: Daemon[] = [];
  #crashed = false;

  private constructor(
    parts: { sim: LustreSim; azurite: Azurite; gate: GateProxy; container: ContainerClient },
    more: string | undefined,
  ) {
    this.sim = parts.sim;
    this.azurite = parts.azurite;
    this.gate = parts.gate;
    this.container = parts.container;
    this.#more = more;
  }

  static async start(options: SiteOptions = {}): Promise<Site> {
    const https = options.https ?? process.env['LHSM_TEST_HTTPS'] === '1';
    const azurite = await startAzurite({ https });
    const gate = await startGateProxy(Number(new URL(azurite.url).port));
    const container = await azurite.container('archive');
    const sim = await LustreSim.start({
      mounts: options.nodes ?? 1,
      ...(options.tunables ? { tunables: options.tunables } : {}),
    });
    return new Site({ sim, azurite, gate, container }, options.more);
  }

  /** The first node's mount point. */
  get mount(): string {
    return this.sim.mounts[0] ?? '';
  }

  path(...names: string[]): string {
    return join(this.mount, ...names);
  }

  /** Settings of a daemon on a node; its requests go through the gate. */
  settings(node = 0, changes: Partial<DaemonSettings> = {}): DaemonSettings {
    const file = join(this.azurite.dir, 'gated-connection-string');
    const direct = `:${new URL(this.azurite.url).port}/`;
    writeFileSync(file, this.azurite.connectionString.replace(direct, `:${this.gate.port}/`), {
      mode: 0o600,
    });
    return {
      mount: this.sim.mounts[node] ?? '',
      library: this.sim.library,
      archives: [
        {
          container: 'archive',
          credential: `{ type = "connection-string", file = ${JSON.stringify(file)} }`,
        },
      ],
      ...(this.#more === undefined ? {} : { more: this.#more }),
      ...changes,
      env: {
        ...(this.azurite.caFile === undefined ? {} : { LHSM_AZBLOB_TRANSFER_CA_FILE: this.azurite.caFile }),
        ...changes.env,
      },
    };
  }

  /** Starts a daemon that serves a node, and stops it with the site. */
  async daemon(node = 0, changes: Partial<DaemonSettings> = {}): Promise<Daemon> {
    const daemon = Daemon.spawn(this.settings(node, changes));
    this.#daemons.push(daemon);
    await daemon.log((line) => line.msg === 'serving');
    return daemon;
  }

  /** `lfs`, which must succeed. */
  lfs(...args: string[]): Promise<string> {
    return this.sim.lfsOk(...args);
  }

  /** Asks for an action on files and waits until the coordinator is through with it. */
  async hsm(action: 'archive' | 'restore' | 'release' | 'remove', ...files: string[]): Promise<void> {
    await this.lfs(`hsm_${action}`, ...files);
    if (action !== 'release') await this.drained();
  }

  /** Waits until the coordinator has nothing left to do; patient, for machines that are busy. */
  drained(): Promise<void> {
    return this.sim.drained(PATIENCE_MS);
  }

  /** `lfs hsm_state` of a file, without its name. */
  async state(file: string): Promise<string> {
    const text = await this.lfs('hsm_state', file);
    return text.slice(file.length + 2).trim();
  }

  /** Writes a file of random bytes; answers them. */
  write(name: string, sizeBytes: number): Buffer {
    const bytes = randomBytes(sizeBytes);
    writeFileSync(this.path(name), bytes);
    return bytes;
  }

  /**
   * Reads a file as a user would, in a process of its own: a read of a released file blocks, and Azurite lives in
   * this process. Rejects with an error whose `stderr` has what the reader saw.
   */
  async read(name: string, node = 0): Promise<Buffer> {
    const file = join(this.sim.mounts[node] ?? '', name);
    const { stdout } = await exec('cat', ['--', file], { encoding: 'buffer', maxBuffer: 1 << 30 });
    return stdout;
  }

  /** Takes the file system away under everybody. */
  async crash(): Promise<void> {
    this.#crashed = true;
    await this.sim.stop();
  }

  /** Takes everything down. Throws when the simulator saw the interface misused. */
  async stop(): Promise<void> {
    this.gate.open();
    for (const daemon of this.#daemons) {
      await daemon.stop();
      await rm(daemon.dir, { recursive: true, force: true });
    }
    const violations = this.#crashed ? [] : await this.sim.violations();
    await this.sim.stop();
    await this.gate.stop();
    await this.azurite.stop();
    if (violations.length > 0) throw new Error(`misuse of liblustreapi:\n${violations.join('\n')}`);
  }
}

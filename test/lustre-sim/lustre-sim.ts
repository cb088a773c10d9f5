// A simulated Lustre for one test, demo or bench: starts the program, speaks to its control socket, takes it away.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chmod, lstat, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { buildLustreSim, type LustreSimBuild } from './build.js';

export interface LustreSimOptions {
  /** How many client nodes, each with a mount point of its own. 1 by default. */
  mounts?: number;
  /** Where to mount instead; these directories must exist, and stay. */
  mountPoints?: string[];
  /** An existing directory for the content of files; it stays. A temporary one by default. */
  workDir?: string;
  /** The coordinator's loop, in seconds. 0.02 by default here; a real one has 1 or 10. */
  loopPeriodS?: number;
  /** Parameters to start with, e.g. `{'hsm.max_requests': '50'}`. max_requests is 1000 by default here. */
  tunables?: Record<string, string>;
  /** At most 8 characters; `lustre` by default. */
  fsname?: string;
}

export interface CommandResult {
  stdout: string;
  stderr: string;
  code: number;
}

export type RequestStatus = 'WAITING' | 'STARTED' | 'SUCCEED' | 'FAILED' | 'CANCELED';
export type RequestAction = 'ARCHIVE' | 'RESTORE' | 'REMOVE' | 'CANCEL';

/** One line of hsm.actions. */
export interface RequestRecord {
  fid: string;
  dfid: string;
  cookie: bigint;
  action: RequestAction;
  archiveId: number;
  flags: number;
  status: RequestStatus;
}

/** The simulator refused a parameter, a wait or an injection. */
export class LustreSimError extends Error {
  readonly errno: number;

  constructor(command: string, errno: number, text: string) {
    super(`lustre-sim: ${command}: errno ${errno}${text === '' ? '' : ` (${text})`}`);
    this.name = 'LustreSimError';
    this.errno = errno;
  }
}

const DEFAULT_WAIT_MS = 20_000;
const STOP_PATIENCE_MS = 5_000;
const ETIMEDOUT = 110;

async function run(file: string, args: readonly string[]): Promise<CommandResult> {
  try {
    const { stdout, stderr } = await promisify(execFile)(file, args, { maxBuffer: 256 << 20 });
    return { stdout, stderr, code: 0 };
  } catch (error) {
    const failed = error as { code?: unknown; stdout?: string; stderr?: string };
    if (typeof failed.code !== 'number') throw error;
    return { stdout: failed.stdout ?? '', stderr: failed.stderr ?? '', code: failed.code };
  }
}

/** Mount points under these directories, deepest last mounted first. */
async function stillMounted(paths: readonly string[]): Promise<string[]> {
  const mounts = await readFile('/proc/self/mounts', 'utf8');
  const points = mounts.split('\n').map((line) => (line.split(' ')[1] ?? '').replaceAll('\\040', ' '));
  return points.filter((point) => paths.includes(point)).reverse();
}

/** Resolves when the program says READY; rejects when it ends before. */
async function whenReady(child: ChildProcess): Promise<{ mounts: string[]; socket: string }> {
  if (child.stdout === null) throw new Error('lustre-sim was started without a pipe');
  const lines = createInterface({ input: child.stdout });
  const ended = new Promise<never>((_, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      reject(new Error(`lustre-sim ended before it was ready (${code ?? signal}); its stderr says why`));
    });
  });
  ended.catch(() => undefined);
  const ready = (async () => {
    for await (const line of lines) {
      if (line.startsWith('READY ')) return JSON.parse(line.slice(6)) as { mounts: string[]; socket: string };
    }
    return await ended;
  })();
  return await Promise.race([ready, ended]);
}

/** A running simulator. `stop` it in the test's teardown; should the test die, it goes away by itself. */
export class LustreSim {
  /** One a client node. */
  readonly mounts: readonly string[];
  /** The liblustreapi.so.1 to load. */
  readonly library: string;
  readonly fsname: string;
  /** The control socket, also for `lctl` in LUSTRE_SIM_SOCKET. */
  readonly socket: string;
  readonly build: LustreSimBuild;
  readonly #child: ChildProcess;
  readonly #base: string;
  #stopped: Promise<void> | undefined;

  private constructor(
    build: LustreSimBuild,
    child: ChildProcess,
    base: string,
    fsname: string,
    mounts: string[],
    socket: string,
  ) {
    this.build = build;
    this.library = build.lib;
    this.#child = child;
    this.#base = base;
    this.fsname = fsname;
    this.mounts = mounts;
    this.socket = socket;
  }

  /** Builds the simulator when needed, mounts it, and resolves when all mount points work. */
  static async start(options: LustreSimOptions = {}): Promise<LustreSim> {
    const build = await buildLustreSim();
    const base = await mkdtemp(join(tmpdir(), 'lustre-sim-'));
    await chmod(base, 0o755); // other users may go where the file system lets them
    const fsname = options.fsname ?? 'lustre';
    const points =
      options.mountPoints ?? Array.from({ length: options.mounts ?? 1 }, (_, i) => join(base, `mnt${i}`));
    const workDir = options.workDir ?? join(base, 'work');
    const tunables = {
      'hsm.loop_period': String(options.loopPeriodS ?? 0.02),
      'hsm.max_requests': '1000',
      ...options.tunables,
    };
    const args = ['--supervised', '--scratch', base, '--fsname', fsname, '--work-dir', workDir];
    for (const [name, value] of Object.entries(tunables)) args.push('--set', `${name}=${value}`);
    if (options.mountPoints === undefined) for (const point of points) await mkdir(point);
    if (options.workDir === undefined) await mkdir(workDir);
    const child = spawn(build.bin, [...args, ...points], { stdio: ['pipe', 'pipe', 'inherit'] });
    try {
      const { mounts, socket } = await whenReady(child);
      // A test that forgets to stop it shall still end; the simulator sees its standard input end.
      child.unref();
      for (const stream of [child.stdin, child.stdout]) (stream as { unref?: () => void }).unref?.();
      return new LustreSim(build, child, base, fsname, mounts, socket);
    } catch (error) {
      child.kill('SIGKILL');
      await rm(base, { recursive: true, force: true });
      throw error;
    }
  }

  /** The first mount point, for tests with one client node. */
  get mount(): string {
    const [mount] = this.mounts;
    if (mount === undefined) throw new Error('no mount point');
    return mount;
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** Runs the simulator's lfs, e.g. `lfs('hsm_archive', '--archive', '2', path)`; does not throw on its exit code. */
  async lfs(...args: string[]): Promise<CommandResult> {
    return await run(this.build.lfs, args);
  }

  /** As lfs, but an exit code other than 0 throws an Error with what it said. Resolves to its standard output. */
  async lfsOk(...args: string[]): Promise<string> {
    const { stdout, stderr, code } = await this.lfs(...args);
    if (code !== 0) throw new Error(`lfs ${args.join(' ')}: exit ${code}: ${stderr.trim()}`);
    return stdout;
  }

  /** What `lfs hsm_state` prints behind the name, e.g. `(0x0000000d) released exists archived, archive_id:2`. */
  async hsmState(path: string): Promise<string> {
    return (await this.lfsOk('hsm_state', path)).slice(path.length + 2).trimEnd();
  }

  /** The FID in brackets. Works for anything in a mount, restores nothing. */
  async fidOf(path: string): Promise<string> {
    // The simulator's inode numbers are its FIDs: sequence << 24 ^ object id.
    const { ino } = await lstat(path, { bigint: true });
    return `[0x${(ino >> 24n).toString(16)}:0x${(ino & 0xffffffn).toString(16)}:0x0]`;
  }

  async #command(line: string, bytes?: Uint8Array): Promise<string> {
    const chunks: Buffer[] = [];
    await new Promise<void>((resolve, reject) => {
      const connection = createConnection(this.socket);
      connection.on('error', reject);
      connection.on('data', (chunk) => chunks.push(chunk));
      connection.on('end', resolve);
      connection.write(line + '\n');
      connection.end(bytes ?? '');
    });
    const answer = Buffer.concat(chunks);
    const headEnd = answer.indexOf('\n');
    const errno = Number(answer.subarray(0, Math.max(headEnd, 0)).toString().split(' ')[0]);
    const text = answer.subarray(headEnd + 1).toString();
    if (headEnd < 0 || errno !== 0) throw new LustreSimError(line, headEnd < 0 ? -1 : errno, text);
    return text;
  }

  /** E.g. `hsm.actions`, `mdt.*.hsm.agents`, `hsm_control`, `sim.counters`. */
  async getParam(name: string): Promise<string> {
    return await this.#command(`get ${name}`);
  }

  async setParam(name: string, value: string | number): Promise<void> {
    await this.#command(`set ${name}=${value}`);
  }

  /** Sets one fault, e.g. `begin errno=ENOENT count=1 action=RESTORE` or `write delay_ms=50 nth=3`. They add up. */
  async fault(spec: string): Promise<void> {
    await this.setParam('sim.fault', spec);
  }

  async clearFaults(): Promise<void> {
    await this.setParam('sim.fault', 'clear');
  }

  /** Misuses of the library seen so far; a sound copytool has none. */
  async violations(): Promise<string[]> {
    return (await this.getParam('sim.violations')).split('\n').filter((line) => line !== '');
  }

  async clearViolations(): Promise<void> {
    await this.setParam('sim.violations', 'clear');
  }

  /** `waiting`, `started`, `succeeded`, `failed`, `canceled`, `delivered`, `agents`, `blocked`, … */
  async counters(): Promise<Record<string, number>> {
    const lines = (await this.getParam('sim.counters')).trim().split('\n');
    return Object.fromEntries(
      lines.map((line) => {
        const [name = '', value = ''] = line.split('=');
        return [name, Number(value)];
      }),
    );
  }

  /** hsm.actions, decoded, oldest first. */
  async requests(): Promise<RequestRecord[]> {
    const pattern =
      / fid=(\S+) dfid=(\S+) compound\/cookie=\S+?\/(\S+) action=(\S+) archive#=(\d+) flags=(\S+) .* status=(\S+) /;
    const records: RequestRecord[] = [];
    for (const line of (await this.getParam('hsm.actions')).split('\n')) {
      const match = pattern.exec(line);
      if (match === null) continue;
      const [, fid = '', dfid = '', cookie = '', action = '', archiveId = '', flags = '', status = ''] =
        match;
      records.push({
        fid,
        dfid,
        cookie: BigInt(cookie),
        action: action as RequestAction,
        archiveId: Number(archiveId),
        flags: Number(flags),
        status: status as RequestStatus,
      });
    }
    return records;
  }

  /** The bytes arrive at the tools of that mount as if the server had sent them. ENXIO when none is registered. */
  async inject(mountIndex: number, list: Uint8Array): Promise<void> {
    await this.#command(`inject ${mountIndex} ${list.byteLength}`, list);
  }

  /** What runs is forgotten; the agents come back by themselves after `sim.reregister_delay` seconds. */
  async restartMdt(): Promise<void> {
    await this.setParam('sim.mdt', 'restart');
  }

  /** The client is evicted: its tools' recv gives ESHUTDOWN. Quietly: the kernel registers it again. */
  async evict(mountIndex: number, quietly = false): Promise<void> {
    await this.setParam('sim.evict', `${mountIndex}${quietly ? ' quiet' : ''}`);
  }

  /**
   * Waits in the simulator, without polling: `drained`, or a counter (`agents>=2`, `blocked==0`, `delivered>=10`).
   * @throws LustreSimError with errno ETIMEDOUT
   */
  async wait(condition: string, timeoutMs = DEFAULT_WAIT_MS): Promise<void> {
    try {
      await this.#command(`wait ${timeoutMs} ${condition}`);
    } catch (error) {
      if (!(error instanceof LustreSimError) || error.errno !== ETIMEDOUT) throw error;
      const counters = (await this.getParam('sim.counters')).trim().replaceAll('\n', ' ');
      throw new LustreSimError(`wait for ${condition}`, ETIMEDOUT, `after ${timeoutMs} ms; ${counters}`);
    }
  }

  /** Waits until no request is WAITING or STARTED. */
  async drained(timeoutMs = DEFAULT_WAIT_MS): Promise<void> {
    await this.wait('drained', timeoutMs);
  }

  /** Waits until the last request for the file (path or FID in brackets) has one of the statuses. */
  async requestReaches(
    pathOrFid: string,
    status: RequestStatus | RequestStatus[],
    options: { action?: RequestAction; timeoutMs?: number } = {},
  ): Promise<void> {
    const fid = pathOrFid.startsWith('[') ? pathOrFid : await this.fidOf(pathOrFid);
    const statuses = [status].flat().join('|');
    await this.wait(`${fid} ${statuses} ${options.action ?? ''}`.trimEnd(), options.timeoutMs);
  }

  /** Unmounts and ends the program; blocked readers get an error. Nothing is left behind. May be called twice. */
  async stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    await this.#stopped;
  }

  async #stop(): Promise<void> {
    const child = this.#child;
    if (child.exitCode === null && child.signalCode === null) {
      child.ref();
      const exited = new Promise<void>((resolve) =>
        child.once('exit', () => {
          resolve();
        }),
      );
      const patience = setTimeout(() => child.kill('SIGKILL'), STOP_PATIENCE_MS);
      child.kill('SIGTERM');
      await exited;
      clearTimeout(patience);
    }
    child.stdin?.destroy();
    child.stdout?.destroy();
    for (const point of await stillMounted(this.mounts)) await run('umount', ['-l', point]);
    await rm(this.#base, { recursive: true, force: true });
  }
}

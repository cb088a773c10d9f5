// The daemon as a child process, for end-to-end tests, the demo and the benches: its configuration in a folder of its
// own, its log lines as they come, its end by any signal.
import { spawn, type ChildProcess } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { scratchFolder } from './scratch.js';
import { repositoryRoot } from '../lustre-sim/build.js';

/** One line of the daemon's log. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly msg: string; readonly level: string };

export interface ArchiveSettings {
  readonly id?: number;
  readonly container: string;
  readonly prefix?: string;
  readonly naming?: 'path' | 'fid';
  /** TOML inline table, `{ type = "connection-string", file = "…" }` say. */
  readonly credential: string;
}

export interface DaemonSettings {
  readonly mount: string;
  readonly library: string;
  readonly archives: readonly ArchiveSettings[];
  /** More TOML, tables and all. */
  readonly more?: string;
  /** Configuration, journal and socket of a former daemon are used again when it is given. */
  readonly dir?: string;
  readonly env?: Readonly<Record<string, string>>;
}

const ENTRY = join(repositoryRoot(), 'dist/daemon/lhsm-azblobd.cjs');

function toml(settings: DaemonSettings, dir: string): string {
  const archives = settings.archives.map(
    ({ id = 1, container, prefix = '', naming = 'path', credential }) =>
      `[[archive]]\nid = ${id}\ncontainer = ${JSON.stringify(container)}\nprefix = ${JSON.stringify(prefix)}\n` +
      `naming = "${naming}"\ncredential = ${credential}\n`,
  );
  return [
    `mount = ${JSON.stringify(settings.mount)}`,
    `library = ${JSON.stringify(settings.library)}`,
    `state_dir = ${JSON.stringify(join(dir, 'state'))}`,
    `run_dir = ${JSON.stringify(join(dir, 'run'))}`,
    ...archives,
    settings.more ?? '[http]\nlisten = "127.0.0.1:0"\n',
  ].join('\n');
}

/** User and system CPU time of a process so far, in milliseconds. */
export function cpuMsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  // Fields 14 and 15 of proc(5), in clock ticks of 10 ms.
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

export class Daemon {
  readonly dir: string;
  readonly configFile: string;
  readonly lines: LogLine[] = [];
  readonly #child: ChildProcess;
  readonly #news = new EventEmitter();
  readonly #exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  readonly #ownsDir: boolean;
  #stderr = '';
  #over = false;

  private constructor(settings: DaemonSettings, flags: readonly string[]) {
    this.#news.setMaxListeners(0);
    this.#ownsDir = settings.dir === undefined;
    this.dir = settings.dir ?? scratchFolder('lhsm-daemon-');
    this.configFile = join(this.dir, 'lhsm-azblob.toml');
    writeFileSync(this.configFile, toml(settings, this.dir));
    this.#child = spawn(
      process.execPath,
      [ENTRY, '--config', this.configFile, '--log-format', 'json', ...flags],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, ...settings.env },
      },
    );
    this.#child.stderr?.on('data', (chunk: Buffer) => (this.#stderr += chunk.toString()));
    if (this.#child.stdout) {
      createInterface({ input: this.#child.stdout }).on('line', (text) => {
        this.#take(text);
      });
    }
    this.#exited = once(this.#child, 'close').then(([code, signal]) => {
      this.#over = true;
      this.#news.emit('news');
      return { code: code as number | null, signal: signal as NodeJS.Signals | null };
    });
  }

  /** Starts it and returns at once. */
  static spawn(settings: DaemonSettings, flags: readonly string[] = []): Daemon {
    return new Daemon(settings, flags);
  }

  /** Starts it and waits until it serves. Throws with its output when it ends instead. */
  static async start(settings: DaemonSettings, flags: readonly string[] = []): Promise<Daemon> {
    const daemon = new Daemon(settings, flags);
    await daemon.log((line) => line.msg === 'serving');
    return daemon;
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('the daemon could not be spawned');
    return this.#child.pid;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** The first line, past or to come, that fits. Throws with all output when the daemon ends before. */
  async log(fits: (line: LogLine) => boolean): Promise<LogLine> {
    for (let seen = 0; ;) {
      for (; seen < this.lines.length; seen += 1) {
        const line = this.lines[seen];
        if (line && fits(line)) return line;
      }
      if (this.#over) throw new Error(`the daemon has ended:\n${this.output()}`);
      await once(this.#news, 'news');
    }
  }

  /** Everything it said. */
  output(): string {
    return [...this.lines.map((line) => JSON.stringify(line)), this.#stderr].join('\n');
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Waits for its end. */
  exit(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    return this.#exited;
  }

  /** kill -9, and waits. Its folder stays, for the next process. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  /** SIGTERM, waits, and removes its folder if it made it. Answers its exit status. */
  async stop(): Promise<number | null> {
    if (!this.#over) this.#child.kill('SIGTERM');
    const { code } = await this.#exited;
    if (this.#ownsDir) rmSync(this.dir, { recursive: true, force: true });
    return code;
  }

  /** Resident memory, in MiB. */
  rssMiB(): number {
    const status = readFileSync(`/proc/${this.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
  }

  /** User and system CPU time so far, in milliseconds. */
  cpuMs(): number {
    return cpuMsOf(this.pid);
  }

  #take(text: string): void {
    try {
      this.lines.push(JSON.parse(text) as LogLine);
    } catch {
      this.#stderr += `${text}\n`;
    }
    this.#news.emit('news');
  }
}

// Drives build/lustre-sim/simtool, a copytool that does what it is told, and gives the simulator's tests what they
// share. With LHSM_TEST_MOUNT and LHSM_TEST_LIBRARY set, the same tests run on a real Lustre; those that need the
// simulator's own means skip.
import { type ChildProcessWithoutNullStreams, execFile, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildLustreSim } from './build.js';
import { type CommandResult, LustreSim, type LustreSimOptions } from './lustre-sim.js';

/** Errno values as the library returns them. */
export const ERRNO = {
  EPERM: -1,
  ENOENT: -2,
  EIO: -5,
  ENXIO: -6,
  E2BIG: -7,
  EAGAIN: -11,
  EACCES: -13,
  EBUSY: -16,
  EEXIST: -17,
  ENODEV: -19,
  EINVAL: -22,
  ENOTTY: -25,
  ENOSPC: -28,
  ENODATA: -61,
  ESHUTDOWN: -108,
  ETIMEDOUT: -110,
  EDQUOT: -122,
  ECANCELED: -125,
} as const;

export const ACTION = { ARCHIVE: 20, RESTORE: 21, REMOVE: 22, CANCEL: 23 } as const;
export const USER = { ARCHIVE: 10, RESTORE: 11, RELEASE: 12, REMOVE: 13, CANCEL: 14 } as const;
export const STATE = {
  EXISTS: 1,
  DIRTY: 2,
  RELEASED: 4,
  ARCHIVED: 8,
  NORELEASE: 16,
  NOARCHIVE: 32,
  LOST: 64,
} as const;

export interface Item {
  /** By this number the other commands know it. */
  index: number;
  len: number;
  action: number;
  cookie: string;
  offset: string;
  length: string;
  gid: number;
  fid: string;
  dfid: string;
  /** The user's data, hex. */
  data: string;
  /** The whole item, hex: what a journal would keep. */
  bytes: string;
}

export interface Reply {
  rc: number;
  [key: string]: unknown;
}

export interface ListReply extends Reply {
  size: number;
  raw: string;
  flags: number;
  archive: number;
  fsname: string;
  items: Item[];
}

/** One process with the library loaded. */
export class SimTool {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  readonly #interface: Interface;
  readonly exited: Promise<NodeJS.Signals | number>;
  stderr = '';

  constructor(program: string, library: string) {
    this.#child = spawn(program, [library]);
    this.#child.stderr.on('data', (data: Buffer) => (this.stderr += data.toString()));
    this.#interface = createInterface({ input: this.#child.stdout });
    this.#lines = this.#interface[Symbol.asyncIterator]();
    this.exited = new Promise((resolve) => {
      this.#child.once('close', (code, signal) => {
        resolve(signal ?? code ?? -1);
      });
    });
    this.#child.stdin.on('error', () => undefined);
  }

  /** Sends one command line and gives its answer; rc -1000 when the process is gone. */
  async run(command: string): Promise<Reply> {
    this.#child.stdin.write(command + '\n');
    const line = await this.#lines.next();
    return line.done === true ? { rc: -1000 } : (JSON.parse(line.value) as Reply);
  }

  async rc(command: string): Promise<number> {
    return (await this.run(command)).rc;
  }

  async register(mount: string, ...archives: number[]): Promise<number> {
    return await this.rc(`register ${mount} nonblock ${archives.join(' ')}`);
  }

  /** Waits up to that long for a list. */
  async recv(timeoutMs = 10_000): Promise<ListReply> {
    return (await this.run(`recv ${timeoutMs}`)) as ListReply;
  }

  /** Receives until there are so many items, in as many lists as they come. */
  async items(count: number): Promise<Item[]> {
    const items: Item[] = [];
    while (items.length < count) {
      const list = await this.recv();
      if (list.rc !== 0) throw new Error(`recv: ${list.rc} after ${items.length} of ${count} items`);
      items.push(...list.items);
    }
    return items;
  }

  async item(): Promise<Item> {
    const [item] = await this.items(1);
    if (item === undefined) throw new Error('no item');
    return item;
  }

  /** begin, copy nothing, end(0): enough for an archive. */
  async archiveOne(item: Item): Promise<void> {
    const begin = await this.rc(`begin ${item.index}`);
    const end = await this.rc(`end ${item.index} 0`);
    if (begin !== 0 || end !== 0) throw new Error(`archive: begin ${begin}, end ${end}`);
  }

  /** begin, write the text, close, end(0). */
  async restoreOne(item: Item, text: string): Promise<number> {
    const begin = await this.rc(`begin ${item.index} 0`);
    if (begin !== 0) return begin;
    const fd = await this.rc(`get_fd ${item.index}`);
    if (text !== '') await this.rc(`write ${fd} ${Buffer.from(text).toString('hex')}`);
    const end = await this.rc(`end ${item.index} 0`);
    await this.rc(`close ${fd}`);
    return end;
  }

  /** The way of every failure before a handle exists. */
  async failOne(item: Item, errno: number): Promise<[begin: number, end: number]> {
    return [await this.rc(`begin ${item.index} error`), await this.rc(`end ${item.index} ${errno}`)];
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.#child.kill(signal);
    await this.exited;
  }

  async close(): Promise<void> {
    this.#child.stdin.end();
    await this.exited;
    this.#interface.close();
  }
}

/** True where the tests run on a real Lustre. */
export const onRealLustre = process.env['LHSM_TEST_MOUNT'] !== undefined;
/** For the options of tests that need the simulator's own means. */
export const simOnly = onRealLustre ? { skip: 'needs the simulator' } : {};

export interface Fixture {
  /** A fresh directory in the first mount. */
  dir: string;
  mount: string;
  mounts: readonly string[];
  library: string;
  /** Only on the simulator: tests that use it carry `simOnly`. */
  sim: LustreSim;
  tool(): SimTool;
  lfs(...args: string[]): Promise<CommandResult>;
  state(path: string): Promise<string>;
  /** Waits until nothing is under way for the file. */
  settled(path: string): Promise<void>;
}

interface Teardown {
  teardown(callback: () => Promise<void>): void;
}

async function execute(program: string, args: string[]): Promise<CommandResult> {
  return await new Promise((resolve) => {
    execFile(program, args, (error, stdout, stderr) => {
      resolve({
        stdout,
        stderr,
        code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1,
      });
    });
  });
}

/** What `cat` reads, in a process of its own: it may block for as long as it likes. */
export function cat(path: string): {
  result: Promise<CommandResult>;
  kill: (signal: NodeJS.Signals) => void;
} {
  return program('cat', path);
}

export function program(
  name: string,
  ...args: string[]
): { result: Promise<CommandResult>; kill: (signal: NodeJS.Signals) => void } {
  let stop: (signal: NodeJS.Signals) => void = () => undefined;
  const result = new Promise<CommandResult>((resolve) => {
    const child = execFile(name, args, (error, stdout, stderr) => {
      resolve({
        stdout,
        stderr,
        code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1,
      });
    });
    stop = (signal) => child.kill(signal);
  });
  return {
    result,
    kill: (signal) => {
      stop(signal);
    },
  };
}

/** Starts a simulator, or takes the real Lustre of the environment. */
export async function fixture(t: Teardown, options: LustreSimOptions = {}): Promise<Fixture> {
  const build = await buildLustreSim();
  const tools: SimTool[] = [];
  const realMount = process.env['LHSM_TEST_MOUNT'];
  const sim = realMount === undefined ? await LustreSim.start(options) : undefined;
  const mount = realMount ?? sim?.mount ?? '';
  const library = process.env['LHSM_TEST_LIBRARY'] ?? sim?.library ?? '';
  const dir = await mkdtemp(join(mount, 'test-'));
  t.teardown(async () => {
    for (const tool of tools) await tool.kill();
    if (sim === undefined) await rm(dir, { recursive: true });
    await sim?.stop();
  });
  const lfs =
    sim === undefined ? (...args: string[]) => execute('lfs', args) : (...args: string[]) => sim.lfs(...args);
  return {
    dir,
    mount,
    mounts: sim?.mounts ?? [mount],
    library,
    get sim() {
      if (sim === undefined) throw new Error('this test needs the simulator');
      return sim;
    },
    tool() {
      const tool = new SimTool(build.simtool, library);
      tools.push(tool);
      return tool;
    },
    lfs,
    async state(path) {
      const { stdout } = await lfs('hsm_state', path);
      return stdout.slice(path.length + 2).trimEnd();
    },
    async settled(path) {
      if (sim !== undefined) {
        await sim.requestReaches(path, ['SUCCEED', 'FAILED', 'CANCELED']);
        return;
      }
      while (!(await lfs('hsm_action', path)).stdout.includes('NOOP')) await sleep(200);
    },
  };
}

/** Makes a file, archives it with the tool that stands ready, and releases it when told to. */
export async function archivedFile(
  f: Fixture,
  tool: SimTool,
  path: string,
  options: { release?: boolean } = {},
): Promise<void> {
  const { code, stderr } = await f.lfs('hsm_archive', path);
  if (code !== 0) throw new Error(stderr);
  await tool.archiveOne(await tool.item());
  if (options.release === true) {
    const released = await f.lfs('hsm_release', path);
    if (released.code !== 0) throw new Error(released.stderr);
  }
}

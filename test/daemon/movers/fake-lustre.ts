// As much of a Lustre file system as movers use, over a temporary folder and one process: FIDs, xattrs in memory, data
// versions that follow content. For the tests beside it; test/lustre-sim is the simulator of the whole.
import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  futimesSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
  type BigIntStats,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { HsmStateFlag } from '../../../native-bindings/constants.js';
import { LhsmError } from '../../../native-bindings/errors.js';
import {
  formatFid,
  type DataState,
  type Fid,
  type FileLook,
  type FileTimes,
  type Lustre,
  type XattrChange,
  type XattrChanges,
} from '../../../native-bindings/lustre.js';

interface Node {
  readonly fid: Fid;
  /** Relative to the mount; empty once it is unlinked. */
  readonly paths: string[];
  /** The bytes of a path that is not UTF-8; fidToPath gives them instead. */
  rawPath: Buffer | undefined;
  readonly xattrs: Map<string, Buffer>;
  states: number;
  /** What setTimes was last asked for: the kernel lets nobody set ctime on an ordinary file system. */
  putBack: FileTimes | undefined;
  /** The attributes before the first change of an xattr. */
  before: BigIntStats | undefined;
}

type Used = Pick<
  Lustre,
  | 'fsname'
  | 'fidToPath'
  | 'openByFid'
  | 'dataVersion'
  | 'dataState'
  | 'look'
  | 'lookByFid'
  | 'changeXattrs'
  | 'getXattrPath'
  | 'pathToFid'
  | 'setXattr'
  | 'setTimes'
  | 'hsmStateFd'
  | 'setHsmStateFd'
>;
/** Runs before a call; throws to make it fail. `subject` is the xattr's name, where there is one. */
type Hook = (subject?: string) => void;
/** What may be hooked: calls, and the removals that changeXattrs makes. */
type Step = keyof Used | 'removeXattr';

export class FakeLustre implements Used {
  readonly mount = mkdtempSync(join(tmpdir(), 'lhsm-movers-'));
  readonly #nodes = new Map<string, Node>();
  readonly #byInode = new Map<bigint, Node>();
  readonly #hooks = new Map<string, Hook>();
  #nextOid = 1;
  name = 'fake';

  /** As the daemon takes it. */
  get asLustre(): Lustre {
    return this as unknown as Lustre;
  }

  close(): void {
    rmSync(this.mount, { recursive: true, force: true });
  }

  /** Calls `hook` before each call of the method, until another one is set. */
  before(method: Step, hook: Hook): void {
    this.#hooks.set(method, hook);
  }

  /** The daemon is dead: nothing that it still tries changes anything. */
  kill(): void {
    const dead = (): void => {
      throw new LhsmError('killed', { code: 'EIO', op: 'test' });
    };
    for (const method of ['setXattr', 'removeXattr', 'setTimes'] as const) this.before(method, dead);
  }

  /** All is well again. */
  revive(): void {
    this.#hooks.clear();
  }

  create(path: string, content: string | Buffer, fid?: Fid): Fid {
    const full = join(this.mount, path);
    mkdirSync(dirname(full), { recursive: true });
    writeFileSync(full, content, { flag: 'wx' });
    return this.adopt(path, fid);
  }

  /** Gives a FID to what stands at `path`. */
  adopt(path: string, fid: Fid = { seq: 0x200000401n, oid: this.#nextOid++, ver: 0 }): Fid {
    const node: Node = {
      fid,
      paths: [path],
      rawPath: undefined,
      xattrs: new Map(),
      states: 0,
      putBack: undefined,
      before: undefined,
    };
    this.#nodes.set(formatFid(fid), node);
    this.#byInode.set(statSync(join(this.mount, path), { bigint: true }).ino, node);
    return fid;
  }

  rename(from: string, to: string): void {
    mkdirSync(dirname(join(this.mount, to)), { recursive: true });
    renameSync(join(this.mount, from), join(this.mount, to));
    for (const { paths } of this.#nodes.values()) {
      const at = paths.indexOf(from);
      if (at >= 0) paths[at] = to;
    }
  }

  link(from: string, to: string): void {
    linkSync(join(this.mount, from), join(this.mount, to));
    this.#at(from).paths.push(to);
  }

  unlink(path: string): void {
    const node = this.#at(path);
    unlinkSync(join(this.mount, path));
    node.paths.splice(node.paths.indexOf(path), 1);
  }

  write(path: string, content: string | Buffer): void {
    writeFileSync(join(this.mount, path), content);
  }

  read(path: string): Buffer {
    return readFileSync(join(this.mount, path));
  }

  node(fid: Fid): Node {
    const node = this.#nodes.get(formatFid(fid));
    if (!node) throw this.#error('ENOENT', 'node');
    return node;
  }

  xattr(fid: Fid, name: string): string | undefined {
    return this.node(fid).xattrs.get(name)?.toString();
  }

  fsname(): string {
    return this.name;
  }

  fidToPath(_mount: string, fid: Fid, link = 0): Promise<Buffer> {
    return this.#call('fidToPath', () => {
      const { paths, rawPath } = this.node(fid);
      if (rawPath) return rawPath;
      // Past the last link Lustre answers with one that was there before.
      const path = paths[Math.min(link, paths.length - 1)];
      if (path === undefined) throw this.#error('ENOENT', 'llapi_fid2path');
      return Buffer.from(path);
    });
  }

  openByFid(_mount: string, fid: Fid, flags: number): Promise<number> {
    return this.#call('openByFid', () => {
      const path = this.node(fid).paths[0];
      if (path === undefined) throw this.#error('ENOENT', 'llapi_open_by_fid');
      return openSync(join(this.mount, path), flags);
    });
  }

  dataVersion(fd: number): Promise<bigint> {
    return this.#call('dataVersion', () => {
      const flag = constants.O_RDONLY | constants.O_NOATIME;
      const bytes = readFileSync(`/proc/self/fd/${fd}`, { flag: flag as unknown as string });
      return createHash('sha256').update(bytes).digest().readBigUInt64LE();
    });
  }

  async dataState(fd: number): Promise<DataState> {
    const { states } = await this.hsmStateFd(fd);
    const isReleased = (states & HsmStateFlag.RELEASED) !== 0;
    const dataVersion = isReleased ? 0n : await this.dataVersion(fd);
    return { states, dataVersion, attributes: fstatSync(fd, { bigint: true }) };
  }

  look(fd: number, names: readonly string[]): Promise<FileLook> {
    return this.#call('look', () => ({
      attributes: fstatSync(fd, { bigint: true }),
      xattrs: names.map((name) => this.#of(fd)?.xattrs.get(name)),
    }));
  }

  async lookByFid(mount: string, fid: Fid, names: readonly string[]): Promise<FileLook> {
    const fd = await this.openByFid(mount, fid, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      return await this.look(fd, names);
    } finally {
      closeSync(fd);
    }
  }

  async changeXattrs(fd: number, changes: readonly XattrChange[]): Promise<XattrChanges> {
    const before = fstatSync(fd, { bigint: true });
    let made = 0;
    let failure: LhsmError | undefined;
    try {
      for (const { name, value } of changes) {
        if (value) await this.setXattr(fd, name, value);
        else if (this.#of(fd)?.xattrs.has(name)) await this.#removeXattr(fd, name);
        made += 1;
      }
    } catch (error) {
      if (!(error instanceof LhsmError)) throw error;
      failure = error;
    }
    return { before, after: fstatSync(fd, { bigint: true }), made, failure };
  }

  getXattrPath(path: string | Buffer, name: string): Promise<Buffer | undefined> {
    return this.#call('getXattrPath', () => this.#atFull(path).xattrs.get(name), name);
  }

  pathToFid(path: string | Buffer): Promise<Fid> {
    return this.#call('pathToFid', () => this.#atFull(path).fid);
  }

  setXattr(fd: number, name: string, value: Buffer): Promise<void> {
    return this.#call('setXattr', () => this.#change(fd)?.xattrs.set(name, value), name).then(
      () => undefined,
    );
  }

  #removeXattr(fd: number, name: string): Promise<void> {
    return this.#call('removeXattr', () => void this.#change(fd)?.xattrs.delete(name), name);
  }

  setTimes(fd: number, times: FileTimes): Promise<void> {
    return this.#call('setTimes', () => {
      futimesSync(fd, Number(times.atimeNs) / 1e9, Number(times.mtimeNs) / 1e9);
      const node = this.#of(fd);
      if (node) node.putBack = times;
    });
  }

  hsmStateFd(fd: number): ReturnType<Lustre['hsmStateFd']> {
    return this.#call('hsmStateFd', () => ({
      states: this.#of(fd)?.states ?? 0,
      archiveId: 1,
      inProgressState: 0,
      inProgressAction: 0,
      inProgressExtent: { offset: 0n, length: 0n },
    }));
  }

  setHsmStateFd(...[fd, change]: Parameters<Lustre['setHsmStateFd']>): Promise<void> {
    return this.#call('setHsmStateFd', () => {
      const node = this.#change(fd);
      if (node) node.states = (node.states | change.set) & ~change.clear;
    });
  }

  /** As the MDT answers a release: false is EPERM. */
  release(fid: Fid): boolean {
    const node = this.node(fid);
    const { EXISTS, ARCHIVED, DIRTY, NORELEASE, LOST, RELEASED } = HsmStateFlag;
    const needed = EXISTS | ARCHIVED;
    if ((node.states & (needed | DIRTY | NORELEASE | LOST)) !== needed) return false;
    node.states |= RELEASED;
    return true;
  }

  #at(path: string): Node {
    for (const node of this.#nodes.values()) if (node.paths.includes(path)) return node;
    throw this.#error('ENOENT', path);
  }

  #atFull(path: string | Buffer): Node {
    return this.#at(path.toString().slice(this.mount.length + 1));
  }

  #of(fd: number): Node | undefined {
    return this.#byInode.get(fstatSync(fd, { bigint: true }).ino);
  }

  /** The node, its ctime moved as a change of an xattr moves it. */
  #change(fd: number): Node | undefined {
    const node = this.#of(fd);
    const before = fstatSync(fd, { bigint: true });
    if (node) node.before ??= before;
    fchmodSync(fd, Number(before.mode) & 0o7777);
    return node;
  }

  #call<T>(method: Step, answer: () => T, subject?: string): Promise<T> {
    // As in the binding, nothing is answered in the same turn.
    return new Promise((resolve) => setImmediate(resolve)).then(() => {
      this.#hooks.get(method)?.(subject);
      return answer();
    });
  }

  #error(code: string, op: string): LhsmError {
    return new LhsmError(`${op}: ${code}`, { code, op });
  }
}

/** A descriptor of the path, closed when `use` ends. */
export async function withOpen<T>(path: string, flags: string, use: (fd: number) => Promise<T>): Promise<T> {
  const fd = openSync(path, flags);
  try {
    return await use(fd);
  } finally {
    closeSync(fd);
  }
}

// A bench for the items of an import: a simulated Lustre through the real binding, and a container that is a map.
// The tests beside it call it.
import { callThreads } from '../../../native-bindings/call-threads.js';
import { readdirSync } from 'node:fs';
import { lstat, mkdir, readdir, readlink, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { execFile } from 'node:child_process';
import type { Test } from 'tap';
import type { ListedBlob } from '../../../daemon/blobs/listing.js';
import { DirectoryCache } from '../../../daemon/jobs/directories.js';
import { importItem, type ItemOutcome, type ItemTools } from '../../../daemon/jobs/import-item.js';
import { importPage } from '../../../daemon/jobs/import-page.js';
import type { ImportSpec } from '../../../daemon/jobs/job.js';
import { HsmStateFlag, UserAction } from '../../../native-bindings/constants.js';
import { LhsmError } from '../../../native-bindings/errors.js';
import { loadLustre } from '../../../native-bindings/liblustreapi.js';
import type { Lustre } from '../../../native-bindings/lustre.js';
import { Share } from '../../../daemon/share.js';
import { LustreSim } from '../../lustre-sim/lustre-sim.js';

export const noSignal = new AbortController().signal;
export const CONTAINER = 'box';
export const MTIME_NS = 1_700_000_000_123_456_789n;

/** What the metadata of `blob` says. */
export const OWNED = { uid: 1001, gid: 1002, mtimeNs: MTIME_NS };

/** A listed blob of ours with attributes, as an archive or export writes it. */
export function blob(
  name: string,
  metadata: Record<string, string> = {},
  more: Partial<ListedBlob> = {},
): ListedBlob {
  return {
    name,
    sizeBytes: 5,
    etag: '"0x1"',
    blobType: 'BlockBlob',
    accessTier: 'Hot',
    lastModified: new Date(1_600_000_000_000),
    metadata: {
      owner: '1001',
      group: '1002',
      permissions: '0640',
      modtime_ns: String(MTIME_NS),
      ...metadata,
    },
    ...more,
  };
}

export const directoryBlob = (name: string, metadata: Record<string, string> = {}): ListedBlob =>
  blob(name, { hdi_isfolder: 'true', permissions: '1750', ...metadata }, { sizeBytes: 0 });

export const symlinkBlob = (name: string, target = 'target'): ListedBlob =>
  blob(name, { ftype: 'LNK', is_symlink: 'true' }, { sizeBytes: Buffer.byteLength(target) });

/** Descriptors of this process; those of the listing itself left out. */
export function openDescriptors(): number {
  // Its pipe stays open from the first call on.
  callThreads();
  return readdirSync('/proc/self/fd').length;
}

/** One entry of a tree: type, attributes, and content, target or state. */
export interface Seen {
  readonly type: 'file' | 'directory' | 'symlink' | 'other';
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeNs: bigint;
  readonly size: bigint;
  readonly ino: bigint;
  /** HsmStateFlag bits of a file. */
  readonly states?: number;
  readonly target?: string;
  readonly uuid?: string | undefined;
  readonly etag?: string | undefined;
}

export type SeenTree = Readonly<Record<string, Seen>>;

export interface RunOptions {
  readonly spec?: Partial<ImportSpec>;
  readonly tools?: Partial<ItemTools>;
}

export class ImportBench {
  readonly sim: LustreSim;
  readonly lustre: Lustre;
  /** Bodies by name; what is not in it is missing. */
  readonly bodies = new Map<string, string | Buffer | Error>();
  /** Names whose bodies were asked for. */
  readonly reads: string[] = [];
  /** Calls of Lustre by name, since it was last cleared. */
  readonly calls: string[] = [];
  /** Everything that went through the share, Lustre's calls included. */
  shared = 0;
  readonly noted: { readonly path: string; readonly mtimeNs: bigint }[] = [];

  private constructor(sim: LustreSim) {
    this.sim = sim;
    this.lustre = loadLustre({ library: sim.library });
  }

  static async start(t: Test, tunables: Record<string, string> = {}): Promise<ImportBench> {
    const sim = await LustreSim.start({ tunables });
    t.teardown(() => sim.stop());
    return new ImportBench(sim);
  }

  path(...parts: string[]): string {
    return join(this.sim.mount, ...parts);
  }

  container(prefix = ''): ItemTools['container'] {
    const unused = (): never => {
      throw new Error('not to be called');
    };
    return {
      archiveId: 1,
      container: CONTAINER,
      prefix,
      naming: 'path',
      location: unused,
      properties: () => Promise.resolve(undefined),
      putEmpty: unused,
      delete: unused,
      probe: unused,
      readSmall: (name: string, maxBytes: number) => {
        this.reads.push(name);
        const body = this.bodies.get(name);
        if (body instanceof Error) return Promise.reject(body);
        if (body === undefined) {
          return Promise.reject(
            new LhsmError(`${name} is missing`, { code: 'BLOB_MISSING', op: 'Get Blob', errno: 2 }),
          );
        }
        return Promise.resolve(Buffer.from(body).subarray(0, maxBytes + 1));
      },
    } as unknown as ItemTools['container'];
  }

  spec(changes: Partial<ImportSpec> = {}): ImportSpec {
    return {
      kind: 'import',
      name: 'test',
      archiveId: 1,
      prefixes: ['/'],
      conflictMode: 'fail',
      maximumErrors: -1,
      dryRun: false,
      attributesOnly: false,
      logItems: false,
      ...changes,
    };
  }

  /** Lends the tools of one run; their directories are closed at the end. */
  async withTools<T>(options: RunOptions, use: (tools: ItemTools) => Promise<T>): Promise<T> {
    const inner = new Share(16);
    const share = {
      run: <R>(work: () => Promise<R>): Promise<R> => {
        this.shared += 1;
        return inner.run(work);
      },
    };
    const defaults = { uid: 0, gid: 0, mode: 0o755 };
    const directories = new DirectoryCache({ mount: this.sim.mount, share, defaults });
    const tools: ItemTools = {
      lustre: this.#counting(),
      mount: this.sim.mount,
      container: this.container(),
      directories,
      spec: this.spec(options.spec),
      attributes: {},
      share,
      startedNs: BigInt(Date.now()) * 1_000_000n + 60_000_000_000n,
      resumed: false,
      directoryTimes: {
        note: (path, mtimeNs) => this.noted.push({ path: path.toString(), mtimeNs }),
      },
      ...options.tools,
    };
    try {
      return await use(tools);
    } finally {
      directories.close();
    }
  }

  /** One after the other, so that their order is certain. */
  import(blobs: ListedBlob | ListedBlob[], options: RunOptions = {}): Promise<ItemOutcome> {
    return this.withTools(options, async (tools) => {
      const all = { counts: {} as Record<string, number>, entries: [] as ItemOutcome['entries'] };
      for (const one of [blobs].flat()) {
        const { counts, entries } = await importItem(one, tools, noSignal);
        for (const [key, value] of Object.entries(counts)) all.counts[key] = (all.counts[key] ?? 0) + value;
        all.entries.push(...entries);
      }
      return all;
    });
  }

  page(blobs: readonly ListedBlob[], options: RunOptions = {}, atOnce = 8): Promise<ItemOutcome[]> {
    return this.withTools(options, (tools) => importPage(blobs, tools, atOnce, noSignal));
  }

  async look(path: string): Promise<Seen | undefined> {
    const full = this.path(path);
    const stat = await lstat(full, { bigint: true }).catch(() => undefined);
    if (!stat) return undefined;
    const type = stat.isFile()
      ? 'file'
      : stat.isDirectory()
        ? 'directory'
        : stat.isSymbolicLink()
          ? 'symlink'
          : 'other';
    const { size, mtimeNs, ino } = stat;
    const text = async (name: string): Promise<string | undefined> =>
      (await this.lustre.getXattrPath(full, name))?.toString();
    return {
      type,
      mode: Number(stat.mode) & 0o7777,
      uid: Number(stat.uid),
      gid: Number(stat.gid),
      mtimeNs,
      size,
      ino,
      ...(type === 'symlink' ? { target: await readlink(full) } : {}),
      ...(type === 'file'
        ? {
            states: (await this.lustre.hsmState(full)).states,
            uuid: await text('trusted.lhsm_uuid'),
            etag: await text('trusted.lhsm_etag'),
          }
        : {}),
    };
  }

  /** Everything below a directory. */
  async tree(below = ''): Promise<SeenTree> {
    const tree: Record<string, Seen> = {};
    for (const name of await readdir(this.path(below), { recursive: true })) {
      if (name.startsWith('.lustre')) continue;
      const seen = await this.look(join(below, name));
      if (seen) tree[join(below, name)] = seen;
    }
    return tree;
  }

  /** A file that was there before, in a state. `etag`: the version that it remembers of the blob of its name. */
  async file(path: string, states = 0, etag?: string, content = 'hello'): Promise<void> {
    const full = this.path(path);
    await writeFile(full, content);
    if (etag !== undefined) {
      await this.lustre.setXattrPath(full, 'trusted.lhsm_uuid', Buffer.from(`az://${CONTAINER}/${path}`));
      await this.lustre.setXattrPath(full, 'trusted.lhsm_etag', Buffer.from(etag));
    }
    const { RELEASED } = HsmStateFlag;
    if (states !== 0)
      await this.lustre.setHsmState(full, { set: states & ~RELEASED, clear: 0, archiveId: 1 });
    if ((states & RELEASED) !== 0) {
      const fid = await this.lustre.pathToFid(full);
      await this.lustre.request(this.sim.mount, { action: UserAction.RELEASE, archiveId: 0, fids: [fid] });
    }
  }

  async mkdir(path: string): Promise<void> {
    await mkdir(this.path(path), { recursive: true });
  }

  symlink(target: string, path: string): Promise<void> {
    return symlink(target, this.path(path));
  }

  async fifo(path: string): Promise<void> {
    await promisify(execFile)('mkfifo', [this.path(path)]);
  }

  #counting(): Lustre {
    return new Proxy(this.lustre, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]): unknown => {
          this.calls.push(String(name));
          return Reflect.apply(value, target, args);
        };
      },
    });
  }
}

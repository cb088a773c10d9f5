// A bench for movers: a container of its own in Azurite, the real engine, a fake Lustre, and counters of requests.
// The tests beside it call it.
import { readFileSync, readdirSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import type { Test } from 'tap';
import type { ContainerClient } from '@azure/storage-blob';
import { createArchiveContainer } from '../../../daemon/blobs/azure-container.js';
import { archive } from '../../../daemon/movers/archive.js';
import type { Mover, MoverOutcome, MoverPolicy, MoverTools } from '../../../daemon/movers/mover.js';
import { remove } from '../../../daemon/movers/remove.js';
import { restore } from '../../../daemon/movers/restore.js';
import { UNLIMITED } from '../../../daemon/share.js';
import { createTransferEngine } from '../../../daemon/transfer/engine.js';
import { newCounters, type TransferEngine } from '../../../daemon/transfer/transfer.js';
import { WHOLE_FILE } from '../../../native-bindings/constants.js';
import type { HostOs } from '../../../native-bindings/host.js';
import { formatFid, type ActionItem, type Fid } from '../../../native-bindings/lustre.js';
import type { Azurite } from '../../helpers/azurite.js';
import { FakeLustre, withOpen } from './fake-lustre.js';
import type { ArchiveContainer } from '../../../daemon/blobs/archive-container.js';

export interface BenchOptions {
  readonly naming?: 'path' | 'fid';
  readonly prefix?: string;
  readonly policy?: Partial<MoverPolicy>;
  readonly blockSizeBytes?: number;
  readonly putBlobMaxBytes?: number;
  /** The file system; a new one otherwise. */
  readonly lustre?: FakeLustre;
  /** The offset of the first hole of every file. */
  readonly firstHole?: bigint;
  /** The container's name, which then exists. */
  readonly container?: string;
}

export interface Restored {
  readonly content: Buffer;
  readonly blocks: number;
  readonly outcome: MoverOutcome;
  readonly requests: number;
}

let containers = 0;

/** Names are unique within one Azurite. */
export class Bench {
  readonly lustre: FakeLustre;
  readonly client: ContainerClient;
  readonly container: ArchiveContainer;
  readonly tools: MoverTools;
  /** Requests to the service since it was last set. */
  requests = 0;
  /** What movers asked to be admitted for, in order. */
  readonly admitted: { readonly sizeBytes: bigint; readonly blob: string }[] = [];
  /** Runs when an upload has been committed. */
  afterUpload: (() => void) | undefined;
  /** Runs before an upload's second look at the data version. */
  beforeCommit: (() => unknown) | undefined;
  /** Runs between the look at a blob and its deletion. */
  beforeDelete: (() => Promise<void>) | undefined;
  /** What movers wait for before content moves. */
  gate: () => Promise<void> = () => Promise.resolve();
  readonly signal = new AbortController();

  private constructor(
    client: ContainerClient,
    container: ArchiveContainer,
    engine: TransferEngine,
    options: BenchOptions,
  ) {
    this.lustre = options.lustre ?? new FakeLustre();
    this.client = client;
    this.container = this.#counting(container);
    const host = { nextHole: () => Promise.resolve(options.firstHole ?? 1n << 60n) } as unknown as HostOs;
    const policy = {
      restoreChanged: 'fail',
      archiveChanged: 'refuse',
      keepSetId: false,
      ...options.policy,
    } as const;
    const { lustre } = this;
    this.tools = {
      mount: lustre.mount,
      lustre: lustre.asLustre,
      host,
      transfer: this.#watched(engine),
      share: UNLIMITED,
      policy,
    };
  }

  static async start(t: Test, azurite: Azurite, options: BenchOptions = {}): Promise<Bench> {
    const name = options.container ?? `bench-${process.pid}-${++containers}`;
    const client = await azurite.container(name);
    const container = createArchiveContainer(
      {
        id: 1,
        container: name,
        prefix: options.prefix ?? '',
        naming: options.naming ?? 'path',
        credential: { type: 'connection-string', file: azurite.connectionStringFile },
      },
      { maxTries: 2, retryDelayMs: 1 },
    );
    const engine = createTransferEngine({
      workers: 0,
      blockSizeBytes: options.blockSizeBytes ?? 1 << 20,
      putBlobMaxBytes: options.putBlobMaxBytes ?? 1 << 20,
      rangesPerFile: 2,
      maxBufferBytes: 8 << 20,
      maxTries: 2,
      stallTimeoutMs: 10_000,
      retryDelayMs: 1,
    });
    const bench = new Bench(client, container, engine, options);
    t.teardown(async () => {
      await engine.close();
      container.close();
      const left = bench.openDescriptors();
      bench.lustre.close();
      if (left > 0) throw new Error(`${left} descriptors of files are left open`);
    });
    return bench;
  }

  item(fid: Fid, data = Buffer.alloc(0)): ActionItem {
    return {
      action: 0,
      fid,
      dfid: fid,
      extent: { offset: 0n, length: WHOLE_FILE },
      cookie: 1n,
      gid: 0n,
      data,
      raw: Buffer.alloc(0),
    };
  }

  /** Archives the file as the daemon does, through a descriptor that outlives renames and unlinks. */
  async archive(fid: Fid, path = this.lustre.node(fid).paths[0] ?? ''): Promise<MoverOutcome> {
    return withOpen(join(this.lustre.mount, path), 'r', (fd) => this.run(archive, fid, fd));
  }

  async remove(fid: Fid): Promise<MoverOutcome> {
    return this.run(remove, fid, -1);
  }

  /** Restores into a new file and answers what is in it then. */
  async restore(fid: Fid): Promise<Restored> {
    const volatile = join(this.lustre.mount, '.volatile');
    try {
      this.requests = 0;
      const outcome = await withOpen(volatile, 'wx', (fd) => this.run(restore, fid, fd));
      const { blocks } = statSync(volatile);
      return {
        content: readFileSync(volatile),
        blocks,
        outcome,
        requests: this.requests,
      };
    } finally {
      rmSync(volatile, { force: true });
    }
  }

  async run(mover: Mover, fid: Fid, fd: number): Promise<MoverOutcome> {
    const log = pino({ level: 'silent' });
    const counters = newCounters();
    const item = this.item(fid, Buffer.from([0xff, 0x00]));
    const admit = (sizeBytes: bigint, blob: string): Promise<void> => {
      this.admitted.push({ sizeBytes, blob });
      return this.gate();
    };
    try {
      return await mover(
        { item, container: this.container, fd, counters, log, admit },
        this.tools,
        this.signal.signal,
      );
    } finally {
      this.requests += counters.requests;
    }
  }

  async blobs(): Promise<string[]> {
    const names: string[] = [];
    for await (const { name } of this.client.listBlobsFlat()) names.push(name);
    return names.sort();
  }

  async content(name: string): Promise<string> {
    return (await this.client.getBlobClient(name).downloadToBuffer()).toString();
  }

  async metadata(name: string): Promise<Record<string, string>> {
    return (await this.client.getBlobClient(name).getProperties()).metadata ?? {};
  }

  async etag(name: string): Promise<string | undefined> {
    return (await this.client.getBlobClient(name).getProperties()).etag;
  }

  /** A blob as somebody else writes it. */
  async put(name: string, content: string, metadata: Record<string, string> = {}): Promise<void> {
    await this.client.getBlockBlobClient(name).upload(content, Buffer.byteLength(content), { metadata });
  }

  /** Somebody else's new content under the metadata that is there, as tools write it that mount a container. */
  async edit(name: string, content: string): Promise<void> {
    await this.put(name, content, await this.metadata(name));
  }

  /** The metadata of a file of this file system, as an archive writes it. */
  ownedBy(fid: Fid): Record<string, string> {
    return { lustre_fid: formatFid(fid), lustre_fs: this.lustre.name };
  }

  openDescriptors(): number {
    const targets = readdirSync('/proc/self/fd').map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return '';
      }
    });
    return targets.filter((target) => target.startsWith(this.lustre.mount)).length;
  }

  #counting(container: ArchiveContainer): ArchiveContainer {
    const count = <T>(answer: T): T => {
      this.requests += 1;
      return answer;
    };
    return {
      archiveId: container.archiveId,
      container: container.container,
      prefix: container.prefix,
      naming: container.naming,
      location: (name) => container.location(name),
      properties: (...args) => count(container.properties(...args)),
      putEmpty: (...args) => count(container.putEmpty(...args)),
      setMetadata: (...args) => count(container.setMetadata(...args)),
      putSmall: (...args) => count(container.putSmall(...args)),
      delete: async (...args) => {
        await this.beforeDelete?.();
        await count(container.delete(...args));
      },
      probe: (...args) => count(container.probe(...args)),
      readSmall: (...args) => count(container.readSmall(...args)),
      listing: (...args) => count(container.listing(...args)),
    };
  }

  #watched(engine: TransferEngine): TransferEngine {
    return {
      download: (...args) => engine.download(...args),
      upload: async (request, signal) => {
        const beforeCommit = async (): Promise<void> => {
          await this.beforeCommit?.();
          await request.beforeCommit();
        };
        const result = await engine.upload({ ...request, beforeCommit }, signal);
        this.afterUpload?.();
        return result;
      },
      close: () => engine.close(),
    };
  }
}

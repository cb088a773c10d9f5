// The export of a tree's new and changed files: looks for them, then asks the coordinator for their archives, chunk by chunk;
// every agent of the file system shares the work. The runner drives it; what is decided is in docs/decisions/jobs.md.
import type { RequestNotice } from './asked-file.js';
import { join } from 'node:path';
import type { Lustre } from '../../native-bindings/lustre.js';
import type { ArchiveContainer } from '../blobs/archive-container.js';
import type { AgentEmitter } from '../events.js';
import type { MoverPolicy } from '../movers/mover.js';
import { Share } from '../share.js';
import { DirectoryCache } from './directories.js';
import { tooManyErrors } from './error-budget.js';
import { ExportChunks, type ChunksSnapshot } from './export-chunks.js';
import type { NameTools } from './export-names.js';
import { workOf } from './export-outcome.js';
import { ExportRequests } from './export-requests.js';
import { scan, startOf } from './export-scan.js';
import { CHUNK_RECORDS, ExportSpool, type SpoolRecord } from './export-spool.js';
import { unknownArchive } from './import.js';
import type { ExportCounts, ExportSpec, LogEntry } from './job.js';
import { isLeft, type JobWork, type WorkContext, type WorkMaker, type WorkProgress } from './job-work.js';
import { PathCalls } from './path-calls.js';
import type { RequestTimings } from './request-options.js';
import type { JobPlace } from './runner-options.js';
import { PathResolver } from './walked-file.js';

export interface ExportTools {
  readonly mount: string;
  readonly lustre: Lustre;
  /** The container of an archive id of the configuration; undefined when there is none. */
  readonly container: (archiveId: number) => ArchiveContainer | undefined;
  readonly policy: () => MoverPolicy;
  /** Of this node's agent. */
  readonly events: Pick<AgentEmitter, 'on'>;
  /** Where agents leave the reasons of failures. */
  readonly place: (signal: AbortSignal) => Promise<JobPlace>;
  /** For tests. */
  readonly timings?: Partial<RequestTimings>;
}

const LOOKS_AT_ONCE = 8;
/** Of a job that ends while it still looks for files: what it has to say of those found. */
const MAX_TOLD = 10_000;

/** What a restart goes on from, once everything is found. */
interface ExportSnapshot {
  readonly spoolBytes: number;
  /** Of everything, in units of `workOf`. */
  readonly total: number;
  readonly chunks: ChunksSnapshot;
}

class ExportWork implements JobWork {
  readonly #spec: ExportSpec;
  readonly #context: WorkContext;
  readonly #tools: ExportTools;
  readonly #container: ArchiveContainer;
  readonly #names: NameTools;
  readonly #closing = new AbortController();
  #chunks: ExportChunks;
  #spool: ExportSpool | undefined;
  #isScanned = false;
  #total = 0;
  #requests: ExportRequests | undefined;
  #reported: Promise<unknown> = Promise.resolve();

  constructor(spec: ExportSpec, context: WorkContext, tools: ExportTools, container: ArchiveContainer) {
    this.#spec = spec;
    this.#context = context;
    this.#tools = tools;
    this.#container = container;
    const { mount, lustre } = tools;
    const share = new Share(LOOKS_AT_ONCE);
    this.#names = {
      mount,
      lustre,
      policy: tools.policy(),
      container,
      directories: new DirectoryCache({ mount, share, defaults: { uid: 0, gid: 0, mode: 0o755 } }),
      calls: new PathCalls(share),
      log: context.log,
    };
    this.#chunks = this.#newChunks(undefined);
  }

  #newChunks(before: ChunksSnapshot | undefined): ExportChunks {
    return new ExportChunks(before, (entries) => {
      this.#report(entries);
    });
  }

  /** Takes up what a former process has found, if it is all there; otherwise the tree is looked at again. */
  async open(): Promise<void> {
    const before = this.#context.snapshot as ExportSnapshot | undefined;
    if (!before) return;
    this.#spool = await ExportSpool.reopen(this.#spoolPath, before.spoolBytes);
    if (!this.#spool) {
      this.#context.log.warn(
        'export: what was found is not on the local disk any more; the tree is walked again',
      );
      return;
    }
    this.#chunks = this.#newChunks(before.chunks);
    this.#total = before.total;
    this.#isScanned = true;
  }

  get #spoolPath(): string {
    return join(this.#context.scratch, 'export');
  }

  async run(signal: AbortSignal, save: () => Promise<void>): Promise<void> {
    if (!this.#isScanned) {
      await this.#scan(signal);
      // Before the first is asked for: after a restart, what was exported would be taken for what was so before.
      await save();
    }
    if (this.#spec.dryRun) await this.#reportFound(signal);
    else await this.#export(signal);
  }

  counts(): ExportCounts {
    return this.#chunks.counts();
  }

  isPartial(): boolean {
    const { totalErrors, totalFilesFailed } = this.counts();
    return totalErrors > 0 || totalFilesFailed > 0;
  }

  snapshot(): ExportSnapshot | undefined {
    if (!this.#isScanned || !this.#spool) return undefined;
    return { spoolBytes: this.#spool.sizeBytes, total: this.#total, chunks: this.#chunks.snapshot() };
  }

  flush(): Promise<void> {
    // There is no snapshot before the spool is on disk.
    return Promise.resolve();
  }

  settle(): void {
    this.#chunks.settleAll();
  }

  state(): 'FSScanInProgress' | 'InProgress' {
    return this.#isScanned ? 'InProgress' : 'FSScanInProgress';
  }

  progress(): WorkProgress | undefined {
    return this.#isScanned ? { done: this.#chunks.done, total: this.#total } : undefined;
  }

  message(): string {
    if (!this.#isScanned) return 'Looking for new and changed files.';
    if (this.#spec.dryRun) return 'Reporting what an export would do.';
    return this.#requests?.notice?.message ?? 'Exporting.';
  }

  notice(): RequestNotice | undefined {
    return this.#requests?.notice;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#names.directories.close();
    await this.#spool?.close();
  }

  async #scan(signal: AbortSignal): Promise<void> {
    const { mount, lustre } = this.#tools;
    const scanning = { mount, lustre, container: this.#container, spec: this.#spec, parallel: LOOKS_AT_ONCE };
    const spool = (this.#spool = await ExportSpool.create(this.#spoolPath));
    try {
      for await (const batch of scan(scanning, signal)) {
        for (const { counts } of batch) this.#chunks.count(counts);
        const records = batch.flatMap((scanned) => scanned.records);
        for (const record of records) {
          if (record.kind === 'entry') continue;
          this.#total += workOf(record.kind === 'file' ? record.sizeBytes : 0n);
        }
        await spool.add(records);
        this.#refuseMoreErrors(entriesOf(records));
      }
      signal.throwIfAborted();
      await spool.finish();
    } catch (error) {
      if (!isLeft(signal)) await this.#tellFound(spool);
      throw error;
    }
    this.#isScanned = true;
  }

  /** The job ends before everything is found: what is wrong with what was. */
  async #tellFound(spool: ExportSpool): Promise<void> {
    try {
      await spool.finish();
    } catch {
      // The disk is full, say: then that is the reason.
      return;
    }
    let left = MAX_TOLD;
    for await (const { records } of spool.chunks(0, spool.sizeBytes, CHUNK_RECORDS)) {
      const told = entriesOf(records)
        .filter(({ kind }) => kind !== 'item')
        .slice(0, left);
      left -= told.length;
      this.#report(told);
      if (left === 0) return;
    }
  }

  /** A dry run: everything of its spool is an entry. */
  async #reportFound(signal: AbortSignal): Promise<void> {
    const spool = this.#spool;
    if (!spool) return;
    for (const [start, end] of [...this.#chunks.again]) {
      for await (const chunk of spool.chunks(start, end, Infinity)) this.#chunks.open(chunk);
    }
    for await (const chunk of spool.chunks(this.#chunks.next, spool.sizeBytes, CHUNK_RECORDS)) {
      this.#chunks.open(chunk);
      await this.#reported;
      signal.throwIfAborted();
    }
    await this.#reported;
  }

  async #export(signal: AbortSignal): Promise<void> {
    const spool = this.#spool;
    if (!spool) return;
    this.#requests = new ExportRequests({
      spec: this.#spec,
      jobId: this.#context.document.id,
      tools: this.#tools,
      names: this.#names,
      chunks: this.#chunks,
      spool,
      report: (entries) => {
        this.#report(entries);
      },
      reported: () => this.#reported,
      log: this.#context.log,
    });
    await this.#requests.run(signal);
  }

  #refuseMoreErrors(entries: readonly LogEntry[]): void {
    const last = entries.findLast(({ kind }) => kind === 'error');
    const tooMany = last && tooManyErrors(this.#spec, this.#chunks.errors, last);
    if (tooMany) throw tooMany;
  }

  /** Takes the entries in this tick; `#reported` settles when there is room for more. */
  #report(entries: readonly LogEntry[]): void {
    const { signal } = this.#closing;
    const added = entries.map((entry) => this.#context.report.add(entry, signal));
    this.#reported = Promise.all([this.#reported, ...added]);
    // Whoever awaits it next hears of it.
    this.#reported.catch(() => undefined);
  }
}

function entriesOf(records: readonly SpoolRecord[]): LogEntry[] {
  return records.flatMap((record) => (record.kind === 'entry' ? [record.entry] : []));
}

/** Makes exports. Before anything is touched it throws LhsmError: ARCHIVE_UNKNOWN, PATH_OUTSIDE_MOUNT, ENOENT … */
export function exportWork(tools: ExportTools): WorkMaker {
  return async (context) => {
    const { spec } = context.document;
    if (spec.kind !== 'export') throw new TypeError('not an export');
    const container = tools.container(spec.archiveId);
    if (!container) throw unknownArchive(spec.archiveId);
    // Of a job that goes on, everything may be found already.
    if (context.snapshot === undefined)
      await new PathResolver(tools.mount).resolve(startOf(tools.mount, spec));
    const work = new ExportWork(spec, context, tools, container);
    await work.open();
    return work;
  };
}

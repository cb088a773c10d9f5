// The import of a container's names: pages of the listing through importPage, counted when they are complete, and the
// times of directories at the end. The runner drives it.
import { join } from 'node:path';
import { describeError, LhsmError } from '../../native-bindings/errors.js';
import type { ArchiveContainer } from '../blobs/archive-container.js';
import type { ReadOptions } from '../blobs/attributes.js';
import type { ListedBlob } from '../blobs/listing.js';
import type { Lustre } from '../../native-bindings/lustre.js';
import { Share } from '../share.js';
import { DirectoryCache } from './directories.js';
import { DirectoryTimes } from './directory-times.js';
import { refuseNaming, type ItemOutcome, type ItemTools } from './import-item.js';
import { tooManyErrors } from './error-budget.js';
import { importPage } from './import-page.js';
import type { ImportCounts, ImportSpec, LogEntry } from './job.js';
import { addCounts, importCounts } from './job-counts.js';
import type { JobWork, WorkContext, WorkMaker } from './job-work.js';
import { listedPrefixes } from './prefixes.js';
import { parseWalkState, type WalkState } from './walk-state.js';
import { Walker } from './walker.js';

/** Directories whose times are set at once. */
const TIMES_AT_ONCE = 16;

export interface ImportTools {
  readonly mount: string;
  readonly lustre: Lustre;
  /** The container of an archive id of the configuration; undefined when there is none. */
  readonly container: (archiveId: number) => ArchiveContainer | undefined;
  /** What attributes are where blobs say nothing, and whose names are whose ids. */
  readonly attributes: (signal: AbortSignal) => Promise<ReadOptions>;
  readonly stubsAtOnce: () => number;
  readonly listingStreams: () => number;
  readonly pageSize: () => number;
}

/** What a restart goes on from. */
interface ImportSnapshot {
  readonly walk: WalkState;
  readonly counts: ImportCounts;
}

/** A page under way: what it has come to so far. */
interface OpenPage {
  readonly counts: ImportCounts;
  readonly entries: LogEntry[];
}

class ImportWork implements JobWork {
  readonly #spec: ImportSpec;
  readonly #context: WorkContext;
  readonly #walker: Walker;
  readonly #items: ItemTools;
  readonly #times: DirectoryTimes;
  /** Of complete pages. */
  readonly #counts: ImportCounts;
  readonly #open = new Set<OpenPage>();
  readonly #stubsAtOnce: number;
  readonly #closing = new AbortController();
  #reported: Promise<unknown> = Promise.resolve();
  #isSettingTimes = false;

  constructor(
    spec: ImportSpec,
    context: WorkContext,
    parts: { walker: Walker; items: ItemTools; times: DirectoryTimes; stubsAtOnce: number },
  ) {
    this.#spec = spec;
    this.#context = context;
    this.#walker = parts.walker;
    this.#items = parts.items;
    this.#times = parts.times;
    this.#stubsAtOnce = parts.stubsAtOnce;
    const before = context.snapshot as ImportSnapshot | undefined;
    this.#counts = { ...importCounts(), ...before?.counts };
  }

  async run(signal: AbortSignal): Promise<void> {
    await this.#walker.run((blobs, pageSignal) => this.#page(blobs, pageSignal), signal);
    this.#isSettingTimes = true;
    if (!this.#spec.dryRun) await this.#setDirectoryTimes(signal);
  }

  counts(): ImportCounts {
    const now = { ...this.#counts };
    for (const { counts } of this.#open) addCounts(now, counts);
    return now;
  }

  isPartial(): boolean {
    const { totalErrors, unresolvedConflicts } = this.#counts;
    return totalErrors > 0 || unresolvedConflicts > 0;
  }

  snapshot(): ImportSnapshot {
    return { walk: this.#walker.state(), counts: { ...this.#counts } };
  }

  flush(): Promise<void> {
    return this.#times.flush();
  }

  settle(): void {
    for (const page of this.#open) this.#complete(page);
  }

  message(): string {
    if (this.#isSettingTimes) return 'Setting the times of directories.';
    return this.#spec.dryRun ? 'Looking what an import would do.' : 'Importing.';
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#items.directories.close();
    await this.#times.close();
  }

  async #page(blobs: readonly ListedBlob[], signal: AbortSignal): Promise<() => void> {
    const page: OpenPage = { counts: importCounts(), entries: [] };
    this.#open.add(page);
    await this.#reported;
    await importPage(blobs, this.#items, this.#stubsAtOnce, signal, (outcome) => {
      this.#take(page, outcome);
    });
    return () => {
      this.#complete(page);
    };
  }

  /** Counts one item; throws when it was one error too many. */
  #take(page: OpenPage, { counts, entries }: ItemOutcome): void {
    addCounts(page.counts, { totalBlobsWalked: 1, ...counts });
    page.entries.push(...entries);
    const failed = entries.find(({ kind }) => kind === 'error');
    const tooMany = failed && tooManyErrors(this.#spec, this.counts().totalErrors, failed);
    if (tooMany) throw tooMany;
  }

  #complete(page: OpenPage): void {
    this.#open.delete(page);
    addCounts(this.#counts, page.counts);
    this.#report(page.entries);
  }

  /** Takes the entries in this tick; `#reported` settles when there is room for more. */
  #report(entries: readonly LogEntry[]): void {
    const { signal } = this.#closing;
    const added = entries.map((entry) => this.#context.report.add(entry, signal));
    // Nothing of what they resolve to is kept: it would grow with every page.
    this.#reported = Promise.all([this.#reported, ...added]).then(() => undefined);
    // Whoever awaits it next hears of it.
    this.#reported.catch(() => undefined);
  }

  /** Last of all, since making children moves them. A resume sets all of them again, and so counts anew. */
  async #setDirectoryTimes(signal: AbortSignal): Promise<void> {
    const stage: OpenPage = { counts: importCounts(), entries: [] };
    this.#open.add(stage);
    const underWay = new Set<Promise<void>>();
    try {
      for await (const { path, mtimeNs } of this.#times.entries()) {
        signal.throwIfAborted();
        const setting = this.#setDirectoryTime(stage, path, mtimeNs).finally(() => underWay.delete(setting));
        underWay.add(setting);
        if (underWay.size >= TIMES_AT_ONCE) await Promise.race(underWay);
      }
    } finally {
      await Promise.all(underWay);
    }
    this.#complete(stage);
    await this.#reported;
  }

  async #setDirectoryTime({ counts }: OpenPage, path: Buffer, mtimeNs: bigint): Promise<void> {
    const { directories, lustre, share } = this.#items;
    try {
      await directories.with(path, 'look', async (directory) => {
        if (!directory) return;
        await share.run(() => lustre.setMtimePath(directory.pathOf(Buffer.from('.')), mtimeNs));
      });
    } catch (error) {
      counts.totalWarnings += 1;
      const message = `The directory keeps the time of its last change: ${describeError(error)}`;
      this.#report([{ kind: 'warning', code: 'DIRECTORY_TIME', path: path.toString('utf8'), message }]);
    }
  }
}

/** Makes imports. Before anything is touched it throws LhsmError: ARCHIVE_UNKNOWN, IMPORT_NAMING, PREFIXES_OVERLAP, PREFIX_INVALID. */
export function importWork(tools: ImportTools): WorkMaker {
  return async (context, signal) => {
    const { spec } = context.document;
    if (spec.kind !== 'import') throw new TypeError('not an import');
    const container = tools.container(spec.archiveId);
    if (!container) throw unknownArchive(spec.archiveId);
    refuseNaming({ container });
    const listing = await container.listing(signal);
    const prefixes = listedPrefixes(spec.prefixes, {
      archivePrefix: container.prefix,
      hierarchical: listing.hierarchical,
    });
    const before = context.snapshot as ImportSnapshot | undefined;
    const attributes = await tools.attributes(signal);
    const walker = new Walker({
      listing,
      prefixes,
      streams: tools.listingStreams(),
      pageSize: tools.pageSize(),
      ...(before ? { state: parseWalkState(before.walk) } : {}),
    });
    const stubsAtOnce = tools.stubsAtOnce();
    const share = new Share(stubsAtOnce);
    // Last of what may fail: it holds a descriptor.
    const times = await DirectoryTimes.open(join(context.scratch, 'directory-times'));
    const items: ItemTools = {
      lustre: tools.lustre,
      mount: tools.mount,
      container,
      directories: new DirectoryCache({ mount: tools.mount, share, defaults: directoryDefaults(attributes) }),
      spec,
      attributes,
      share,
      startedNs: context.startedNs,
      resumed: context.document.resumes > 0,
      directoryTimes: times,
    };
    return new ImportWork(spec, context, { walker, items, times, stubsAtOnce });
  };
}

/** Of directories that no blob describes. */
function directoryDefaults({ defaults }: ReadOptions): { uid: number; gid: number; mode: number } {
  return { uid: defaults?.uid ?? 0, gid: defaults?.gid ?? 0, mode: defaults?.directoryMode ?? 0o755 };
}

export function unknownArchive(archiveId: number): LhsmError {
  return new LhsmError(`There is no archive with id ${archiveId} in the configuration.`, {
    code: 'ARCHIVE_UNKNOWN',
    op: 'start job',
    errno: 22,
    hint: 'Name one with --archive-id; lhsm-azblob status shows those that there are.',
  });
}

// Walks over a container's listing and hands its pages to the import, so that the walk can be taken up again from any
// state. The import job makes one. How prefixes are split: docs/decisions/jobs.md.
import { LhsmError } from '../../native-bindings/errors.js';
import { canceled } from '../azure-errors.js';
import type { BlobListing, ListedBlob, ListingPage } from '../blobs/listing.js';
import type { WalkPart, WalkState } from './walk-state.js';

/** A page that lies in at most so many directories says that these are large. */
const FEW_DIRECTORIES = 2;

export interface WalkerOptions {
  readonly listing: BlobListing;
  /** Names of blobs begin with one of them; see prefixes.ts. */
  readonly prefixes: readonly string[];
  /** Prefixes that are worked on at a time. */
  readonly streams: number;
  /** Blobs of one page. */
  readonly pageSize: number;
  /** Of a walk that was interrupted; `prefixes` are then of no account. */
  readonly state?: WalkState;
}

/** Answers what is to be done in the same tick as the page counts as done: counters and state then always agree. */
export type PageWork = (blobs: readonly ListedBlob[], signal: AbortSignal) => Promise<() => void>;

/** A prefix that is being worked on; changed only in the tick in which a page counts as done. */
interface Part {
  readonly prefix: string;
  stage: WalkPart['stage'];
  marker: string | undefined;
}

/** What ends a run early, shared by its streams. */
class Run {
  readonly work: PageWork;
  /** No more pages are asked for. */
  readonly #noMore = new AbortController();
  /** Work under way ends as soon as it can. */
  readonly #stop = new AbortController();
  readonly #outer: AbortSignal;
  #failure: { readonly error: unknown } | undefined;

  constructor(work: PageWork, signal: AbortSignal) {
    this.work = work;
    this.#outer = signal;
  }

  get listSignal(): AbortSignal {
    return this.#noMore.signal;
  }

  get workSignal(): AbortSignal {
    return this.#stop.signal;
  }

  isOver(): boolean {
    return this.#noMore.signal.aborted;
  }

  listingFailed(error: unknown): void {
    this.#failure ??= { error };
    this.#noMore.abort();
  }

  workFailed(error: unknown): void {
    this.#failure ??= { error };
    this.stop();
  }

  readonly stop = (): void => {
    this.#noMore.abort();
    this.#stop.abort();
  };

  throwIfFailed(): void {
    if (this.#outer.aborted) throw canceled('list');
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

/**
 * In memory are at most two pages of each stream, the one worked on and the one ahead, and the prefixes not begun: those
 * of one page for each stream and level that was split.
 */
export class Walker {
  readonly #listing: BlobListing;
  readonly #streams: number;
  readonly #pageSize: number;
  /** A stack: the last is next. */
  readonly #pending: WalkPart[];
  readonly #active = new Set<Part>();

  constructor(options: WalkerOptions) {
    this.#listing = options.listing;
    this.#streams = Math.max(1, options.streams);
    this.#pageSize = Math.max(1, options.pageSize);
    this.#pending = [...(options.state?.left ?? options.prefixes.map(toExamine).reverse())];
  }

  /**
   * Calls `work` for every page that has blobs: those of one prefix one after the other, a file `a` never after what is below `a/`.
   * Rejects with LhsmError LISTING_FAILED, retryable as its cause is, once the work under way has been done; with what
   * `work` rejected with, or ECANCELED after an abort, once the work under way has ended. What is left then is `state()`.
   */
  async run(work: PageWork, signal: AbortSignal): Promise<void> {
    const run = new Run(work, signal);
    if (signal.aborted) run.stop();
    else signal.addEventListener('abort', run.stop, { once: true });
    try {
      await new Promise<void>((resolve) => {
        const fill = (): void => {
          while (!run.isOver() && this.#active.size < this.#streams) {
            const next = this.#pending.pop();
            if (next === undefined) break;
            this.#begin(next, run, fill);
          }
          if (this.#active.size === 0) resolve();
        };
        fill();
      });
    } finally {
      signal.removeEventListener('abort', run.stop);
    }
    run.throwIfFailed();
  }

  /** What is left, as of the pages whose commit function has returned. */
  state(): WalkState {
    return { schema: 1, left: [...this.#pending, ...[...this.#active].map(toState)] };
  }

  #begin(next: WalkPart, run: Run, ended: () => void): void {
    const part: Part = { prefix: next.prefix, stage: next.stage, marker: next.marker };
    this.#active.add(part);
    void this.#walk(part, run).then(() => {
      // Still active: something is left of it.
      if (this.#active.delete(part)) this.#pending.push(toState(part));
      ended();
    });
  }

  /** Never rejects: what goes wrong, the run is told. */
  async #walk(part: Part, run: Run): Promise<void> {
    let page = part.stage === 'examine' ? await this.#examine(part, run) : await this.#list(part, run);
    // A run may have ended while the page came.
    while (page !== undefined && !run.isOver()) {
      const { blobs, next, prefixes } = page;
      // What lies in the directories of a shallow page comes before the next page, and may be much.
      const ahead =
        next !== undefined && prefixes.length === 0 ? this.#list({ ...part, marker: next }, run) : undefined;
      try {
        const commit = blobs.length === 0 ? undefined : await run.work(blobs, run.workSignal);
        commit?.();
        this.#done(part, page);
      } catch (error) {
        run.workFailed(error);
      }
      page = await ahead;
    }
  }

  /** The page counts as done: in the same tick as its work was counted. */
  #done(part: Part, { next, prefixes }: ListingPage): void {
    part.marker = next;
    if (next !== undefined && prefixes.length === 0) return;
    this.#active.delete(part);
    if (next !== undefined) this.#pending.push(toState(part));
    for (const prefix of [...prefixes].reverse()) this.#pending.push(toExamine(prefix));
  }

  /**
   * Looks at a prefix with one flat page, and decides. Answers the first page to work on; undefined when the run is over.
   */
  async #examine(part: Part, run: Run): Promise<ListingPage | undefined> {
    for (;;) {
      const page = await this.#list(part, run);
      if (page === undefined) return undefined;
      if (page.blobs.length === 0 && page.next !== undefined) {
        part.marker = page.next;
        continue;
      }
      if (page.next === undefined || this.#directoriesOf(part.prefix, page) > FEW_DIRECTORIES) {
        part.stage = 'flat';
        return page;
      }
      // Its blobs come again, those in the prefix itself by the shallow listing, the others by their directories.
      part.stage = 'shallow';
      part.marker = undefined;
      return this.#list(part, run);
    }
  }

  /** One page; undefined when the run is over, because this failed or for another reason. */
  async #list(part: WalkPart | Part, run: Run): Promise<ListingPage | undefined> {
    if (run.isOver()) return undefined;
    const { prefix, stage, marker } = part;
    try {
      const request = { prefix, shallow: stage === 'shallow', marker, maxResults: this.#pageSize };
      const page = await this.#listing.page(request, run.listSignal);
      const strange = page.prefixes.find(
        (child) => !child.startsWith(prefix) || child.length <= prefix.length,
      );
      if (strange !== undefined) throw strangePrefix(prefix, strange);
      return page;
    } catch (error) {
      if (!run.isOver()) run.listingFailed(listingFailed(prefix, error));
      return undefined;
    }
  }

  /** How many of the prefix's own directories the page lies in. */
  #directoriesOf(prefix: string, page: ListingPage): number {
    const isPath = this.#listing.hierarchical && prefix !== '' && !prefix.endsWith('/');
    const from = isPath ? prefix.length + 1 : prefix.length;
    const directories = new Set<string>();
    for (const { name } of page.blobs) {
      const slash = name.indexOf('/', from);
      if (slash !== -1) directories.add(name.slice(from, slash));
      if (directories.size > FEW_DIRECTORIES) break;
    }
    return directories.size;
  }
}

function toExamine(prefix: string): WalkPart {
  return { prefix, stage: 'examine' };
}

function toState({ prefix, stage, marker }: Part): WalkPart {
  return { prefix, stage, ...(marker === undefined ? {} : { marker }) };
}

function listingFailed(prefix: string, cause: unknown): LhsmError {
  const { errno, retryable = false, hint } = cause instanceof LhsmError ? cause : {};
  const why = cause instanceof Error ? cause.message : String(cause);
  return new LhsmError(`The listing of ${JSON.stringify(prefix)} failed: ${why}`, {
    code: 'LISTING_FAILED',
    op: 'list',
    ...(errno === undefined ? {} : { errno }),
    retryable,
    ...(hint === undefined ? {} : { hint }),
    cause,
  });
}

/** It would be examined for ever. */
function strangePrefix(prefix: string, child: string): LhsmError {
  return new LhsmError(
    `The listing of ${JSON.stringify(prefix)} names ${JSON.stringify(child)}, which is not below.`,
    {
      code: 'BAD_ANSWER',
      op: 'list',
      errno: 5,
      hint: "Check the container's URL, and the proxies on the way.",
    },
  );
}

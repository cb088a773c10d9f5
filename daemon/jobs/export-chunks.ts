// The chunks of an export's spool that are under way: what each has come to is counted and reported when it is complete, in
// the same tick as the position to go on from moves. export.ts has one.
import type { ExportOutcome } from './export-entries.js';
import type { SpoolChunk } from './export-spool.js';
import type { ExportCounts, LogEntry } from './job.js';
import { addCounts, exportCounts } from './job-counts.js';

/** Bytes of the spool, from and to. */
export type ChunkRange = readonly [start: number, end: number];

/** What complete chunks have come to, and which bytes of the spool are still to be done. */
export interface ChunksSnapshot {
  readonly counts: ExportCounts;
  /** In units of `workOf`. */
  readonly done: number;
  /** Errors that no budget of errors is for. */
  readonly forgiven: number;
  /** Begun and not complete. */
  readonly open: readonly ChunkRange[];
  /** Nothing behind it has begun. */
  readonly next: number;
}

/** What one record has come to. */
export interface Settled extends ExportOutcome {
  readonly work: number;
  readonly forgiven?: boolean;
}

/** A chunk under way. */
export interface OpenChunk {
  readonly range: ChunkRange;
  readonly counts: ExportCounts;
  readonly entries: LogEntry[];
  /** Records without an outcome. */
  left: number;
  done: number;
  forgiven: number;
}

export class ExportChunks {
  readonly #counts: ExportCounts;
  #done: number;
  #forgiven: number;
  #next: number;
  /** Of a former process, and not begun again. */
  readonly #again: ChunkRange[];
  readonly #open = new Set<OpenChunk>();
  readonly #report: (entries: readonly LogEntry[]) => void;

  constructor(before: ChunksSnapshot | undefined, report: (entries: readonly LogEntry[]) => void) {
    this.#counts = { ...exportCounts(), ...before?.counts };
    this.#done = before?.done ?? 0;
    this.#forgiven = before?.forgiven ?? 0;
    this.#next = before?.next ?? 0;
    this.#again = [...(before?.open ?? [])];
    this.#report = report;
  }

  /** As of now, what is under way included. */
  counts(): ExportCounts {
    const now = { ...this.#counts };
    for (const { counts } of this.#open) addCounts(now, counts);
    return now;
  }

  get done(): number {
    return [...this.#open].reduce((sum, chunk) => sum + chunk.done, this.#done);
  }

  /** Errors that count against the budget. */
  get errors(): number {
    const forgiven = [...this.#open].reduce((sum, chunk) => sum + chunk.forgiven, this.#forgiven);
    return this.counts().totalErrors - forgiven;
  }

  get next(): number {
    return this.#next;
  }

  /** Ranges that a former process had begun; each is to be opened. */
  get again(): readonly ChunkRange[] {
    return this.#again;
  }

  /** Counts what belongs to no chunk. */
  count(counts: Partial<ExportCounts>): void {
    addCounts(this.#counts, counts);
  }

  /** Begins a chunk. Its entries, counted when they were found, have no outcome to wait for. */
  open({ start, end, records }: SpoolChunk): OpenChunk {
    const entries = records.flatMap((record) => (record.kind === 'entry' ? [record.entry] : []));
    const chunk: OpenChunk = {
      range: [start, end],
      counts: exportCounts(),
      entries,
      left: records.length - entries.length,
      done: 0,
      forgiven: 0,
    };
    const again = this.#again.findIndex(([from]) => from === start);
    if (again === -1) this.#next = end;
    else this.#again.splice(again, 1);
    this.#open.add(chunk);
    if (chunk.left === 0) this.#complete(chunk);
    return chunk;
  }

  settle(chunk: OpenChunk, { counts, entry, work, forgiven }: Settled): void {
    addCounts(chunk.counts, counts);
    if (entry) chunk.entries.push(entry);
    chunk.done += work;
    if (forgiven === true) chunk.forgiven += 1;
    chunk.left -= 1;
    if (chunk.left === 0) this.#complete(chunk);
  }

  /** The job is over: what is half done counts as far as it has got. */
  settleAll(): void {
    for (const chunk of this.#open) this.#complete(chunk);
  }

  snapshot(): ChunksSnapshot {
    return {
      counts: { ...this.#counts },
      done: this.#done,
      forgiven: this.#forgiven,
      open: [...this.#again, ...[...this.#open].map(({ range }) => range)],
      next: this.#next,
    };
  }

  #complete(chunk: OpenChunk): void {
    this.#open.delete(chunk);
    addCounts(this.#counts, chunk.counts);
    this.#done += chunk.done;
    this.#forgiven += chunk.forgiven;
    this.#report(chunk.entries);
  }
}

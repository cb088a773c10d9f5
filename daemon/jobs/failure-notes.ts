// Why an action failed, left by the agent that had it where the job or batch restore that asked for it finds it: append blobs of
// the logging container. agent-jobs.ts has one writer on each node; who asked reads through failure-reader.ts.
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { Logger } from 'pino';
import { hasCode } from '../../native-bindings/errors.js';
import { MAX_APPEND_BYTES } from '../blobs/logging-container.js';
import type { AgentEmitter, FinishedEvent } from '../events.js';
import type { StoreContainer } from './job-store.js';

/** One line of such a blob. */
export interface FailureNote {
  /** As `formatFid` prints it. */
  readonly fid: string;
  readonly code: string;
  readonly errno: number;
  readonly message: string;
  /** ISO 8601, UTC, by the agent's clock. */
  readonly time: string;
  /** Ended with RETRY: by its policy the coordinator may send it out again. */
  readonly retry?: boolean;
}

/** Where a file system keeps them. */
export interface NotesPlace {
  readonly container: Pick<StoreContainer, 'look' | 'createAppend' | 'append'>;
  readonly fileSystem: string;
}

const TAG = /^lhsm:(r?[0-9a-f]{8})$/;

/** A name for the notes of one batch restore, on whatever node: of these several may run, of jobs there is one. */
export function newRestoreId(): string {
  return `r${randomBytes(4).toString('hex')}`;
}

/** Whether notes are of a batch restore, by the id in their tag or folder. */
export function isRestoreId(id: string): boolean {
  return id.startsWith('r');
}

/** What the requests of a job or batch restore carry: no more than leaves room for 52 FIDs. */
export function requestTag(id: string): Buffer {
  return Buffer.from(`lhsm:${id}`);
}

/** The id of the job or batch restore whose tag it is; undefined for whatever else users send along. */
export function jobOfTag(data: Buffer | undefined): string | undefined {
  return data === undefined ? undefined : TAG.exec(data.toString('latin1'))?.[1];
}

/** The names of the notes of a job or batch restore begin so; without an id, those of all. */
export function notesPrefix(fileSystem: string, jobId?: string): string {
  return `${fileSystem}/failures/${jobId === undefined ? '' : `${jobId}/`}`;
}

const FLUSH_MS = 1000;
/** Of all together. Further ones are dropped: the agent's log has them. */
const MAX_WAITING = 10_000;
/** Any user may send a tag along: no more at once than could be real, some batch restores of each of some nodes. */
const MAX_JOBS = 64;
const MAX_MESSAGE_CHARS = 2000;
const CLOSE_PATIENCE_MS = 3000;

interface JobNotes {
  waiting: string[];
  /** Bytes of the blob; undefined until it was looked at. */
  sizeBytes: number | undefined;
}

export interface FailureNotesOptions {
  readonly events: Pick<AgentEmitter, 'on'>;
  readonly place: (signal: AbortSignal) => Promise<NotesPlace>;
  readonly log: Logger;
  readonly flushMs?: number;
}

/** Listens until it is closed. No action waits for it, and none fails with it. */
export class FailureNotes {
  readonly #options: FailureNotesOptions;
  readonly #off: () => void;
  readonly #closing = new AbortController();
  readonly #jobs = new Map<string, JobNotes>();
  readonly #heard = new Set<string>();
  #waiting = 0;
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> | undefined;
  #dropped = 0;

  constructor(options: FailureNotesOptions) {
    this.#options = options;
    this.#off = options.events.on('finished', (event) => {
      this.#take(event);
    });
  }

  /** Nothing is left for it, now or later: who asked hears of this agent's failures by itself. */
  leaveOut(id: string): void {
    this.#heard.add(id);
  }

  /** Writes what is left, within bounds of time. */
  async close(): Promise<void> {
    this.#off();
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const patience = setTimeout(() => {
      this.#closing.abort();
    }, CLOSE_PATIENCE_MS);
    await this.#flushing;
    await this.#flush();
    clearTimeout(patience);
    this.#closing.abort();
  }

  #take({ data, result, fid, code, errno, reason }: FinishedEvent): void {
    const job = jobOfTag(data);
    if (job === undefined || this.#heard.has(job) || (result !== 'failed' && result !== 'retry')) return;
    // The coordinator does not know it any more: somebody else has had its end.
    if (code === 'FORGOTTEN') return;
    const notes = this.#notesOf(job);
    if (!notes || this.#waiting >= MAX_WAITING) {
      this.#dropped += 1;
      return;
    }
    const note: FailureNote = {
      fid,
      code: code ?? 'INTERNAL',
      errno,
      message: (reason ?? '').slice(0, MAX_MESSAGE_CHARS),
      time: new Date().toISOString(),
      ...(result === 'retry' ? { retry: true } : {}),
    };
    notes.waiting.push(`${JSON.stringify(note)}\n`);
    this.#waiting += 1;
    this.#soon();
  }

  #notesOf(job: string): JobNotes | undefined {
    const known = this.#jobs.get(job);
    if (known) return known;
    if (this.#jobs.size >= MAX_JOBS) {
      const idle = [...this.#jobs].find(([, { waiting }]) => waiting.length === 0);
      if (!idle) return undefined;
      this.#jobs.delete(idle[0]);
    }
    const notes: JobNotes = { waiting: [], sizeBytes: undefined };
    this.#jobs.set(job, notes);
    return notes;
  }

  #soon(): void {
    if (this.#closing.signal.aborted || this.#flushing) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#flushing = this.#flush().finally(() => {
        this.#flushing = undefined;
        if ([...this.#jobs.values()].some(({ waiting }) => waiting.length > 0)) this.#soon();
      });
    }, this.#options.flushMs ?? FLUSH_MS).unref();
  }

  /** Never rejects. */
  async #flush(): Promise<void> {
    const { signal } = this.#closing;
    const { log, place } = this.#options;
    for (const [job, notes] of this.#jobs) {
      if (notes.waiting.length === 0) continue;
      try {
        await this.#append(await place(signal), job, notes, signal);
      } catch (error) {
        this.#dropped += notes.waiting.length;
        this.#waiting -= notes.waiting.length;
        notes.waiting = [];
        notes.sizeBytes = undefined;
        if (!signal.aborted) log.warn({ job, err: error }, 'reasons of failures do not reach the job');
      }
    }
    if (this.#dropped === 0) return;
    log.warn({ dropped: this.#dropped }, 'reasons of failures are in this log only, not with their job');
    this.#dropped = 0;
  }

  async #append(
    { container, fileSystem }: NotesPlace,
    job: string,
    notes: JobNotes,
    signal: AbortSignal,
  ): Promise<void> {
    const name = `${notesPrefix(fileSystem, job)}${hostname()}-${process.pid}.jsonl`;
    for (let isAgain = false; notes.waiting.length > 0;) {
      const { bytes, count } = batch(notes.waiting);
      try {
        if (notes.sizeBytes === undefined) {
          await container.createAppend(name, 'application/x-ndjson', signal);
          notes.sizeBytes = (await container.look(name, signal))?.sizeBytes ?? 0;
        }
        await container.append(name, bytes, notes.sizeBytes, signal);
      } catch (error) {
        const isStale = hasCode(error, 'BLOB_CHANGED') || hasCode(error, 'BLOB_MISSING');
        notes.sizeBytes = undefined;
        // Deleted by the job at its end, say, and this one is of a later request; or an append whose answer was lost.
        if (!isStale || isAgain) throw error;
        isAgain = true;
        continue;
      }
      notes.sizeBytes += bytes.length;
      notes.waiting.splice(0, count);
      this.#waiting -= count;
    }
  }
}

function batch(lines: readonly string[]): { bytes: Buffer; count: number } {
  const taken: Buffer[] = [];
  let size = 0;
  for (const line of lines) {
    const bytes = Buffer.from(line);
    if (size + bytes.length > MAX_APPEND_BYTES) break;
    taken.push(bytes);
    size += bytes.length;
  }
  return { bytes: Buffer.concat(taken), count: taken.length };
}

// The second phase of an export: asks the coordinator for what was found, chunk by chunk, and settles every file's outcome
// with its reason. export.ts runs it once.
import type { Logger } from 'pino';
import { LhsmError, errnoNumber } from '../../native-bindings/errors.js';
import { fidPath, formatFid } from '../../native-bindings/lustre.js';
import { saysGone } from '../movers/descriptors.js';
import { isReached, type Outcome, type RequestNotice } from './asked-file.js';
import { Bell } from './bell.js';
import { mapBounded } from './bounded.js';
import { tooManyErrors } from './error-budget.js';
import type { ExportTools } from './export.js';
import type { ExportChunks, OpenChunk, Settled } from './export-chunks.js';
import { exportName, type NameTools } from './export-names.js';
import {
  exported,
  failed,
  noteError,
  silentError,
  vanished,
  workOf,
  type ExportFile,
} from './export-outcome.js';
import { CHUNK_RECORDS, type ExportSpool, type SpoolChunk, type SpooledName } from './export-spool.js';
import { requestTag, type FailureNote } from './failure-notes.js';
import { FailureReader } from './failure-reader.js';
import type { ExportSpec, LogEntry } from './job.js';
import { isLeft } from './job-work.js';
import { Requester } from './requester.js';

export interface ExportRequestsParts {
  readonly spec: ExportSpec;
  readonly jobId: string;
  readonly tools: ExportTools;
  readonly names: NameTools;
  readonly chunks: ExportChunks;
  readonly spool: ExportSpool;
  /** Adds entries to the report, counted already. */
  readonly report: (entries: readonly LogEntry[]) => void;
  /** Settles when the report has room for more. */
  readonly reported: () => Promise<unknown>;
  readonly log: Logger;
}

const LOOKS_AT_ONCE = 8;
const NAMES_AT_ONCE = 16;
/** How long the reason of a failure may take from another node: it is written after a second, and read every other. */
const NOTE_PATIENCE_MS = 5000;
const CLEAR_PATIENCE_MS = 10_000;

export class ExportRequests {
  readonly #parts: ExportRequestsParts;
  /** Aborts with what fails the job while requests are outstanding. */
  readonly #failing = new AbortController();
  /** Asked for and without an outcome, by FID. */
  readonly #files = new Map<string, ExportFile>();
  readonly #explaining = new Set<Promise<void>>();
  readonly #noted = new Bell();
  #notice: RequestNotice | undefined;

  constructor(parts: ExportRequestsParts) {
    this.#parts = parts;
  }

  /** What the coordinator lets wait; undefined when all goes on. */
  get notice(): RequestNotice | undefined {
    return this.#notice;
  }

  /**
   * Rejects with the signal's reason, when nothing is under way any more; with TOO_MANY_ERRORS, with what concerns the whole
   * container or report, and as the requester does.
   */
  async run(outer: AbortSignal): Promise<void> {
    const { spec, jobId, tools, log } = this.#parts;
    const { mount, lustre, events, timings } = tools;
    const signal = AbortSignal.any([outer, this.#failing.signal]);
    const { store } = await tools.place(signal);
    const reader = new FailureReader({
      container: store.container,
      fileSystem: store.fileSystem,
      jobId,
      onNote: (note) => {
        this.#take(note, requester);
      },
      log,
    });
    const requester = new Requester<ExportFile>(
      {
        mount,
        kind: 'archive',
        archiveId: spec.archiveId,
        window: spec.window,
        data: requestTag(jobId),
        onSettled: (file, outcome) => {
          this.#settled(file, outcome, signal);
        },
        onNotice: (notice) => {
          this.#tell(notice);
        },
        onAbort: () => (isLeft(outer) ? 'leave' : 'cancel'),
        ...(timings ? { timings } : {}),
      },
      { lustre, events },
    );
    await reader.tidy(signal);
    await reader.skip(signal);
    const reading = new AbortController();
    const read = reader.run(reading.signal);
    try {
      await requester.run(this.#source(signal), signal);
      while (this.#explaining.size > 0) await Promise.all(this.#explaining);
      signal.throwIfAborted();
      await this.#parts.reported();
    } finally {
      reading.abort();
      await read;
      while (this.#explaining.size > 0) await Promise.all(this.#explaining);
      if (!isLeft(outer)) await reader.clear(AbortSignal.timeout(CLEAR_PATIENCE_MS));
    }
  }

  /** Chunks to be done: those that a former process had begun, then the rest. */
  async *#spooled(): AsyncGenerator<
    { readonly chunk: SpoolChunk; readonly again: boolean },
    void,
    undefined
  > {
    const { chunks, spool } = this.#parts;
    for (const [start, end] of [...chunks.again]) {
      for await (const chunk of spool.chunks(start, end, Infinity)) yield { chunk, again: true };
    }
    for await (const chunk of spool.chunks(chunks.next, spool.sizeBytes, CHUNK_RECORDS)) {
      yield { chunk, again: false };
    }
  }

  /** Files to ask for. Directories and links of a chunk come first, so that no agent need make a parent's stub. */
  async *#source(signal: AbortSignal): AsyncGenerator<ExportFile[], void, undefined> {
    try {
      for await (const { chunk: spooled, again } of this.#spooled()) {
        await this.#parts.reported();
        signal.throwIfAborted();
        const chunk = this.#parts.chunks.open(spooled);
        const names = spooled.records.filter(
          (record): record is SpooledName => record.kind === 'directory' || record.kind === 'symlink',
        );
        await mapBounded(names, NAMES_AT_ONCE, (name) => this.#name(name, chunk, signal));
        const files = spooled.records.flatMap((record) =>
          record.kind === 'file'
            ? [{ ...record, key: formatFid(record.fid), chunk, again, note: undefined }]
            : [],
        );
        const wanted = again ? await this.#stillWanted(files) : files;
        for (const file of wanted) this.#files.set(file.key, file);
        if (wanted.length > 0) yield wanted;
      }
    } catch (error) {
      // What is outstanding is cancelled, rather than waited for.
      if (!signal.aborted) this.#failing.abort(error);
    }
  }

  async #name(name: SpooledName, chunk: OpenChunk, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { counts, entry } = await exportName(name, this.#parts.names, signal);
    const isTold = entry !== undefined && (entry.kind !== 'item' || this.#parts.spec.logItems);
    this.#count(chunk, { counts, ...(isTold ? { entry } : {}), work: workOf() });
  }

  /** A former process may have had them archived, and counted none of them. */
  async #stillWanted(files: readonly ExportFile[]): Promise<ExportFile[]> {
    const { lustre, mount } = this.#parts.tools;
    const { logItems } = this.#parts.spec;
    const wanted = await mapBounded(files, LOOKS_AT_ONCE, async (file) => {
      try {
        const state = await lustre.hsmState(fidPath(mount, file.fid));
        if (!isReached('archive', state)) return [file];
        this.#count(file.chunk, exported(file, logItems));
      } catch (error) {
        if (!saysGone(error)) return [file];
        this.#count(file.chunk, vanished(file, logItems));
      }
      return [];
    });
    return wanted.flat();
  }

  #settled(file: ExportFile, outcome: Outcome, signal: AbortSignal): void {
    const { logItems } = this.#parts.spec;
    if (this.#notice?.code === 'REQUESTS_WAIT') this.#notice = undefined;
    switch (outcome.kind) {
      case 'done':
        this.#end(file, exported(file, logItems));
        return;
      case 'vanished':
        this.#end(file, vanished(file, logItems));
        return;
      case 'canceled':
        // With the job, its end is none of the file's.
        if (!signal.aborted) this.#end(file, failed(file, canceled()));
        return;
      case 'failed':
        break;
    }
    if (outcome.error.code !== 'REQUEST_FAILED') {
      this.#end(file, failed(file, outcome.error));
      return;
    }
    const explaining = this.#explain(file, signal).finally(() => this.#explaining.delete(explaining));
    this.#explaining.add(explaining);
  }

  /** The coordinator has given it up: the agent that had it may be about to say why. Never rejects. */
  async #explain(file: ExportFile, signal: AbortSignal): Promise<void> {
    const untilMs = performance.now() + NOTE_PATIENCE_MS;
    while (!file.note && performance.now() < untilMs && !signal.aborted) {
      await this.#noted.wait(untilMs - performance.now(), signal);
    }
    if (file.note) {
      this.#end(file, failed(file, noteError(file.note)));
      return;
    }
    // Nothing is known for certain of what a stopping job leaves.
    if (signal.aborted) return;
    const error = await silentError(file, this.#parts.tools);
    this.#end(file, error ? failed(file, error) : vanished(file, this.#parts.spec.logItems));
  }

  /** What an agent says of a file that is outstanding, or waits for its reason. */
  #take(note: FailureNote, requester: Requester<ExportFile>): void {
    const { fid, code, errno, message } = note;
    const file = this.#files.get(fid);
    if (!file) return;
    file.note = note;
    this.#noted.ring();
    // It may be of a request that a former process made: then the coordinator knows whether ours is still to come.
    const result = note.retry === true || file.again ? 'retry' : 'failed';
    requester.hint({ fid, kind: 'archive', result, errno, code, reason: message, durationMs: 0 });
  }

  #end(file: ExportFile, settled: Settled): void {
    if (this.#files.get(file.key) === file) this.#files.delete(file.key);
    this.#count(file.chunk, settled);
  }

  #count(chunk: OpenChunk, settled: Settled): void {
    this.#parts.chunks.settle(chunk, settled);
    if (settled.entry?.kind !== 'error' || settled.forgiven === true) return;
    const tooMany = tooManyErrors(this.#parts.spec, this.#parts.chunks.errors, settled.entry);
    if (tooMany) this.#failing.abort(tooMany);
  }

  #tell(notice: RequestNotice): void {
    const { code, message, hint } = notice;
    this.#parts.log.warn({ code, hint }, `export: ${message}`);
    this.#notice = code === 'COORDINATOR_BACK' ? undefined : notice;
    if (code !== 'CANCEL_INCOMPLETE') return;
    this.#parts.chunks.count({ totalWarnings: 1 });
    this.#parts.report([{ kind: 'warning', code, path: this.#parts.spec.path, message }]);
  }
}

function canceled(): LhsmError {
  return new LhsmError('Somebody cancelled its request, or it timed out', {
    code: 'CANCELED',
    op: 'archive',
    errno: errnoNumber('ECANCELED'),
    hint: 'Export again; hsm.active_request_timeout of the MDS may be too short.',
  });
}

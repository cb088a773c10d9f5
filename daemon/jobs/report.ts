// The report of a job: what it has to say of single blobs and files, as JSON lines and as CSV in the logging container, and
// the summary. The runner makes one for each job; items are added as they are done.
import { setMaxListeners } from 'node:events';
import { canceled } from '../azure-errors.js';
import { AppendLog, type FilePosition } from './append-log.js';
import type { JobFolder } from './job-folder.js';
import type { LogEntry } from './job.js';
import { keyOf, LOG_FORMATS, logFormats, type LogFormatName } from './log-format.js';

/** Goes into the checkpoint: how far each file has got. */
export type ReportPosition = Readonly<Record<LogFormatName, FilePosition>>;

export interface ReportOptions {
  /** How long an entry waits for others at most, before it is sent. */
  readonly flushMs?: number;
  /** So many bytes are sent at once, without waiting. */
  readonly flushBytes?: number;
  /** With more than that in memory `add` waits. */
  readonly maxPendingBytes?: number;
  /** A part of the log takes so many appends; Azure's limit is 50,000. */
  readonly maxAppends?: number;
  readonly now?: () => Date;
}

const DEFAULTS = { flushMs: 3000, flushBytes: 1 << 20, maxPendingBytes: 8 << 20 };

/** Of a checkpoint's JSON; undefined when it is no position. */
export function reportPosition(value: unknown): ReportPosition | undefined {
  const files = (value ?? {}) as Record<string, unknown>;
  const isFile = (name: string): boolean => {
    const { part, bytes } = (files[name] ?? {}) as Record<string, unknown>;
    return (
      Number.isSafeInteger(part) && Number.isSafeInteger(bytes) && Number(part) > 0 && Number(bytes) >= 0
    );
  };
  return LOG_FORMATS.every(isFile) ? (value as ReportPosition) : undefined;
}

/**
 * Entries wait in memory, within bounds, and are sent every few seconds, or when they are many. `finish` or `close` ends
 * it. A failure to write is final: from then on `add` and `flush` reject with it.
 */
export class JobReport {
  readonly #folder: JobFolder;
  readonly #logs: Readonly<Record<LogFormatName, AppendLog>>;
  readonly #options: Required<Omit<ReportOptions, 'maxAppends'>>;
  readonly #closed = new AbortController();
  #running: Promise<void> | undefined;
  /** Flushes that wait for the sending under way. */
  #wanted = 0;
  #timer: NodeJS.Timeout | undefined;
  #failure: { readonly error: unknown } | undefined;

  private constructor(folder: JobFolder, position: ReportPosition | undefined, options: ReportOptions) {
    const { maxAppends, now = () => new Date(), ...rest } = options;
    const log = (name: LogFormatName): AppendLog =>
      new AppendLog(
        folder.store.container,
        logFormats[name],
        (file) => folder.store.blobName(folder.job, file),
        position?.[name],
        maxAppends,
      );
    this.#folder = folder;
    this.#logs = { jsonl: log('jsonl'), csv: log('csv') };
    this.#options = { ...DEFAULTS, ...rest, now };
  }

  /** The report of a job that starts. Rejects with what the container says. */
  static create(folder: JobFolder, options: ReportOptions, signal: AbortSignal): Promise<JobReport> {
    return JobReport.#open(folder, undefined, options, signal);
  }

  /**
   * The report of a job that is taken up again. What stands in the log behind the position, of work that is now done again, is
   * not written a second time: an entry of the same kind, code, path and action stands for it, whatever its message.
   */
  static resume(
    folder: JobFolder,
    position: ReportPosition,
    options: ReportOptions,
    signal: AbortSignal,
  ): Promise<JobReport> {
    return JobReport.#open(folder, position, options, signal);
  }

  static async #open(
    folder: JobFolder,
    position: ReportPosition | undefined,
    options: ReportOptions,
    signal: AbortSignal,
  ): Promise<JobReport> {
    const report = new JobReport(folder, position, options);
    for (const name of LOG_FORMATS) {
      const { isCut } = await report.#logs[name].open(signal);
      if (!isCut) continue;
      const path = folder.store.blobName(folder.job, `log.${name}`);
      const message = 'The log is shorter than the checkpoint says: somebody has changed or deleted it.';
      await report.add({ kind: 'warning', code: 'JOB_LOG_CUT', path, message }, signal);
    }
    return report;
  }

  /**
   * Everything added from now on comes behind it, or stands there already. Taken when a stretch of work (a page) begins, it is
   * what a checkpoint has to say while that stretch is not complete: of several, the first. `flush` answers what
   * one has to say when nothing is half done.
   */
  get position(): ReportPosition {
    return { jsonl: this.#logs.jsonl.position, csv: this.#logs.csv.position };
  }

  /** Resolves at once, or, with too much waiting to be sent, when the service has taken it. Rejects as `flush`. */
  async add(entry: LogEntry, signal: AbortSignal): Promise<void> {
    this.#throwFailure();
    const time = this.#options.now().toISOString();
    const key = keyOf(entry);
    for (const name of LOG_FORMATS) this.#logs[name].add(key, logFormats[name].line(entry, time));
    this.#sendSoon();
    while (this.#pendingBytes() > this.#options.maxPendingBytes) {
      await this.#settled(signal);
      this.#throwFailure();
      this.#sendSoon();
    }
  }

  /** Writes what was added before the call, and answers where the log ends. Rejects with what the container says. */
  async flush(signal: AbortSignal): Promise<ReportPosition> {
    // Its turn comes before the background's next, which might go on for ever.
    this.#wanted += 1;
    try {
      while (this.#running) await this.#settled(signal);
    } finally {
      this.#wanted -= 1;
    }
    this.#throwFailure();
    await this.#send(signal);
    return { jsonl: this.#logs.jsonl.end, csv: this.#logs.csv.end };
  }

  /** Writes what is left, then `summary.json`, and closes. Rejects as `flush`, and with JOB_SUPERSEDED. */
  async finish(summary: object, signal: AbortSignal): Promise<void> {
    try {
      await this.flush(signal);
      await this.#folder.writeSummary(summary, signal);
    } finally {
      await this.close();
    }
  }

  /** Drops what is not written yet, and ends. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#closed.abort();
    await this.#running;
  }

  #pendingBytes(): number {
    return this.#logs.jsonl.pendingBytes + this.#logs.csv.pendingBytes;
  }

  /** In the background: at once when there is enough, otherwise after a while. */
  #sendSoon(): void {
    if (this.#running || this.#wanted > 0 || this.#failure || this.#closed.signal.aborted) return;
    if (this.#pendingBytes() === 0) return;
    if (this.#pendingBytes() < this.#options.flushBytes) {
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        if (!this.#running) this.#sendNow();
      }, this.#options.flushMs).unref();
      return;
    }
    this.#sendNow();
  }

  #sendNow(): void {
    this.#send(this.#closed.signal).catch((error: unknown) => {
      if (!this.#closed.signal.aborted) this.#failure ??= { error };
    });
  }

  /** One at a time. An aborted one leaves its lines for the next, which finds out whether they have arrived. */
  #send(signal: AbortSignal): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const all = async (): Promise<void> => {
      const results = await Promise.allSettled(LOG_FORMATS.map((name) => this.#logs[name].flush(signal)));
      for (const result of results) if (result.status === 'rejected') throw result.reason;
    };
    const sent = all();
    this.#running = sent
      .catch(() => undefined)
      .finally(() => {
        this.#running = undefined;
        this.#sendSoon();
      });
    return sent;
  }

  /** Until the sending under way has ended, well or not. Rejects with ECANCELED when the signal aborts. */
  async #settled(signal: AbortSignal): Promise<void> {
    // Many items may wait at once on the job's one signal.
    setMaxListeners(0, signal);
    let stop: () => void = () => undefined;
    const aborted = new Promise<void>((resolve) => {
      stop = resolve;
      if (signal.aborted) resolve();
      signal.addEventListener('abort', stop);
    });
    await Promise.race([this.#running, aborted]);
    signal.removeEventListener('abort', stop);
    if (signal.aborted) throw canceled('job report');
  }

  #throwFailure(): void {
    if (this.#failure) throw this.#failure.error;
  }
}

// The life of one job in this process: works, tells how far it is, and ends in exactly one of the ways there are.
// runner.ts makes one at a time.
import type { RequestNotice } from './asked-file.js';
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { describeError, hasCode, LhsmError } from '../../native-bindings/errors.js';
import { Rates } from './rates.js';
import type { AgentEmitter } from '../events.js';
import type { JobDocument, JobState } from './job.js';
import type { JobFolder } from './job-folder.js';
import { JobStopped, type JobWork, type Stop } from './job-work.js';
import type { JobLock } from './lock.js';
import type { JobReport, ReportPosition } from './report.js';
import type { StatusFile } from './status-file.js';

/** `checkpoint.json`: where a restarted daemon goes on. */
export interface Checkpoint {
  readonly schema: 1;
  readonly snapshot: unknown;
  readonly report: ReportPosition;
}

export interface RunningJobParts {
  readonly document: JobDocument;
  readonly folder: JobFolder;
  readonly lock: JobLock;
  readonly report: JobReport;
  readonly work: JobWork;
  /** undefined for a dry run, which touches nothing. */
  readonly statusFile: StatusFile | undefined;
  /** The job's own folder on the local disk. */
  readonly scratch: string;
  readonly events: AgentEmitter;
  readonly log: Logger;
  readonly checkpointMs: number;
}

/**
 * How it came out. `left`: it is not over, and whoever starts the daemon again, or has the lock meanwhile, goes on;
 * `lost`: the lock could not be kept.
 */
export type Outcome = 'ended' | 'left' | 'lost';

export class RunningJob {
  readonly #parts: RunningJobParts;
  readonly #stopping = new AbortController();
  /** Aborts requests to the store when the daemon cannot wait for them any longer. */
  readonly #giveUp = new AbortController();
  readonly #rates = new Rates();
  #stop: Stop | undefined;
  #document: JobDocument;
  readonly #pace = new Rates();
  /** The state that the file in the root tells. */
  #rootState: JobState | undefined;
  #shown: Promise<void> = Promise.resolve();
  #saved: Promise<void> = Promise.resolve();
  #outcome: Promise<Outcome> | undefined;

  constructor(parts: RunningJobParts) {
    this.#parts = parts;
    this.#document = parts.document;
  }

  /** As of now, newer than what is in the store. */
  get document(): JobDocument {
    return this.#described({});
  }

  /** Works until the end. Never rejects. */
  run(): Promise<Outcome> {
    this.#outcome ??= this.#run();
    return this.#outcome;
  }

  /** What the coordinator lets it wait for. */
  get notice(): RequestNotice | undefined {
    return this.#parts.work.notice?.();
  }

  /** Asks it to end as Canceled; what is done stays. */
  async cancel(): Promise<void> {
    if (this.#stop !== undefined) return;
    this.#end('cancel', 'the job was canceled');
    this.#document = this.#described({ state: 'Cancelling', statusMessage: 'Cancelling.' });
    await this.#show().catch((error: unknown) => {
      this.#parts.log.warn({ err: error }, 'the job is being canceled, but its status could not be written');
    });
  }

  /** Interrupts it, to go on after a restart. Resolves when it has stopped; soon, also when the service does not answer. */
  async interrupt(patienceMs: number): Promise<void> {
    this.#end('shutdown', 'the daemon stops');
    const timer = setTimeout(() => {
      this.#giveUp.abort(new LhsmError('the daemon stops', { code: 'ECANCELED', op: 'job' }));
    }, patienceMs);
    await this.run();
    clearTimeout(timer);
  }

  #end(stop: Stop, why: string, cause?: unknown): void {
    this.#stop ??= stop;
    this.#stopping.abort(new JobStopped(this.#stop, why, cause));
  }

  async #run(): Promise<Outcome> {
    const { lock, log, report, work } = this.#parts;
    const { name, kind, spec } = this.#document;
    const lost = (): void => {
      this.#end('lock', 'the job has lost its lock', lock.lost.reason);
    };
    if (lock.lost.aborted) lost();
    lock.lost.addEventListener('abort', lost, { once: true });
    log.info({ job: name, kind, spec, resumes: this.#document.resumes }, 'job runs');
    // Somebody wished it before the restart.
    if (this.#document.state === 'Cancelling') this.#end('cancel', 'the job was canceled');
    this.#document = this.#described({});
    await this.#showInRoot();
    const ticking = new AbortController();
    const ticks = this.#tickUntil(ticking.signal);
    let failure: unknown;
    try {
      await work.run(this.#stopping.signal, () => this.#saveIfPossible());
    } catch (error) {
      failure = error;
    }
    ticking.abort();
    await ticks;
    lock.lost.removeEventListener('abort', lost);
    const outcome = await this.#conclude(failure);
    await report.close();
    if (outcome !== 'ended') lock.leave();
    try {
      await work.close();
      if (outcome === 'ended') await rm(this.#parts.scratch, { recursive: true, force: true });
    } catch (error) {
      log.warn({ job: name, err: error }, 'job: what it held is not freed well');
    }
    return outcome;
  }

  /** Saves and shows how far it is, and looks for a wish to cancel, every so often. */
  async #tickUntil(signal: AbortSignal): Promise<void> {
    const { checkpointMs, folder } = this.#parts;
    for (;;) {
      try {
        await sleep(checkpointMs, undefined, { signal, ref: false });
      } catch {
        return;
      }
      await this.#saveIfPossible(async () => {
        if (await folder.cancelWished(this.#giveUp.signal)) void this.cancel();
      });
    }
  }

  /** What keeps it from there is told, and tried again with the next tick. */
  async #saveIfPossible(then?: () => Promise<void>): Promise<void> {
    try {
      await this.#save();
      await then?.();
    } catch (error) {
      if (hasCode(error, 'JOB_SUPERSEDED')) this.#end('lock', 'another daemon has taken the job over', error);
      this.#parts.log.warn(
        { job: this.#document.name, err: error },
        'job: its state could not be saved; the next try follows',
      );
    }
  }

  /** One at a time. */
  #save(): Promise<void> {
    const saved = this.#saved.then(() => this.#saveNow());
    this.#saved = saved.catch(() => undefined);
    return saved;
  }

  /** The report first, so that the checkpoint never knows more than it. */
  async #saveNow(): Promise<void> {
    const { report, work, folder } = this.#parts;
    // Entries of pages that are complete may stand behind the position, and nothing comes of that; those of others must.
    const position = report.position;
    const snapshot = work.snapshot();
    await work.flush();
    await report.flush(this.#giveUp.signal);
    const checkpoint: Checkpoint = { schema: 1, snapshot, report: position };
    await folder.writeCheckpoint(checkpoint, this.#giveUp.signal);
    await this.#show();
  }

  /** Writes the status document, one write at a time. Rejects with JOB_SUPERSEDED when somebody has taken the job over. */
  #show(): Promise<void> {
    const { folder, events } = this.#parts;
    const shown = this.#shown.then(async () => {
      this.#document = this.#described({});
      const { kind, name, state, counts } = this.#document;
      events.emit('job', { kind, name, state, counts: { ...counts } });
      await folder.writeStatus(this.#document, this.#giveUp.signal);
      if (state !== this.#rootState) await this.#showInRoot();
    });
    this.#shown = shown.catch(() => undefined);
    return shown;
  }

  async #showInRoot(): Promise<void> {
    const { statusFile, log } = this.#parts;
    this.#rootState = this.#document.state;
    await statusFile?.show(this.#document).catch((error: unknown) => {
      log.warn({ err: error }, 'the status file in the root of the file system cannot be written');
    });
  }

  #described(changes: Partial<JobDocument>): JobDocument {
    const { work } = this.#parts;
    const counts = work.counts();
    const isOver = this.#document.lastCompletionTime !== undefined;
    const rates = isOver ? this.#document.rates : this.#rates.sample({ ...counts });
    const isWorking = this.#stop === undefined && !isOver;
    const before: { etaSeconds?: number } & JobDocument = { ...this.#document };
    delete before.etaSeconds;
    return {
      ...before,
      ...(isWorking ? { state: work.state?.() ?? 'InProgress', statusMessage: work.message() } : {}),
      counts,
      rates,
      ...this.#progress(isOver),
      updatedTime: new Date().toISOString(),
      ...changes,
    };
  }

  #progress(isOver: boolean): Pick<JobDocument, 'percentComplete' | 'etaSeconds'> {
    const progress = this.#parts.work.progress?.();
    if (!progress) return {};
    const { done, total } = progress;
    const percentComplete = total > 0 ? Math.floor((done / total) * 1000) / 10 : 100;
    const pace = isOver ? 0 : (this.#pace.sample({ done })['done'] ?? 0);
    return { percentComplete, ...(pace > 0 ? { etaSeconds: Math.round((total - done) / pace) } : {}) };
  }

  async #conclude(failure: unknown): Promise<Outcome> {
    const { log } = this.#parts;
    const { name } = this.#document;
    const isStopped = failure !== undefined && this.#stopping.signal.aborted;
    if (isStopped && this.#stop === 'lock') {
      log.error(
        { job: name, err: this.#stopping.signal.reason as unknown },
        'job: interrupted, its lock is lost',
      );
      return 'lost';
    }
    if (isStopped && this.#stop === 'shutdown') {
      await this.#save().catch((error: unknown) => {
        log.warn({ job: name, err: error }, 'job: interrupted, and its last state could not be saved');
      });
      log.info({ job: name }, 'job: interrupted; it goes on when the daemon starts again');
      return 'left';
    }
    this.#parts.work.settle();
    const verdict = this.#verdict(failure, isStopped);
    this.#document = this.#described({ ...verdict, lastCompletionTime: new Date().toISOString() });
    try {
      await this.#publish();
    } catch (error) {
      log.error(
        { job: name, err: error },
        'job: over, but its end could not be written; the daemon tries again',
      );
      return hasCode(error, 'JOB_SUPERSEDED') ? 'lost' : 'left';
    }
    const { state, statusMessage, counts } = this.#document;
    log.info({ job: name, state, counts, err: failure }, `job ended: ${statusMessage}`);
    return 'ended';
  }

  #verdict(failure: unknown, isStopped: boolean): Partial<JobDocument> & { state: JobState } {
    if (isStopped) return { state: 'Canceled', statusMessage: 'Canceled; what was done until then stays.' };
    if (failure !== undefined) {
      return {
        state: 'Failed',
        statusMessage: describeError(failure),
        errorCode: failure instanceof LhsmError ? failure.code : 'INTERNAL',
        errorMessage: describeError(failure),
      };
    }
    if (!this.#parts.work.isPartial()) return { state: 'Completed', statusMessage: 'Completed.' };
    const { name } = this.#document;
    return {
      state: 'CompletedPartial',
      statusMessage: `Ran to its end, but not everything could be done: lhsm-azblob jobs log ${name}`,
    };
  }

  /** The end, for everybody to see, and the lock free for the next. */
  async #publish(): Promise<void> {
    const { report, folder, lock, statusFile, log } = this.#parts;
    const { signal } = this.#giveUp;
    await report.finish(this.#document, signal);
    await this.#show();
    await this.#showInRoot();
    if (this.#document.state === 'Completed') {
      await statusFile?.remove().catch((error: unknown) => {
        log.warn({ err: error }, 'the status file in the root of the file system stays');
      });
    }
    await folder.clearCancel(signal);
    await lock.release(signal);
  }
}

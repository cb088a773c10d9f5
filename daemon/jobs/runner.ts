// Runs jobs, one at a time over all nodes: starts them, takes up those that a restart interrupted, answers for those of
// other nodes from their documents. agent-jobs.ts makes one, the admin API calls it.
import { setTimeout as sleep } from 'node:timers/promises';
import { LhsmError } from '../../native-bindings/errors.js';
import type { RequestNotice } from './asked-file.js';
import { beginJob } from './begin-job.js';
import type { JobDocument, JobSpec } from './job.js';
import type { CurrentJob } from './local-state.js';
import type { LogFormatName } from './log-format.js';
import { LAST_WORDS_MS, type RunnerOptions } from './runner-options.js';
import type { RunningJob } from './running-job.js';
import { StoredJobs } from './stored-jobs.js';
import { takeUpJob } from './take-up-job.js';

const RETRY_MS = 1_000;
const MAX_RETRY_MS = 60_000;

export class JobRunner {
  readonly #options: RunnerOptions;
  readonly #stored: StoredJobs;
  readonly #closing = new AbortController();
  #running: RunningJob | undefined;
  /** From the first check of a wish until its job runs. */
  #starting: string | undefined;
  /** Of the last start: rejects never. */
  #begun: Promise<unknown> = Promise.resolve();
  #over: Promise<void> = Promise.resolve();

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.#stored = new StoredJobs(options);
  }

  /** The job that runs in this process; undefined when there is none. */
  get current(): JobDocument | undefined {
    return this.#running?.document;
  }

  /** What the coordinator lets it wait for. */
  get notice(): RequestNotice | undefined {
    return this.#running?.notice;
  }

  /** Takes up the job that a former process has left, as soon as the service answers. Never rejects. */
  resume(): void {
    this.#over = this.#resume().catch((error: unknown) => {
      this.#options.log.error({ err: error }, 'an interrupted job cannot be taken up');
    });
  }

  /**
   * Begins a job, and resolves when it runs. Throws LhsmError: JOB_RUNNING when another does, here or elsewhere;
   * JOB_EXISTS; whatever the checks of its kind find.
   */
  async start(spec: JobSpec, signal: AbortSignal): Promise<JobDocument> {
    this.#refuseIfBusy();
    const begun = this.#start(spec, AbortSignal.any([signal, this.#closing.signal]));
    this.#begun = begun.catch(() => undefined);
    return begun;
  }

  /** The newest first, of all nodes. */
  async list(limit: number, signal: AbortSignal): Promise<readonly JobDocument[]> {
    const documents = await this.#stored.list(limit, signal);
    const { current } = this;
    return documents.map((document) => (document.name === current?.name ? current : document));
  }

  /** Throws LhsmError code JOB_UNKNOWN. */
  async show(name: string, signal: AbortSignal): Promise<JobDocument> {
    const { current } = this;
    return current?.name === name ? current : this.#stored.show(name, signal);
  }

  /** Cancels a job wherever it runs; one that nobody runs any more is marked so at once. A job that is over stays as it is. */
  async cancel(name: string, signal: AbortSignal): Promise<JobDocument> {
    const running = this.#running;
    if (running?.document.name !== name) return this.#stored.cancel(name, signal);
    await running.cancel();
    return running.document;
  }

  /** The log of a job as bytes, all its parts. Throws LhsmError code JOB_UNKNOWN. */
  log(name: string, format: LogFormatName, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    return this.#stored.log(name, format, signal);
  }

  /** Interrupts what runs, so that the next process goes on with it. Resolves when nothing of it is under way any more. */
  async close(): Promise<void> {
    this.#closing.abort(new LhsmError('the daemon stops', { code: 'ECANCELED', op: 'job' }));
    await this.#begun;
    await this.#running?.interrupt(LAST_WORDS_MS);
    await this.#over;
  }

  #refuseIfBusy(): void {
    const { current } = this;
    const name = current?.name ?? this.#starting;
    if (name === undefined) return;
    const since = current === undefined ? '' : `, started ${current.lastStartedTime}`;
    throw new LhsmError(`The job ${name} runs on this node${since}.`, {
      code: 'JOB_RUNNING',
      op: 'start job',
      errno: 16,
      retryable: true,
      hint: `Wait for it, or cancel it: lhsm-azblob jobs cancel ${name}`,
    });
  }

  async #start(spec: JobSpec, signal: AbortSignal): Promise<JobDocument> {
    this.#starting = spec.name;
    try {
      const job = await beginJob(this.#options, spec, signal);
      this.#over = this.#runToEnd(job).catch((error: unknown) => {
        this.#options.log.error(
          { job: spec.name, err: error },
          'a job is over, but the local state of jobs is not',
        );
      });
      return job.document;
    } finally {
      this.#starting = undefined;
    }
  }

  async #runToEnd(job: RunningJob): Promise<void> {
    this.#running = job;
    // It came too late for `close` to see it.
    if (this.#closing.signal.aborted) await job.interrupt(LAST_WORDS_MS);
    const outcome = await job.run();
    this.#running = undefined;
    if (outcome === 'ended') this.#options.local.clear();
    if (outcome === 'ended' || this.#closing.signal.aborted) return;
    this.#options.log.warn({ job: job.document.name }, 'an interrupted job is taken up again');
    await this.#resume();
  }

  /** Goes on with the job that the local state names, if it is still ours. */
  async #resume(): Promise<void> {
    const { local, log } = this.#options;
    const { current, damaged } = local.read();
    if (damaged !== undefined)
      log.error({ file: damaged }, 'the state of jobs was damaged and is moved aside');
    if (!current) return;
    this.#starting = current.name;
    const job = await this.#takeUp(current);
    this.#starting = undefined;
    if (job) await this.#runToEnd(job);
  }

  /** Tries until the service answers; undefined when there is nothing to go on with, or the daemon stops. */
  async #takeUp(current: CurrentJob): Promise<RunningJob | undefined> {
    const { signal } = this.#closing;
    for (let pauseMs = RETRY_MS; ; pauseMs = Math.min(pauseMs * 2, MAX_RETRY_MS)) {
      try {
        return await takeUpJob(this.#options, current, signal);
      } catch (error) {
        if (signal.aborted) return undefined;
        this.#options.log.warn(
          { job: current.name, err: error },
          'an interrupted job cannot be taken up yet',
        );
      }
      // Only the end of the daemon breaks it off.
      if (await sleep(pauseMs, false, { signal, ref: false }).catch(() => true)) return undefined;
    }
  }
}

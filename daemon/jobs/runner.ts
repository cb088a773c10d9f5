// Runs jobs, one at a time over all nodes: starts them, takes up those that a restart interrupted, answers for those of
// other nodes from their documents. agent.ts makes one, the admin API calls it.
import type { RequestNotice } from './asked-file.js';
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { describeError, hasCode, LhsmError } from '../../native-bindings/errors.js';
import { isFinal, type JobDocument, type JobHolder, type JobKind, type JobSpec } from './job.js';
import { emptyCounts } from './job-counts.js';
import type { JobStore } from './job-store.js';
import type { WorkMaker } from './job-work.js';
import type { JobFolder } from './job-folder.js';
import { LocalState, type CurrentJob } from './local-state.js';
import { JobLock, type LockContainer } from './lock.js';
import { readLog } from './read-log.js';
import { JobReport, reportPosition, type ReportPosition } from './report.js';
import { RunningJob, type Checkpoint, type RunningJobParts } from './running-job.js';
import { StatusFile } from './status-file.js';
import type { AgentEmitter } from '../events.js';

/** Where jobs of this file system are kept. */
export interface JobPlace {
  readonly store: JobStore;
  readonly container: LockContainer;
}

export interface RunnerOptions {
  readonly mount: string;
  readonly local: LocalState;
  /** The file system's folder in the logging container; rejects while there is none to be had. */
  readonly place: (signal: AbortSignal) => Promise<JobPlace>;
  readonly works: Readonly<Record<JobKind, WorkMaker>>;
  readonly events: AgentEmitter;
  readonly log: Logger;
  readonly checkpointMs: () => number;
}

const RETRY_MS = 1_000;
const MAX_RETRY_MS = 60_000;
/** How long a stopping daemon lets its job save its state. */
const INTERRUPT_MS = 5_000;
/** Clocks of client and server may differ by so much: in doubt a stub is the job's own. */
const CLOCK_TOLERANCE_NS = 2_000_000_000n;

/** Everything that stands in the log may be there already. */
const BEGIN_OF_REPORT: ReportPosition = { jsonl: { part: 1, bytes: 0 }, csv: { part: 1, bytes: 0 } };

/** A job whose lock is taken and whose folder is there. */
type BegunJob = Pick<RunningJobParts, 'document' | 'folder' | 'lock' | 'report'> & {
  readonly snapshot: unknown;
};

export class JobRunner {
  readonly #options: RunnerOptions;
  readonly #closing = new AbortController();
  #running: RunningJob | undefined;
  /** From the first check of a wish until its job runs. */
  #starting: string | undefined;
  #over: Promise<void> = Promise.resolve();

  constructor(options: RunnerOptions) {
    this.#options = options;
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
    this.#starting = spec.name;
    try {
      return await this.#start(spec, AbortSignal.any([signal, this.#closing.signal]));
    } finally {
      this.#starting = undefined;
    }
  }

  async list(limit: number, signal: AbortSignal): Promise<readonly JobDocument[]> {
    const { store } = await this.#options.place(signal);
    const documents = await store.list(limit, signal, (err) => {
      this.#options.log.warn({ err }, 'a status document of a job cannot be read');
    });
    const { current } = this;
    return documents.map((document) => (document.name === current?.name ? current : document));
  }

  /** Throws LhsmError code JOB_UNKNOWN. */
  async show(name: string, signal: AbortSignal): Promise<JobDocument> {
    const { current } = this;
    if (current?.name === name) return current;
    const { store } = await this.#options.place(signal);
    const document = await store.status(name, signal);
    if (!document) throw unknownJob(name);
    return document;
  }

  /** Cancels a job wherever it runs; one that nobody runs any more is marked so at once. A job that is over stays as it is. */
  async cancel(name: string, signal: AbortSignal): Promise<JobDocument> {
    const running = this.#running;
    if (running?.document.name === name) {
      await running.cancel();
      return running.document;
    }
    const place = await this.#options.place(signal);
    const { store } = place;
    const document = await store.status(name, signal);
    if (!document) throw unknownJob(name);
    if (isFinal(document.state)) return document;
    await store.askCancel(name, { host: hostname(), time: new Date().toISOString() }, signal);
    return (await this.#cancelOrphan(place, document, signal)) ?? document;
  }

  /** The log of a job as bytes, all its parts. Throws LhsmError code JOB_UNKNOWN. */
  async *log(name: string, format: 'jsonl' | 'csv', signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const { store } = await this.#options.place(signal);
    if (!(await store.status(name, signal))) throw unknownJob(name);
    yield* readLog(store, name, format, signal);
  }

  /** Interrupts what runs, so that the next process goes on with it. */
  async close(): Promise<void> {
    this.#closing.abort(new LhsmError('the daemon stops', { code: 'ECANCELED', op: 'job' }));
    await this.#running?.interrupt(INTERRUPT_MS);
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

  #holder(): JobHolder {
    return { host: hostname(), mount: this.#options.mount, pid: process.pid };
  }

  async #start(spec: JobSpec, signal: AbortSignal): Promise<JobDocument> {
    const place = await this.#options.place(signal);
    const { local } = this.#options;
    const started = new Date().toISOString();
    const document: JobDocument = {
      schema: 1,
      id: randomUUID().slice(0, 8),
      name: spec.name,
      kind: spec.kind,
      state: spec.kind === 'export' ? 'FSScanInProgress' : 'InProgress',
      statusMessage: 'Starting.',
      spec,
      holder: this.#holder(),
      lastStartedTime: started,
      updatedTime: started,
      resumes: 0,
      counts: emptyCounts(spec.kind),
      rates: {},
    };
    const current: CurrentJob = { name: spec.name, kind: spec.kind, id: document.id, leaseId: randomUUID() };
    const lock = await this.#acquire(place, current, started, signal);
    let job: RunningJob;
    try {
      const folder = await place.store.create(document, signal);
      try {
        local.write(current);
        const report = await JobReport.create(folder, {}, signal);
        job = await this.#prepare({ folder, lock, report, document, snapshot: undefined }, signal);
      } catch (error) {
        await this.#fail(folder, document, error);
        local.clear();
        throw error;
      }
    } catch (error) {
      await this.#release(lock);
      throw error;
    }
    this.#running = job;
    this.#over = this.#runToEnd(job).catch((error: unknown) => {
      this.#options.log.error(
        { job: spec.name, err: error },
        'a job is over, but the local state of jobs is not',
      );
    });
    return job.document;
  }

  /** Closes the report when it rejects. */
  async #prepare(begun: BegunJob, signal: AbortSignal): Promise<RunningJob> {
    const { mount, local, works, events, log, checkpointMs } = this.#options;
    const { document, snapshot, report } = begun;
    const startedNs = BigInt(Date.parse(document.lastStartedTime)) * 1_000_000n - CLOCK_TOLERANCE_NS;
    const scratch = join(local.folder, document.id);
    try {
      await mkdir(scratch, { recursive: true, mode: 0o700 });
      const work = await works[document.kind](
        { document, report, snapshot, startedNs, scratch, log: log.child({ job: document.name }) },
        signal,
      );
      const statusFile = document.spec.dryRun ? undefined : new StatusFile(mount, document);
      return new RunningJob({
        ...begun,
        work,
        statusFile,
        scratch,
        events,
        log,
        checkpointMs: checkpointMs(),
      });
    } catch (error) {
      await report.close();
      throw error;
    }
  }

  /** Nobody shall find a job in progress that is not. Never rejects. */
  async #fail(folder: JobFolder, document: JobDocument, error: unknown): Promise<void> {
    // What ended the job must not end this as well.
    const signal = AbortSignal.timeout(INTERRUPT_MS);
    await folder.writeStatus(failed(document, error), signal).catch((second: unknown) => {
      this.#options.log.warn({ job: document.name, err: second }, 'a job that failed could not be marked so');
    });
  }

  /** Never rejects: the lease runs out by itself as well. */
  async #release(lock: JobLock): Promise<void> {
    await lock.release(AbortSignal.timeout(INTERRUPT_MS)).catch((error: unknown) => {
      this.#options.log.warn({ err: error }, 'the lock of jobs is not released; it runs out within a minute');
    });
  }

  /** Takes the lock, and marks the job of a holder that has gone. */
  async #acquire(
    { store, container }: JobPlace,
    { kind, name, leaseId }: Omit<CurrentJob, 'id'>,
    started: string,
    signal: AbortSignal,
  ): Promise<JobLock> {
    const holder = { kind, name, started, ...this.#holder() };
    const { fileSystem } = store;
    const lock = await JobLock.acquire(container, { fileSystem, holder, leaseId }, signal);
    const { previous } = lock;
    if (previous === undefined || previous.name === name) return lock;
    try {
      const left = await store.open(previous.name, signal);
      if (left && !isFinal(left.status.state)) {
        const gone = new LhsmError(
          `Its daemon on ${previous.host} has gone, and the job ${name} has begun.`,
          {
            code: 'JOB_INTERRUPTED',
            op: 'job',
            hint: 'Start it again: what it has done is found and not done twice.',
          },
        );
        await left.folder.writeStatus(failed(left.status, gone), signal);
      }
    } catch (error) {
      // Its document says that it is in progress; `jobs cancel` mends that.
      this.#options.log.warn(
        { job: previous.name, err: error },
        'a job whose daemon has gone is not marked so',
      );
    }
    return lock;
  }

  async #runToEnd(job: RunningJob): Promise<void> {
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
    const { signal } = this.#closing;
    const { current, damaged } = local.read();
    if (damaged !== undefined)
      log.error({ file: damaged }, 'the state of jobs was damaged and is moved aside');
    if (!current) return;
    this.#starting = current.name;
    let job: RunningJob | undefined;
    for (let pauseMs = RETRY_MS; ; pauseMs = Math.min(pauseMs * 2, MAX_RETRY_MS)) {
      try {
        job = await this.#takeUp(current, signal);
        break;
      } catch (error) {
        if (signal.aborted) return;
        log.warn({ job: current.name, err: error }, 'an interrupted job cannot be taken up yet');
      }
      // Only the end of the daemon breaks it off.
      if (await sleep(pauseMs, false, { signal, ref: false }).catch(() => true)) return;
    }
    this.#running = job;
    this.#starting = undefined;
    if (job) await this.#runToEnd(job);
  }

  /** undefined when there is nothing to go on with. Rejects with what passes. */
  async #takeUp(current: CurrentJob, signal: AbortSignal): Promise<RunningJob | undefined> {
    const { local, log } = this.#options;
    const place = await this.#options.place(signal);
    const status = await place.store.status(current.name, signal);
    if (!status || isFinal(status.state)) {
      local.clear();
      return undefined;
    }
    let lock: JobLock;
    try {
      lock = await this.#acquire(place, current, status.lastStartedTime, signal);
    } catch (error) {
      if (!hasCode(error, 'JOB_RUNNING')) throw error;
      log.warn({ job: current.name, err: error }, 'an interrupted job is not taken up: another runs');
      local.clear();
      return undefined;
    }
    try {
      return await this.#goOn(place, lock, current, signal);
    } catch (error) {
      lock.leave();
      throw error;
    }
  }

  async #goOn(
    { store }: JobPlace,
    lock: JobLock,
    current: CurrentJob,
    signal: AbortSignal,
  ): Promise<RunningJob | undefined> {
    const { local, log } = this.#options;
    const opened = await store.open(current.name, signal);
    if (!opened || isFinal(opened.status.state)) {
      local.clear();
      await this.#release(lock);
      return undefined;
    }
    const { folder, status } = opened;
    const document: JobDocument = { ...status, holder: this.#holder(), resumes: status.resumes + 1 };
    try {
      await folder.writeStatus(document, signal);
      const checkpoint = (await folder.readCheckpoint(signal)) as Checkpoint | undefined;
      const position = reportPosition(checkpoint?.report) ?? BEGIN_OF_REPORT;
      const report = await JobReport.resume(folder, position, {}, signal);
      return await this.#prepare({ folder, lock, report, document, snapshot: checkpoint?.snapshot }, signal);
    } catch (error) {
      if (signal.aborted || !(error instanceof LhsmError) || error.retryable) throw error;
      // No waiting mends it, a configuration that has changed say.
      log.error({ job: current.name, err: error }, 'an interrupted job cannot go on');
      await this.#fail(folder, document, error);
      local.clear();
      await this.#release(lock);
      return undefined;
    }
  }

  /** Marks a job whose daemon has gone as Canceled; undefined when somebody has the lock. */
  async #cancelOrphan(
    place: JobPlace,
    { kind, name, lastStartedTime }: JobDocument,
    signal: AbortSignal,
  ): Promise<JobDocument | undefined> {
    let lock: JobLock;
    try {
      lock = await this.#acquire(place, { kind, name, leaseId: randomUUID() }, lastStartedTime, signal);
    } catch (error) {
      if (hasCode(error, 'JOB_RUNNING')) return undefined;
      throw error;
    }
    try {
      const now = await place.store.open(name, signal);
      if (!now || isFinal(now.status.state)) return now?.status;
      const time = new Date().toISOString();
      const canceled: JobDocument = {
        ...now.status,
        state: 'Canceled',
        statusMessage: 'Canceled; its daemon had gone. What was done until then stays.',
        updatedTime: time,
        lastCompletionTime: time,
      };
      await now.folder.writeStatus(canceled, signal);
      await now.folder.clearCancel(signal);
      return canceled;
    } finally {
      await this.#release(lock);
    }
  }
}

function failed(document: JobDocument, error: unknown): JobDocument {
  const time = new Date().toISOString();
  const message = describeError(error);
  return {
    ...document,
    state: 'Failed',
    statusMessage: message,
    errorCode: error instanceof LhsmError ? error.code : 'INTERNAL',
    errorMessage: message,
    updatedTime: time,
    lastCompletionTime: time,
  };
}

function unknownJob(name: string): LhsmError {
  return new LhsmError(`There is no job ${name}.`, {
    code: 'JOB_UNKNOWN',
    op: 'jobs',
    errno: 2,
    hint: 'See those that there are: lhsm-azblob jobs list',
  });
}

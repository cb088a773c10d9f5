// Jobs that do not run in this process, as their documents tell of them, and the end of one that nobody runs any more.
// runner.ts asks it on behalf of the admin API.
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { hasCode, LhsmError } from '../../native-bindings/errors.js';
import { isFinal, type JobDocument } from './job.js';
import type { LogFormatName } from './log-format.js';
import type { JobLock } from './lock.js';
import { readLog } from './read-log.js';
import { giveLockBack, takeLock } from './runner-lock.js';
import type { JobPlace, RunnerOptions } from './runner-options.js';

export class StoredJobs {
  readonly #options: Pick<RunnerOptions, 'mount' | 'place' | 'log'>;

  constructor(options: Pick<RunnerOptions, 'mount' | 'place' | 'log'>) {
    this.#options = options;
  }

  /** The newest first. A document that cannot be read is left out, and the log says so. */
  async list(limit: number, signal: AbortSignal): Promise<readonly JobDocument[]> {
    const { store } = await this.#options.place(signal);
    return store.list(limit, signal, (err) => {
      this.#options.log.warn({ err }, 'a status document of a job cannot be read');
    });
  }

  /** Throws LhsmError code JOB_UNKNOWN. */
  async show(name: string, signal: AbortSignal): Promise<JobDocument> {
    return known(await this.#options.place(signal), name, signal);
  }

  /**
   * Leaves the wish to cancel for whoever runs the job; one that nobody runs any more is marked so at once. A job that is over
   * stays as it is. Throws LhsmError code JOB_UNKNOWN.
   */
  async cancel(name: string, signal: AbortSignal): Promise<JobDocument> {
    const place = await this.#options.place(signal);
    const document = await known(place, name, signal);
    if (isFinal(document.state)) return document;
    await place.store.askCancel(name, { host: hostname(), time: new Date().toISOString() }, signal);
    return (await this.#cancelOrphan(place, document, signal)) ?? document;
  }

  /** The log as bytes, all its parts. Throws LhsmError code JOB_UNKNOWN. */
  async *log(name: string, format: LogFormatName, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const place = await this.#options.place(signal);
    await known(place, name, signal);
    yield* readLog(place.store, name, format, signal);
  }

  /** Marks a job whose daemon has gone as Canceled; undefined when somebody has the lock. */
  async #cancelOrphan(
    place: JobPlace,
    { kind, name, lastStartedTime }: JobDocument,
    signal: AbortSignal,
  ): Promise<JobDocument | undefined> {
    let lock: JobLock;
    try {
      const wish = { kind, name, leaseId: randomUUID() };
      lock = await takeLock(this.#options, place, wish, lastStartedTime, signal);
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
      await giveLockBack(lock, this.#options.log);
    }
  }
}

async function known({ store }: JobPlace, name: string, signal: AbortSignal): Promise<JobDocument> {
  const document = await store.status(name, signal);
  if (document) return document;
  throw new LhsmError(`There is no job ${name}.`, {
    code: 'JOB_UNKNOWN',
    op: 'jobs',
    errno: 2,
    hint: 'See those that there are: lhsm-azblob jobs list',
  });
}

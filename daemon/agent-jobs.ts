// The jobs of the agent: the runner with all that its works need, made from the configuration. agent-parts.ts makes it, the
// admin API asks it.
import type { Logger } from 'pino';
import { LhsmError } from '../native-bindings/errors.js';
import type { Lustre } from '../native-bindings/lustre.js';
import type { ArchiveContainer } from './blobs/archive-container.js';
import type { ReadOptions } from './blobs/attributes.js';
import type { ContainerOptions } from './blobs/azure-container.js';
import { loggingContainerOf } from './blobs/logging-address.js';
import type { LoggingContainer } from './blobs/logging-container.js';
import type { Config } from './config/config.js';
import type { JobsControl, LogFormat } from './control/jobs-control.js';
import type { AgentEmitter } from './events.js';
import type { RequestNotice } from './jobs/asked-file.js';
import { exportWork } from './jobs/export.js';
import { FailureNotes } from './jobs/failure-notes.js';
import { loadIdMap } from './jobs/id-map.js';
import { importWork } from './jobs/import.js';
import type { JobDocument } from './jobs/job.js';
import { jobSpec, type JobRequest } from './jobs/job-request.js';
import { JobStore } from './jobs/job-store.js';
import { LocalState, jobsFolder } from './jobs/local-state.js';
import { restoreReasons, type RestoreReasons } from './jobs/restore-reasons.js';
import { JobRunner } from './jobs/runner.js';
import type { JobPlace } from './jobs/runner-options.js';
import { fileSystemId } from './movers/file-system-id.js';

export interface AgentJobsOptions {
  readonly config: () => Config;
  readonly lustre: Lustre;
  readonly container: (archiveId: number) => ArchiveContainer | undefined;
  readonly containerOptions: ContainerOptions;
  readonly events: AgentEmitter;
  readonly log: Logger;
}

/** Jobs where there is a logging container; `agent.jobs` refuses where there is none. */
export class AgentJobs implements JobsControl {
  readonly #options: AgentJobsOptions;
  readonly #runner: JobRunner;
  /** Of actions of this node, for jobs and batch restores of whatever node. */
  readonly #notes: FailureNotes | undefined;
  #place: { readonly logging: LoggingContainer; readonly store: JobStore } | undefined;

  constructor(options: AgentJobsOptions) {
    this.#options = options;
    const { config, lustre, container, events, log } = options;
    const { jobs, mount, stateDir } = config();
    this.#runner = new JobRunner({
      mount,
      local: new LocalState(jobsFolder(stateDir, mount)),
      place: (signal) => this.place(signal),
      works: {
        import: importWork({
          mount,
          lustre,
          container,
          attributes: (signal) => this.#attributes(signal),
          stubsAtOnce: () => config().jobs.stubsAtOnce,
          listingStreams: () => config().jobs.listingStreams,
          pageSize: () => config().jobs.pageSize,
        }),
        export: exportWork({
          mount,
          lustre,
          container,
          policy: () => config().policy,
          events,
          place: (signal) => this.place(signal),
        }),
      },
      events,
      log,
      checkpointMs: () => config().jobs.checkpointMs,
    });
    if (jobs.loggingContainer === undefined) return;
    this.#notes = new FailureNotes({
      events,
      place: async (signal) => {
        const { store } = await this.place(signal);
        return { container: store.container, fileSystem: store.fileSystem };
      },
      log,
    });
  }

  /** The job that runs in this process. */
  get current(): JobDocument | undefined {
    return this.#runner.current;
  }

  /** What the coordinator lets it wait for. */
  get notice(): RequestNotice | undefined {
    return this.#runner.notice;
  }

  /** Takes up what a former process has left. */
  resume(): void {
    this.#runner.resume();
  }

  start(request: JobRequest, signal: AbortSignal): Promise<JobDocument> {
    const { archives, jobs, mount } = this.#options.config();
    const archiveIds = archives.map(({ id }) => id);
    const spec = jobSpec(request, { archiveIds, mount, window: jobs.window, now: new Date() });
    return this.#runner.start(spec, signal);
  }

  list(limit: number, signal: AbortSignal): Promise<readonly JobDocument[]> {
    return this.#runner.list(limit, signal);
  }

  show(name: string, signal: AbortSignal): Promise<JobDocument> {
    return this.#runner.show(name, signal);
  }

  cancel(name: string, signal: AbortSignal): Promise<JobDocument> {
    return this.#runner.cancel(name, signal);
  }

  log(name: string, format: LogFormat, signal: AbortSignal): AsyncIterable<Uint8Array> {
    return this.#runner.log(name, format, signal);
  }

  /** For one batch restore; undefined where there is no logging container. */
  restoreReasons(): RestoreReasons | undefined {
    if (!this.#notes) return undefined;
    const store = async (signal: AbortSignal): Promise<JobStore> => (await this.place(signal)).store;
    return restoreReasons({ store, notes: this.#notes, log: this.#options.log });
  }

  /** Interrupts the job of this process; the next one goes on with it. */
  interrupt(): Promise<void> {
    return this.#runner.close();
  }

  /** After `interrupt`, and when no action can fail any more. */
  async close(): Promise<void> {
    await this.interrupt();
    await this.#notes?.close();
    this.#place?.logging.close();
  }

  /** The logging container, looked at until it has answered once. Throws LOGGING_CONTAINER_UNSET, _MISSING, _IS_DATA, _ACCOUNT. */
  async place(signal: AbortSignal): Promise<JobPlace> {
    const { config, containerOptions, lustre } = this.#options;
    const { archives, jobs, mount } = config();
    if (jobs.loggingContainer === undefined) throw loggingContainerUnset();
    if (!this.#place) {
      const logging = loggingContainerOf(archives, jobs.loggingContainer, containerOptions);
      try {
        await logging.check(signal);
        this.#place ??= { logging, store: new JobStore(logging, await fileSystemId(lustre, mount)) };
      } finally {
        if (this.#place?.logging !== logging) logging.close();
      }
    }
    return { store: this.#place.store, container: this.#place.logging };
  }

  async #attributes(signal: AbortSignal): Promise<ReadOptions> {
    const { jobs, policy } = this.#options.config();
    const { uid, gid, fileMode, directoryMode, userMap, groupMap } = jobs;
    return {
      defaults: { uid, gid, fileMode, directoryMode },
      keepSetId: policy.keepSetId,
      ...(userMap === undefined ? {} : { users: await loadIdMap(userMap, signal) }),
      ...(groupMap === undefined ? {} : { groups: await loadIdMap(groupMap, signal) }),
    };
  }
}

/** Without a logging container there are no jobs. */
export function loggingContainerUnset(): LhsmError {
  return new LhsmError('there is no logging container, and without one there are no jobs', {
    code: 'LOGGING_CONTAINER_UNSET',
    op: 'jobs',
    errno: 22,
    hint: 'Set logging_container of [jobs] to a container beside that of the archive, then restart the daemon.',
  });
}

// Nodes that run jobs over one logging container in memory, with works that do what the test says. For the tests of the
// runner and of its parts.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { pino } from 'pino';
import type { Test } from 'tap';
import { AgentEmitter } from '../../../daemon/events.js';
import { importCounts } from '../../../daemon/jobs/job-counts.js';
import type { JobDocument, JobSpec } from '../../../daemon/jobs/job.js';
import { JobStore } from '../../../daemon/jobs/job-store.js';
import type { JobWork, WorkContext, WorkMaker } from '../../../daemon/jobs/job-work.js';
import { LocalState } from '../../../daemon/jobs/local-state.js';
import { JobRunner } from '../../../daemon/jobs/runner.js';
import type { JobPlace } from '../../../daemon/jobs/runner-options.js';
import { documentOf, never } from './logs.js';
import { MemoryContainer } from './memory-container.js';

export const FS = 'lustre@1700000000';

export function specOf(name: string): JobSpec {
  return documentOf(name).spec;
}

/** Resolves when it is so; within the test's time. */
export async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await turn();
}

/** A work that runs until the test ends it, or its signal. */
class FakeWork implements JobWork {
  readonly context: WorkContext;
  /** What the next checkpoint says. */
  at: unknown = undefined;
  isRunning = false;
  isClosed = false;
  end: () => void = () => undefined;
  readonly #ended = new Promise<void>((resolve) => {
    this.end = resolve;
  });

  constructor(context: WorkContext) {
    this.context = context;
  }

  async run(signal: AbortSignal): Promise<void> {
    this.isRunning = true;
    signal.throwIfAborted();
    const stopped = new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => {
        resolve();
      });
    });
    await Promise.race([this.#ended, stopped]);
    signal.throwIfAborted();
  }

  counts = importCounts;
  isPartial = (): boolean => false;
  snapshot = (): unknown => this.at;
  flush = (): Promise<void> => Promise.resolve();
  settle = (): void => undefined;
  message = (): string => 'Works.';
  close = (): Promise<void> => {
    this.isClosed = true;
    return Promise.resolve();
  };
}

export interface NodeOptions {
  /** Called before a work is made; what it rejects with, the making does. */
  readonly check?: (context: WorkContext, signal: AbortSignal) => unknown;
  /** Called before the place is given. */
  readonly atPlace?: () => unknown;
  readonly checkpointMs?: number;
}

/** One process of a node; the next one of the same name finds what it has left on the local disk. */
export class FakeNode {
  readonly runner: JobRunner;
  readonly local: LocalState;
  readonly works: FakeWork[] = [];
  /** What it has logged as a warning or worse. */
  readonly troubles: string[] = [];
  readonly #alive = new AbortController();

  constructor(site: FakeSite, name: string, options: NodeOptions) {
    this.local = new LocalState(join(site.folder, name));
    const container = site.blobs.node(this.#alive.signal);
    const place: JobPlace = { store: new JobStore(container, FS), container };
    const make: WorkMaker = async (context, signal) => {
      await options.check?.(context, signal);
      const work = new FakeWork(context);
      this.works.push(work);
      return work;
    };
    this.runner = new JobRunner({
      mount: site.mount,
      local: this.local,
      place: async () => {
        await options.atPlace?.();
        return place;
      },
      works: { import: make, export: make },
      events: new AgentEmitter(),
      log: pino({ level: 'warn' }, { write: (line: string) => this.troubles.push(line) }),
      checkpointMs: () => options.checkpointMs ?? 3_600_000,
    });
  }

  /** The work of the job that runs. */
  get work(): FakeWork {
    const work = this.works.at(-1);
    if (!work) throw new Error('there is no work');
    return work;
  }

  /** Starts a job, and resolves when its work runs. */
  async start(name: string): Promise<JobDocument> {
    const document = await this.runner.start(specOf(name), never);
    await until(() => this.work.isRunning);
    return document;
  }

  /** Goes on with what the process before it has left, and resolves when the work runs. */
  async resume(): Promise<void> {
    this.runner.resume();
    await until(() => this.works.at(-1)?.isRunning ?? false);
  }

  async end(): Promise<void> {
    this.work.end();
    await until(() => this.runner.current === undefined);
  }

  /** As kill -9: none of its requests is done, or answered, from now on. */
  kill(): void {
    this.#alive.abort();
  }
}

export class FakeSite {
  readonly blobs = new MemoryContainer();
  readonly mount: string;
  readonly folder: string;

  constructor(t: Test) {
    const dir = t.testdir({});
    this.mount = join(dir, 'mount');
    this.folder = join(dir, 'state');
    mkdirSync(this.mount);
    mkdirSync(this.folder);
  }

  node(name = 'node1', options: NodeOptions = {}): FakeNode {
    return new FakeNode(this, name, options);
  }

  /** As any node reads it. */
  async status(job: string): Promise<JobDocument | undefined> {
    return new JobStore(this.blobs.node(), FS).status(job, never);
  }
}

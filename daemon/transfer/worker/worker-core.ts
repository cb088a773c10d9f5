// Carries out commands: what a worker thread does, and, where there is none, the main thread. main.ts and
// worker-pool.ts make one each.
import { bodyThreads } from '../../../native-bindings/body-threads.js';
import { BufferPool } from '../buffer-pool.js';
import { fileIo, type RawIo } from '../file-io.js';
import { Numbered } from '../numbered.js';
import { Connections } from './connections.js';
import { GetJob } from './get-job.js';
import type { Job, JobTools } from './job.js';
import type { Command, WorkerEvent, WorkerOptions } from './messages.js';
import { PutJob } from './put-job.js';

export class WorkerCore {
  readonly #connections: Connections;
  readonly #downloads: JobTools;
  readonly #uploads: JobTools;
  readonly #jobs = new Numbered<Job>();
  /** Called when there is no job any more. */
  #whenIdle: (() => void) | undefined;

  /** `io` replaces the calls on descriptors, for tests. */
  constructor(options: WorkerOptions, post: (event: WorkerEvent) => void, io?: RawIo) {
    this.#connections = new Connections(options);
    const progress = new Float64Array(options.progress);
    const shared = {
      io: fileIo(io, options.fileCalls),
      bodies: io === undefined ? bodyThreads() : undefined,
      stallTimeoutMs: options.stallTimeoutMs,
      connections: this.#connections,
      post,
      progress,
      count: (slot: number, bytes: number) => {
        // Nobody else writes to this slot while the job has it.
        progress[slot] = (progress[slot] ?? 0) + bytes;
      },
    };
    this.#downloads = { ...shared, pool: new BufferPool(options.downloadBytes) };
    this.#uploads = { ...shared, pool: new BufferPool(options.uploadBytes) };
  }

  handle(command: Command): void {
    switch (command.type) {
      case 'get':
        this.#start(command.id, new GetJob(command, this.#downloads));
        return;
      case 'put':
        this.#start(command.id, new PutJob(command, this.#uploads));
        return;
      // Who is told to go on, or to stop, may have ended meanwhile.
      case 'go':
        this.#jobs.get(command.id)?.go(command);
        return;
      case 'abort':
        this.#jobs.get(command.id)?.abort();
        return;
    }
  }

  /** Aborts what is under way, waits for it, and closes the connections. */
  async close(): Promise<void> {
    for (const job of this.#jobs.values()) job.abort();
    if (this.#jobs.size > 0) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
      });
    }
    await this.#connections.close();
    this.#downloads.pool.trim();
    this.#uploads.pool.trim();
  }

  #start(id: number, job: Job): void {
    this.#jobs.put(id, job);
    void job.run().then((done) => {
      this.#jobs.delete(id);
      this.#downloads.post(done);
      if (this.#jobs.size === 0) this.#whenIdle?.();
    });
  }
}

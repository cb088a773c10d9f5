// One worker as the pool sees it: its thread, where commands go, and what of it is free. worker-pool.ts has several.
import { Worker } from 'node:worker_threads';
import type { RawIo } from './file-io.js';
import { ProgressSlots } from './progress-slots.js';
import type { Command, WorkerEvent, WorkerOptions } from './worker/messages.js';
import { Outbox } from './worker/outbox.js';
import { WorkerCore } from './worker/worker-core.js';

/**
 * Requests that one worker has before another gets any, and is started if need be. What a GET costs a worker is little where
 * threads of C take its body; a PUT is read, summed and encrypted there. Two workers on one node are dearer than one: they
 * contend for what they share.
 */
export const FULL = 16;

export interface PoolOptions extends Omit<WorkerOptions, 'progress'> {
  /** Threads; 0 does the work on this one. */
  readonly workers: number;
  /** For tests, without threads: the calls on descriptors. */
  readonly io?: RawIo | undefined;
  /** Hears of a thread that died; its requests are made again in another. */
  readonly onDeath?: ((error: Error) => void) | undefined;
}

/** One worker: where commands go, and what of it is free. */
export class Seat {
  readonly slots = new ProgressSlots();
  /** What it has to do, in requests that cost little. */
  load = 0;
  readonly #outbox: Outbox<Command>;
  #close: () => Promise<void>;

  constructor(options: PoolOptions, hear: (event: WorkerEvent) => void, onEnd: (error: Error) => void) {
    const { workers, io, downloadBytes, uploadBytes, stallTimeoutMs, ca, fileCalls } = options;
    const progress = this.slots.shared;
    const settings: WorkerOptions = { downloadBytes, uploadBytes, stallTimeoutMs, ca, fileCalls, progress };
    if (workers === 0) {
      const core = new WorkerCore(settings, hear, io);
      this.#outbox = new Outbox((commands) => {
        for (const command of commands) core.handle(command);
      });
      this.#close = () => core.close();
      return;
    }
    const thread = new Worker(new URL('./worker/main.js', import.meta.url), {
      workerData: settings,
      // Nothing that was loaded into the main thread is wanted here.
      execArgv: [],
      name: 'lhsm-transfer',
    });
    let failure: Error | undefined;
    thread.on('error', (error: Error) => {
      failure = error;
    });
    const ended = new Promise<void>((resolve) => {
      thread.on('exit', (code) => {
        onEnd(failure ?? new Error(`the thread ended with code ${code}`));
        resolve();
      });
    });
    thread.on('message', (events: readonly WorkerEvent[]) => {
      for (const event of events) hear(event);
    });
    this.#outbox = new Outbox((commands) => {
      thread.postMessage(commands);
    });
    this.#close = async () => {
      this.#outbox.flush();
      thread.postMessage('close');
      await ended;
    };
  }

  send(command: Command): void {
    this.#outbox.add(command);
  }

  close(): Promise<void> {
    return this.#close();
  }
}

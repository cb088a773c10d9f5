// What GET and PUT jobs have in common. worker-core.ts makes and drives them.
import type { BodyThreads } from '../../../native-bindings/body-threads.js';
import { Stop } from '../../stop.js';
import type { BufferPool } from '../buffer-pool.js';
import type { FileIo } from '../file-io.js';
import type { Connection } from './connection.js';
import type { Connections } from './connections.js';
import type { DoneEvent, GoCommand, WorkerEvent } from './messages.js';
import { WireError } from './wire-error.js';

/** What a job works with. */
export interface JobTools {
  readonly io: FileIo;
  readonly connections: Connections;
  readonly pool: BufferPool;
  readonly post: (event: WorkerEvent) => void;
  /** Threads for bodies; undefined where the addon is not there, or tests have calls of their own. */
  readonly bodies: BodyThreads | undefined;
  readonly stallTimeoutMs: number;
  /** What the main thread sees of each job: bytes, in its slot. */
  readonly progress: Float64Array;
  /** Adds to them. */
  readonly count: (slot: number, bytes: number) => void;
}

/** What the caller says when it has looked at what was told. */
export class Permission {
  #given: GoCommand | undefined;
  #isRefused = false;
  readonly #waiting: {
    readonly resolve: (go: GoCommand) => void;
    readonly reject: (error: Error) => void;
  }[] = [];

  /** Rejects with WireError aborted when it is refused. A promise is made only for who waits. */
  get given(): GoCommand | Promise<GoCommand> {
    if (this.#given !== undefined) return this.#given;
    if (this.#isRefused) return Promise.reject(new WireError({ kind: 'aborted' }));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
    });
  }

  give(go: GoCommand): void {
    if (this.#isRefused) return;
    this.#given = go;
    for (const { resolve } of this.#waiting.splice(0)) resolve(go);
  }

  refuse(): void {
    this.#isRefused = true;
    for (const { reject } of this.#waiting.splice(0)) reject(new WireError({ kind: 'aborted' }));
  }
}

/** A command in work. */
export abstract class Job<C = unknown> {
  protected readonly command: C;
  protected readonly tools: JobTools;
  protected readonly permission = new Permission();
  protected readonly stop = new Stop();
  /** Where its request is under way. */
  protected connection: Connection | undefined;

  constructor(command: C, tools: JobTools) {
    this.command = command;
    this.tools = tools;
  }

  abstract run(): Promise<DoneEvent>;

  go(command: GoCommand): void {
    this.permission.give(command);
  }

  abort(): void {
    this.stop.abort();
    this.permission.refuse();
    this.connection?.fail(new WireError({ kind: 'aborted' }));
  }
}

/** As all of Azure's are; anything else is not repeated in an error. */
const wellFormed = /^[A-Za-z][A-Za-z0-9]{0,79}$/;
const code = /<Code>([A-Za-z0-9]{1,80})<\/Code>/;
const jsonCode = /"code"\s*:\s*"([A-Za-z0-9]{1,80})"/;

/** Azure's error code in an answer: a header says it, and a body where a proxy has dropped that. */
export function serviceCodeOf(headers: Readonly<Record<string, string>>, body: Buffer): string | undefined {
  const said = headers['x-ms-error-code'];
  if (said !== undefined && wellFormed.test(said)) return said;
  const text = body.toString('latin1');
  return (code.exec(text) ?? jsonCode.exec(text))?.[1];
}

/** Whether a failure shows that a reused connection had been closed before the request was read. */
export function wasStale(error: unknown, requests: number, answerBegun: boolean): boolean {
  if (requests < 2 || answerBegun || !(error instanceof WireError)) return false;
  const { failure } = error;
  if (failure.kind === 'broken') return true;
  return failure.kind === 'network' && (failure.code === 'ECONNRESET' || failure.code === 'EPIPE');
}

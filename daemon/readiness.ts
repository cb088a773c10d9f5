// Whether the containers let us in: probed at start with backoff, and again from time to time, for /readyz,
// status and metrics. agent.ts waits for the first that answers before it registers.
import type { Logger } from 'pino';
import { describeError, LhsmError } from '../native-bindings/errors.js';
import type { ArchiveContainer } from './blobs/archive-container.js';
import type { AgentEmitter } from './events.js';

export interface ReadinessOptions {
  readonly containers: readonly ArchiveContainer[];
  readonly events: AgentEmitter;
  readonly log: Logger;
  /** The first wait after a failure; it doubles up to `maxRetryMs`. */
  readonly minRetryMs: number;
  readonly maxRetryMs: number;
  /** Between two probes of a container that answered. */
  readonly recheckMs: number;
}

export class Readiness {
  readonly #options: ReadinessOptions;
  /** By archive id: the last problem, undefined when there was none; no entry before the first probe. */
  readonly #problems = new Map<number, unknown>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #stop = new AbortController();
  #onReady: (() => void)[] = [];

  constructor(options: ReadinessOptions) {
    this.#options = options;
  }

  /** Probes every container, and goes on doing so until `stop`. */
  start(): void {
    for (const container of this.#options.containers) void this.#watch(container, this.#options.minRetryMs);
  }

  stop(): void {
    this.#stop.abort();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  /**
   * Resolves once every container has answered, or, after `patienceMs`, once any has. Rejects with the signal's
   * reason.
   */
  async enoughReady(patienceMs: number, signal: AbortSignal): Promise<void> {
    const patient = AbortSignal.any([signal, AbortSignal.timeout(patienceMs)]);
    const answered = (): number =>
      [...this.#problems.values()].filter((problem) => problem === undefined).length;
    try {
      while (answered() < this.#options.containers.length) await this.#nextReady(patient);
    } catch (error) {
      if (signal.aborted) throw error;
      while (answered() === 0) await this.#nextReady(signal);
    }
  }

  #nextReady(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const abort = (): void => {
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', abort, { once: true });
      this.#onReady.push(() => {
        signal.removeEventListener('abort', abort);
        resolve();
      });
    });
  }

  /** In words for the operator; undefined when the container answered the last probe. */
  problem(archiveId: number): string | undefined {
    if (!this.#problems.has(archiveId)) return 'not probed yet';
    const problem = this.#problems.get(archiveId);
    return problem === undefined ? undefined : describeError(problem);
  }

  async #watch(container: ArchiveContainer, retryMs: number): Promise<void> {
    const { events, log, maxRetryMs, minRetryMs, recheckMs } = this.#options;
    const { archiveId, container: name } = container;
    const before = this.#problems.get(archiveId);
    const first = !this.#problems.has(archiveId);
    let problem: unknown;
    try {
      await container.probe(this.#stop.signal);
    } catch (error) {
      problem = error;
    }
    if (this.#stop.signal.aborted) return;
    this.#problems.set(archiveId, problem);
    const code = problem instanceof LhsmError ? problem.code : problem === undefined ? undefined : 'INTERNAL';
    events.emit('probed', { archiveId, container: name, ready: problem === undefined, code });
    const subject = { archive_id: archiveId, container: name };
    if (problem === undefined) {
      if (first || before !== undefined) log.info(subject, 'the container is ready');
      const waiting = this.#onReady;
      this.#onReady = [];
      for (const resolve of waiting) resolve();
    } else {
      log.warn(
        { ...subject, err: problem, next_try_ms: retryMs },
        `the container is not ready: ${describeError(problem)}`,
      );
    }
    const delayMs = problem === undefined ? recheckMs : retryMs;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      void this.#watch(container, problem === undefined ? minRetryMs : Math.min(retryMs * 2, maxRetryMs));
    }, delayMs);
    timer.unref();
    this.#timers.add(timer);
  }
}

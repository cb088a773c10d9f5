// One job at a time for a file system, over all nodes: a blob of the logging container under a lease. The runner takes it
// before it does anything else, and stops its job when it is lost.
import { hasCode, LhsmError } from '../../native-bindings/errors.js';
import type { LoggingContainer } from '../blobs/logging-container.js';
import { holderMetadata, holderOf, type LockHolder } from './lock-holder.js';

/** The part of the logging container that the lock needs. */
export type LockContainer = Pick<
  LoggingContainer,
  'look' | 'write' | 'acquireLease' | 'renewLease' | 'releaseLease'
>;

export interface LockTimes {
  /** 15 to 60. */
  readonly leaseSeconds: number;
  readonly renewMs: number;
  /** Between a renewal that failed and the next. */
  readonly retryMs: number;
  /** How long one renewal may take. */
  readonly attemptMs: number;
  /** That long before the lease would end the lock is given up: what is under way has to stop by then. */
  readonly marginMs: number;
}

const DEFAULT_TIMES: LockTimes = {
  leaseSeconds: 60,
  renewMs: 15_000,
  retryMs: 1000,
  attemptMs: 10_000,
  marginMs: 10_000,
};

export interface LockRequest {
  /** The identity, as blobs carry it as `lustre_fs`. */
  readonly fileSystem: string;
  readonly holder: LockHolder;
  /** A GUID. Who comes back with the same one after a restart gets its own lease again at once. */
  readonly leaseId: string;
  readonly times?: Partial<LockTimes>;
}

/** A held lock. */
export class JobLock {
  /**
   * Who held it before and has not released it: dead, or ourselves before a restart. Its job is to be marked, or taken
   * up.
   */
  readonly previous: LockHolder | undefined;
  readonly #container: LockContainer;
  readonly #blob: string;
  readonly #leaseId: string;
  readonly #times: LockTimes;
  readonly #lost = new AbortController();
  /** Ends renewals under way. */
  readonly #ended = new AbortController();
  #renewal: NodeJS.Timeout | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #trouble: unknown;

  private constructor(
    container: LockContainer,
    blob: string,
    leaseId: string,
    times: LockTimes,
    startedAt: number,
    previous: LockHolder | undefined,
  ) {
    this.#container = container;
    this.#blob = blob;
    this.#leaseId = leaseId;
    this.#times = times;
    this.previous = previous;
    this.#heldSince(startedAt);
    this.#renewIn(times.renewMs);
  }

  /**
   * Takes the lock. Rejects with LhsmError JOB_RUNNING, which names the running job, JOB_LOCK_LOST when it was so slow that
   * somebody else has it by now, and with what the logging container throws.
   */
  static async acquire(
    container: LockContainer,
    request: LockRequest,
    signal: AbortSignal,
  ): Promise<JobLock> {
    const { fileSystem, holder, leaseId } = request;
    const times = { ...DEFAULT_TIMES, ...request.times };
    const blob = `${fileSystem}/lock`;
    try {
      await takeLease(container, blob, leaseId, times, signal);
    } catch (error) {
      if (!hasCode(error, 'BLOB_LEASED')) throw error;
      const running = holderOf((await container.look(blob, signal))?.metadata ?? {});
      throw refused(fileSystem, running, error);
    }
    try {
      const previous = holderOf((await container.look(blob, signal))?.metadata ?? {});
      await container.write(blob, '', { leaseId, metadata: holderMetadata(holder) }, signal);
      // All that may have taken its time, tries included: the lease is counted from here on.
      const startedAt = performance.now();
      await container.renewLease(blob, leaseId, signal);
      return new JobLock(container, blob, leaseId, times, startedAt, previous);
    } catch (error) {
      // Nobody shall wait for a lease that nobody uses; it runs out by itself if this fails, too.
      const soon = AbortSignal.timeout(times.attemptMs);
      await container.releaseLease(blob, leaseId, soon).catch(() => undefined);
      if (isLoss(error)) throw lost(blob, 'somebody else has taken it meanwhile', error);
      throw error;
    }
  }

  /** Aborts, with LhsmError JOB_LOCK_LOST as its reason, when the lock is lost. Not by a release. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /**
   * Gives the lock back, and takes the holder's name off it; does nothing when it is lost. When it rejects, the lease runs out
   * by itself, and the next one finds the name.
   */
  async release(signal: AbortSignal): Promise<void> {
    this.#end();
    if (this.#lost.signal.aborted) return;
    try {
      await this.#container.write(this.#blob, '', { leaseId: this.#leaseId }, signal);
      await this.#container.releaseLease(this.#blob, this.#leaseId, signal);
    } catch (error) {
      if (!isLoss(error)) throw error;
    }
  }

  /** Renews no more: the lease runs out by itself, unless who has its id comes back for it. */
  leave(): void {
    this.#end();
  }

  #end(): void {
    clearTimeout(this.#renewal);
    clearTimeout(this.#deadline);
    this.#ended.abort();
  }

  /** The lease was confirmed by a request that began then: a timer of its own gives the lock up, whatever hangs. */
  #heldSince(startedAt: number): void {
    clearTimeout(this.#deadline);
    const { leaseSeconds, marginMs } = this.#times;
    const leftMs = startedAt + leaseSeconds * 1000 - marginMs - performance.now();
    const giveUp = (): void => {
      this.#lose('it could not be renewed in time', this.#trouble);
    };
    this.#deadline = setTimeout(giveUp, Math.max(0, leftMs)).unref();
  }

  #renewIn(ms: number): void {
    this.#renewal = setTimeout(() => void this.#renew(), ms).unref();
  }

  async #renew(): Promise<void> {
    const startedAt = performance.now();
    // A renewal may hang longer than the lease lasts.
    const patience = AbortSignal.timeout(this.#times.attemptMs);
    try {
      const signal = AbortSignal.any([this.#ended.signal, patience]);
      await this.#container.renewLease(this.#blob, this.#leaseId, signal);
      if (this.#ended.signal.aborted) return;
      this.#trouble = undefined;
      this.#heldSince(startedAt);
      this.#renewIn(this.#times.renewMs);
    } catch (error) {
      if (this.#ended.signal.aborted) return;
      if (isLoss(error)) {
        this.#lose('somebody else has taken it over', error);
        return;
      }
      this.#trouble = error;
      this.#renewIn(this.#times.retryMs);
    }
  }

  #lose(why: string, cause: unknown): void {
    this.#end();
    this.#lost.abort(lost(this.#blob, why, cause));
  }
}

/** Whether the service says that the lease is not ours. */
function isLoss(error: unknown): boolean {
  return ['LEASE_LOST', 'BLOB_LEASED', 'BLOB_MISSING'].some((code) => hasCode(error, code));
}

/** The lease, on a blob that is made where there is none. */
async function takeLease(
  container: LockContainer,
  blob: string,
  leaseId: string,
  { leaseSeconds }: LockTimes,
  signal: AbortSignal,
): Promise<void> {
  try {
    await container.acquireLease(blob, leaseId, leaseSeconds, signal);
    return;
  } catch (error) {
    if (!hasCode(error, 'BLOB_MISSING')) throw error;
  }
  try {
    await container.write(blob, '', { expected: 'absent' }, signal);
  } catch (error) {
    // Another one was faster, and may have leased it, too.
    if (!hasCode(error, 'BLOB_CHANGED') && !hasCode(error, 'BLOB_LEASED')) throw error;
  }
  await container.acquireLease(blob, leaseId, leaseSeconds, signal);
}

function refused(fileSystem: string, running: LockHolder | undefined, cause: unknown): LhsmError {
  const who = running
    ? `the ${running.kind} job ${running.name} runs on ${running.host} since ${running.started}`
    : 'another job is just starting or ending';
  const cancel = running ? `cancel it with \`lhsm-azblob jobs cancel ${running.name}\`` : 'try again';
  return new LhsmError(`No job can start on ${fileSystem}: ${who}.`, {
    code: 'JOB_RUNNING',
    op: 'job lock',
    errno: 16,
    retryable: true,
    hint: `Wait for its end, or ${cancel}. If its host is dead, its lock runs out within a minute.`,
    cause,
  });
}

function lost(blob: string, why: string, cause: unknown): LhsmError {
  return new LhsmError(`The lock ${JSON.stringify(blob)} was lost: ${why}.`, {
    code: 'JOB_LOCK_LOST',
    op: 'job lock',
    errno: 116,
    hint: 'The way to the logging container was cut, or this process stood still. Start the job anew.',
    cause,
  });
}

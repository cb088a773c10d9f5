// Asks the coordinator for many files: requests of many FIDs, a bounded number outstanding, refilled as files finish.
// The export job and batch restore run one each. It moves no data: every agent of the file system shares the work.
import type { HsmState } from '../../native-bindings/lustre.js';
import { UserAction } from '../../native-bindings/constants.js';
import { LhsmError, describeError, errnoNumber, hasCode } from '../../native-bindings/errors.js';
import {
  agentFailure,
  fidsPerRequest,
  refusalOf,
  silentFailure,
  userActions,
  type AskedFile,
  type Outcome,
  type RequestNotice,
} from './asked-file.js';
import type { Bell } from './bell.js';
import { mapBounded } from './bounded.js';
import { EndWatch, POLLS_AT_ONCE, type FinishedHint } from './end-watch.js';
import { Outstanding, type Entry, type RequestNumbers } from './outstanding.js';
import {
  DEFAULT_TIMINGS,
  type RequesterOptions,
  type RequesterTools,
  type RequestTimings,
} from './request-options.js';
import { MAX_WINDOW } from './shared-window.js';

const REQUESTS_AT_ONCE = 4;

/** The coordinator is not there for a while: stopped, restarting, or we were evicted. */
const passing = ['EAGAIN', 'ENXIO', 'ENODEV', 'ENOTCONN', 'ESHUTDOWN', 'ETIMEDOUT', 'ENOMEM', 'EINTR'];
/** Refusals of us, not of a file. */
const ofUs = ['EACCES', 'EROFS', 'ENOTTY'];

export { MAX_WINDOW };

/** Runs once. */
export class Requester<T extends AskedFile> {
  readonly #options: RequesterOptions<T>;
  readonly #tools: RequesterTools;
  readonly #timings: RequestTimings;
  readonly #perRequest: number;
  readonly #outstanding: Outstanding<T>;
  readonly #watch: EndWatch<T>;
  readonly #bell: Bell;
  /** Taken from the source, and not asked for yet. */
  readonly #waiting: T[] = [];
  #waitingSinceMs = 0;
  readonly #asks = new Set<Promise<void>>();
  /** Aborts when nothing more is asked for. */
  readonly #stop = new AbortController();
  #sourceEnded = false;
  #failure: { readonly error: unknown } | undefined;

  /** Throws LhsmError WINDOW_INVALID; RangeError for data that leave no room for a FID. */
  constructor(options: RequesterOptions<T>, tools: RequesterTools) {
    const { window } = options;
    if (!Number.isInteger(window) || window < 1 || window > MAX_WINDOW) throw badWindow(window);
    this.#options = options;
    this.#tools = tools;
    this.#timings = { ...DEFAULT_TIMINGS, ...options.timings };
    this.#perRequest = fidsPerRequest(options.data?.length ?? 0);
    if (this.#perRequest < 1) throw new RangeError('data that leave no room for a FID');
    const onSettled = (file: T, outcome: Outcome): void => {
      try {
        options.onSettled(file, outcome);
      } catch (error) {
        this.#fail(error);
      }
    };
    this.#outstanding = new Outstanding(window, onSettled, options.sharedWindow);
    this.#bell = this.#outstanding.bell;
    this.#watch = new EndWatch(options, tools, this.#timings, this.#outstanding);
  }

  get numbers(): RequestNumbers {
    return this.#outstanding.numbers;
  }

  /** Nothing more is asked for: a source that waits for ends need wait no longer. */
  get isStopped(): boolean {
    return this.#stop.signal.aborted;
  }

  /** What was taken from the source by now waits for no others to fill its request. */
  flush(): void {
    this.#waitingSinceMs = -Infinity;
    this.#bell.ring();
  }

  /** Tells the end of an action, wherever it was heard of. Files that are not outstanding do not matter. */
  hint(told: FinishedHint): void {
    this.#watch.hint(told);
  }

  /**
   * Asks for all files of `source` and waits for their ends. It takes no more of them than it has room for. Resolves with the
   * numbers, also when `signal` aborts: what was outstanding is then cancelled and waited for shortly.
   * Rejects with what `source` rejects with, and with LhsmError EACCES, EROFS or ENOTTY when the MDT takes no requests from
   * us, both after the ends of what is outstanding.
   */
  async run(source: AsyncIterable<readonly T[]>, signal: AbortSignal): Promise<RequestNumbers> {
    const over = new AbortController();
    const stop = (): void => {
      this.#stop.abort(signal.reason);
      this.#bell.ring();
    };
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
    const off = this.#tools.events?.on('finished', (event) => {
      this.hint(event);
    });
    const watching = this.#watch.run(over.signal);
    try {
      await Promise.all([this.#take(source, signal), this.#feed()]);
      while (this.#outstanding.size > 0 && !signal.aborted) await this.#bell.wait(1000, signal);
      if (signal.aborted) await this.#withdraw(signal.reason);
    } finally {
      over.abort();
      off?.();
      signal.removeEventListener('abort', stop);
      await watching;
      this.#outstanding.window.leave();
    }
    if (this.#failure) throw this.#failure.error;
    return this.numbers;
  }

  /** Fills the buffer from the source. */
  async #take(source: AsyncIterable<readonly T[]>, signal: AbortSignal): Promise<void> {
    try {
      for await (const batch of source) {
        for (const file of batch) {
          while (this.#waiting.length >= 2 * this.#perRequest && !this.isStopped) {
            await this.#bell.wait(1000, this.#stop.signal);
          }
          if (this.isStopped) return;
          if (this.#waiting.length === 0) this.#waitingSinceMs = performance.now();
          this.#waiting.push(file);
        }
        this.#bell.ring();
      }
    } catch (error) {
      if (!signal.aborted) this.#fail(error);
    } finally {
      this.#sourceEnded = true;
      this.#bell.ring();
    }
  }

  /** Turns what waits into requests, as there is room. */
  async #feed(): Promise<void> {
    while (!this.isStopped) {
      const { limit, room } = this.#outstanding.window;
      // Requests of a FID or two, one for each that finishes, would cost a call each.
      const worthwhile = Math.min(this.#perRequest, Math.max(1, limit >> 2));
      const waited = performance.now() - this.#waitingSinceMs >= this.#timings.lingerMs;
      const ready =
        this.#waiting.length >= worthwhile || (this.#waiting.length > 0 && (this.#sourceEnded || waited));
      if (this.#sourceEnded && this.#waiting.length === 0) break;
      if (ready && room >= worthwhile && this.#asks.size < REQUESTS_AT_ONCE) this.#askNext(room);
      else await this.#bell.wait(this.#timings.lingerMs, this.#stop.signal);
    }
    while (this.#asks.size > 0) await Promise.all(this.#asks);
  }

  #askNext(room: number): void {
    const files = this.#waiting.splice(0, Math.min(room, this.#perRequest));
    this.#waitingSinceMs = performance.now();
    const entries = files.map((file) => this.#outstanding.add(file)).filter((entry) => entry !== undefined);
    this.#bell.ring();
    if (entries.length === 0) return;
    const ask = this.#ask(entries)
      .catch((error: unknown) => {
        this.#fail(error);
      })
      .finally(() => {
        this.#asks.delete(ask);
        this.#bell.ring();
      });
    this.#asks.add(ask);
  }

  /** Asks until the coordinator has the request, or says what is wrong with it. */
  async #ask(entries: readonly Entry<T>[]): Promise<void> {
    const { backoffMinMs, backoffMaxMs } = this.#timings;
    let toldStopped = false;
    for (let pauseMs = backoffMinMs; ; pauseMs = Math.min(pauseMs * 2, backoffMaxMs)) {
      if (this.isStopped) {
        for (const entry of entries) this.#outstanding.settle(entry, { kind: 'canceled' });
        return;
      }
      for (const entry of entries) entry.requestedAtMs = performance.now();
      try {
        await this.#request(userActions[this.#options.kind], entries, this.#options.archiveId);
      } catch (error) {
        if (!passing.some((code) => hasCode(error, code))) {
          await this.#refused(entries, error);
          return;
        }
        if (!toldStopped) this.#options.onNotice?.(stopped(error));
        toldStopped = true;
        await this.#bell.wait(pauseMs * (0.5 + Math.random() / 2), this.#stop.signal);
        continue;
      }
      if (toldStopped)
        this.#options.onNotice?.({
          code: 'COORDINATOR_BACK',
          message: 'The coordinator takes requests again.',
        });
      this.#watch.accepted(entries);
      return;
    }
  }

  async #request(action: number, entries: readonly Entry<T>[], archiveId: number): Promise<void> {
    const { mount, kind, data } = this.#options;
    const fids = entries.map(({ files }) => files[0].fid);
    try {
      const withData = data && action !== UserAction.CANCEL ? { data } : {};
      await this.#tools.lustre.request(mount, { action, archiveId, fids, ...withData });
    } catch (error) {
      // Under the policy NonBlockingRestore a restore is recorded and answered so (mdt_hsm_register_hal).
      if (kind !== 'restore' || !hasCode(error, 'ENODATA')) throw error;
    }
  }

  /**
   * A request is refused as a whole for one bad file, of which the MDT does not say the FID. What stands before it is
   * recorded already (mdt_hsm_register_hal), but over several MDTs nobody knows what stands before it: all that may still be
   * wanted is asked for again. For restores that is nothing new to the coordinator; an archive may come to be done twice.
   */
  async #refused(entries: readonly Entry<T>[], error: unknown): Promise<void> {
    if (ofUs.some((code) => hasCode(error, code))) {
      for (const entry of entries) this.#settleFailed(entry, error);
      throw error;
    }
    const left = await mapBounded(entries, POLLS_AT_ONCE, async (entry) => {
      const state: HsmState | undefined = await this.#watch.look(entry);
      if (!state || !this.#outstanding.has(entry)) return [];
      const refusal = refusalOf(this.#options.kind, entry.files[0], state);
      if (refusal) this.#outstanding.settle(entry, { kind: 'failed', error: refusal });
      return refusal ? [] : [entry];
    });
    const rest = left.flat();
    const [only] = rest;
    if (!only) return;
    if (rest.length < entries.length) await this.#ask(rest);
    else if (rest.length === 1) this.#settleFailed(only, error);
    else {
      const half = rest.length >> 1;
      await this.#ask(rest.slice(0, half));
      await this.#ask(rest.slice(half));
    }
  }

  #settleFailed(entry: Entry<T>, cause: unknown): void {
    const { kind } = this.#options;
    const error = cause instanceof LhsmError ? cause : silentFailure(kind, entry.files[0]);
    const named = agentFailure(kind, entry.files[0], {
      code: error.code,
      errno: error.errno,
      reason: describeError(error),
    });
    this.#outstanding.settle(entry, { kind: 'failed', error: named });
  }

  /** The signal has aborted. */
  async #withdraw(reason: unknown): Promise<void> {
    while (this.#asks.size > 0) await Promise.all(this.#asks);
    if (this.#options.onAbort?.(reason) === 'leave') return;
    const entries = [...this.#outstanding.entries()];
    const perRequest = fidsPerRequest(0);
    for (let at = 0; at < entries.length; at += perRequest) {
      const some = entries.slice(at, at + perRequest).filter((entry) => this.#outstanding.has(entry));
      if (some.length === 0) continue;
      try {
        await this.#request(UserAction.CANCEL, some, 0);
      } catch (error) {
        this.#noticeLeft(describeError(error));
        break;
      }
    }
    this.#watch.canceling();
    const untilMs = performance.now() + this.#timings.cancelGraceMs;
    while (this.#outstanding.size > 0 && performance.now() < untilMs) {
      await this.#bell.wait(untilMs - performance.now());
    }
    // A request that was not handed out yet is cancelled when it would be, which takes an agent that serves it.
    if (this.#outstanding.size > 0) this.#noticeLeft('their ends have not come yet');
    for (const entry of this.#outstanding.entries()) this.#outstanding.settle(entry, { kind: 'canceled' });
  }

  #noticeLeft(why: string): void {
    this.#options.onNotice?.({
      code: 'CANCEL_INCOMPLETE',
      message: `${this.#outstanding.size} cancelled requests are still at the coordinator: ${why}`,
      hint: 'Those that no agent serves stay until one does; hsm_control=purge on the MDS clears all that there are.',
    });
  }

  /** Nothing more is asked for; `run` rejects with it when the rest has ended. */
  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#stop.abort(error);
    this.#bell.ring();
  }
}

function stopped(error: unknown): RequestNotice {
  return {
    code: 'COORDINATOR_STOPPED',
    message: `The coordinator takes no requests now: ${describeError(error)}`,
    hint: 'lctl set_param mdt.*.hsm_control=enabled on the MDS; it is asked again until it does, or the work is cancelled.',
  };
}

function badWindow(window: number): LhsmError {
  return new LhsmError(`a window of ${window} requests makes no sense`, {
    code: 'WINDOW_INVALID',
    op: 'window',
    errno: errnoNumber('EINVAL'),
    hint: `Give a whole number from 1 to ${MAX_WINDOW}; some thousands are usual.`,
  });
}

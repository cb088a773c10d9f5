// Finds out what has become of the files that the coordinator was asked for. requester.ts runs one.
//
// A file's state decides, since agents on any node may do the work; looking at it is a handful of calls to the MDT, so it
// is done the oldest first, more and more seldom, and so often a second at most. An agent of this node tells the end of each
// action by itself (`finished`), which spares the question.
import type { HsmState } from '../../native-bindings/lustre.js';
import { fidPath } from '../../native-bindings/lustre.js';
import { ProgressState } from '../../native-bindings/constants.js';
import type { FinishedEvent } from '../events.js';
import { saysGone } from '../movers/descriptors.js';
import { agentFailure, isReached, silentFailure, type AskedFile, type Outcome } from './asked-file.js';
import { Bell } from './bell.js';
import { mapBounded } from './bounded.js';
import type { Entry, Outstanding } from './outstanding.js';
import type { RequesterOptions, RequesterTools, RequestTimings } from './request-options.js';

/** What the end of an action tells of a file. */
export type FinishedHint = Pick<
  FinishedEvent,
  'fid' | 'kind' | 'result' | 'errno' | 'code' | 'reason' | 'durationMs'
>;

export const POLLS_AT_ONCE = 8;
/** Looked for and polled in one go. */
const POLL_ROUND = 128;
/** Each look in vain makes the next so much later. */
const POLL_GROWTH = 1.6;
/** So many ends make up the share of those that were told. */
const TOLD_OVER = 64;
/** How many mean times later a file is looked at whose end will be told. */
const TOLD_PATIENCE = 4;
/**
 * llapi_hsm_current_action makes the MDT read its whole log of requests (mdt_hsm_get_action), so no more than a tenth of
 * the time may be spent on it.
 */
const CHECK_REST = 9;
const CHECK_PAUSE_MS = 20;

export class EndWatch<T extends AskedFile> {
  readonly #options: Pick<RequesterOptions<T>, 'mount' | 'kind' | 'onNotice'>;
  readonly #tools: RequesterTools;
  readonly #timings: RequestTimings;
  readonly #outstanding: Outstanding<T>;
  /** Rings when an entry is to be looked at sooner. Not with the ends, of which there are many: each would look through all entries. */
  readonly #bell = new Bell();
  #canceling = false;
  #toldWaitingAtMs = 0;
  /** How many of the last ends an agent of this node has told, from 0 to 1. */
  #toldShare = 0;

  constructor(
    options: Pick<RequesterOptions<T>, 'mount' | 'kind' | 'onNotice'>,
    tools: RequesterTools,
    timings: RequestTimings,
    outstanding: Outstanding<T>,
  ) {
    this.#options = options;
    this.#tools = tools;
    this.#timings = timings;
    this.#outstanding = outstanding;
  }

  /** Watches until `over` aborts. */
  async run(over: AbortSignal): Promise<void> {
    await Promise.all([this.#pollLoop(over), this.#checkLoop(over)]);
  }

  /** Tells the end of an action, wherever it was heard of. Files that are not outstanding do not matter. */
  hint(told: FinishedHint): void {
    const entry = this.#outstanding.find(told.fid);
    if (!entry || told.kind !== this.#options.kind) return;
    if (told.result === 'succeeded') {
      // The MDT has said so to the agent. A state asked for now might already be that of a later change.
      this.#toldShare += (1 - this.#toldShare) / TOLD_OVER;
      if (entry.asking) entry.told = told;
      else this.#outstanding.settle(entry, { kind: 'done' });
      return;
    }
    // An archive that somebody else had asked for before us has failed; ours is still to come. A restore is the same one.
    const receivedAtMs = performance.now() - told.durationMs;
    if (told.kind === 'archive' && receivedAtMs < entry.requestedAtMs) return;
    if (told.result === 'retry') {
      // By its policy the coordinator may send it out again: it knows.
      entry.lastWord = told;
      entry.checkAtMs = 0;
    } else {
      entry.told = told;
      entry.pollAtMs = 0;
    }
    this.#bell.ring();
  }

  /** The coordinator has the request. */
  accepted(entries: readonly Entry<T>[]): void {
    const nowMs = performance.now();
    const { pollMinMs, checkAfterMs } = this.#timings;
    // No sooner than it is likely to be done, and much later where the agents that we hear do most of it.
    const likelyMs = (this.#outstanding.window.meanMs ?? 0) * (0.75 + TOLD_PATIENCE * this.#toldShare);
    const firstMs = Math.min(checkAfterMs, Math.max(pollMinMs, likelyMs));
    for (const entry of entries) {
      entry.asking = false;
      entry.pollAtMs = entry.told ? 0 : nowMs + firstMs;
      entry.pollEveryMs = pollMinMs;
      entry.checkAtMs = nowMs + checkAfterMs;
      entry.checkEveryMs = checkAfterMs;
      if (entry.told?.result === 'succeeded') this.#outstanding.settle(entry, { kind: 'done' });
    }
    this.#bell.ring();
  }

  /** All requests have been cancelled: their ends are near, and none is a failure. */
  canceling(): void {
    this.#canceling = true;
    for (const entry of this.#outstanding.entries()) {
      entry.pollAtMs = entry.checkAtMs = 0;
      entry.pollEveryMs = entry.checkEveryMs = this.#timings.pollMinMs;
    }
    this.#bell.ring();
  }

  /** Settles what is there or gone; answers the state of what is neither, undefined also when it cannot be had now. */
  async look(entry: Entry<T>): Promise<HsmState | undefined> {
    let state: HsmState;
    try {
      state = await this.#tools.lustre.hsmState(fidPath(this.#options.mount, entry.files[0].fid));
    } catch (error) {
      if (saysGone(error)) this.#outstanding.settle(entry, { kind: 'vanished' });
      return undefined;
    }
    if (!isReached(this.#options.kind, state)) return state;
    this.#toldShare -= this.#toldShare / TOLD_OVER;
    this.#outstanding.settle(entry, { kind: 'done' });
    return undefined;
  }

  async #pollLoop(over: AbortSignal): Promise<void> {
    while (!over.aborted) {
      const startedAtMs = performance.now();
      const { due, nextAtMs } = this.#due(startedAtMs);
      if (due.length === 0) {
        await this.#bell.wait(Math.min(Math.max(nextAtMs - startedAtMs, 10), 1000), over);
        continue;
      }
      await mapBounded(due, POLLS_AT_ONCE, (entry) => this.#poll(entry));
      const mayLastMs = (due.length / this.#timings.pollsPerSecond) * 1000;
      const restMs = mayLastMs - (performance.now() - startedAtMs);
      // Rings must not shorten it: this is what spares the MDT.
      if (restMs > 1) await new Bell().wait(restMs, over);
    }
  }

  /** Those whose time has come, what an agent has told of first, then the oldest. */
  #due(nowMs: number): { due: Entry<T>[]; nextAtMs: number } {
    const due: Entry<T>[] = [];
    let nextAtMs = Infinity;
    for (const entry of this.#outstanding.entries()) {
      if (entry.asking) continue;
      if (entry.pollAtMs <= nowMs) due.push(entry);
      else nextAtMs = Math.min(nextAtMs, entry.pollAtMs);
    }
    if (due.length > POLL_ROUND)
      due.sort((one, other) => Number(other.pollAtMs === 0) - Number(one.pollAtMs === 0));
    return { due: due.slice(0, POLL_ROUND), nextAtMs };
  }

  async #poll(entry: Entry<T>): Promise<void> {
    const state = await this.look(entry);
    if (!this.#outstanding.has(entry)) return;
    if (state && entry.told) {
      this.#outstanding.settle(entry, this.#ended(entry));
      return;
    }
    const nowMs = performance.now();
    entry.pollAtMs = nowMs + entry.pollEveryMs * (0.9 + Math.random() / 5);
    entry.pollEveryMs = Math.min(entry.pollEveryMs * POLL_GROWTH, this.#timings.pollMaxMs);
    // Some servers say so with the state; those of today leave it out, and it takes a question of its own.
    if (state && state.inProgressState !== ProgressState.NONE && entry.checkAtMs > 0) {
      entry.checkAtMs = Math.max(entry.checkAtMs, nowMs + entry.checkEveryMs);
    }
  }

  /** How a request ended that left the file as it was. */
  #ended({ told, lastWord, files: [file] }: Entry<T>): Outcome {
    if (this.#canceling || told?.result === 'canceled') return { kind: 'canceled' };
    const { kind } = this.#options;
    const word = told ?? lastWord;
    return { kind: 'failed', error: word ? agentFailure(kind, file, word) : silentFailure(kind, file) };
  }

  /** Finds out which requests the coordinator has given up without a word. */
  async #checkLoop(over: AbortSignal): Promise<void> {
    while (!over.aborted) {
      const startedAtMs = performance.now();
      const entry = this.#dueForCheck(startedAtMs);
      if (!entry) {
        await this.#bell.wait(Math.min(200, this.#timings.checkAfterMs), over);
        continue;
      }
      await this.#check(entry);
      const tookMs = performance.now() - startedAtMs;
      await new Bell().wait(Math.max(CHECK_PAUSE_MS, tookMs * CHECK_REST), over);
    }
  }

  #dueForCheck(nowMs: number): Entry<T> | undefined {
    for (const entry of this.#outstanding.entries())
      if (!entry.asking && entry.checkAtMs <= nowMs) return entry;
    return undefined;
  }

  async #check(entry: Entry<T>): Promise<void> {
    const path = fidPath(this.#options.mount, entry.files[0].fid);
    let progress: number | undefined;
    try {
      progress = (await this.#tools.lustre.currentAction(path)).state;
    } catch (error) {
      if (saysGone(error)) this.#outstanding.settle(entry, { kind: 'vanished' });
    }
    if (!this.#outstanding.has(entry)) return;
    if (progress === ProgressState.NONE) {
      // It may have ended well between our last look and this one.
      const state = await this.look(entry);
      if (state && this.#outstanding.has(entry)) this.#outstanding.settle(entry, this.#ended(entry));
      if (!this.#outstanding.has(entry)) return;
    } else if (progress === ProgressState.WAITING) {
      this.#noticeWaiting(entry);
    }
    entry.checkAtMs = performance.now() + entry.checkEveryMs;
    entry.checkEveryMs = Math.min(entry.checkEveryMs * 2, this.#timings.checkMaxMs);
  }

  #noticeWaiting(entry: Entry<T>): void {
    const nowMs = performance.now();
    const { waitingNoticeMs } = this.#timings;
    const sinceMs = Math.max(this.#outstanding.settledAtMs, entry.requestedAtMs);
    if (nowMs - sinceMs < waitingNoticeMs || nowMs - this.#toldWaitingAtMs < waitingNoticeMs) return;
    this.#toldWaitingAtMs = nowMs;
    const seconds = Math.round((nowMs - sinceMs) / 1000);
    this.#options.onNotice?.({
      code: 'REQUESTS_WAIT',
      message: `${this.#outstanding.size} requests wait at the coordinator, and none has finished for ${seconds} s.`,
      hint: 'Is hsm_control enabled on the MDS, does an agent serve the archive id (hsm.agents), are all its slots taken (hsm.max_requests)?',
    });
  }
}

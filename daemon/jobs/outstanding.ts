// The files that the coordinator has been asked for and that have not come to their end. requester.ts fills it, end-watch.ts
// empties it.
import { formatFid } from '../../native-bindings/lustre.js';
import type { AskedFile, Outcome } from './asked-file.js';
import { Bell } from './bell.js';
import { SharedWindow, type WindowShare } from './shared-window.js';
import type { FinishedHint } from './end-watch.js';

/** One FID. Times are those of `performance.now()`. */
export interface Entry<T> {
  readonly key: string;
  /** Names of one file that came one after the other: hard links. */
  readonly files: [T, ...T[]];
  /** The request has not been answered yet. */
  asking: boolean;
  requestedAtMs: number;
  /** When its state is looked at next, and the pause after that. */
  pollAtMs: number;
  pollEveryMs: number;
  /** When the coordinator is asked next whether it still has the request, and the pause after that. */
  checkAtMs: number;
  checkEveryMs: number;
  /** What an agent told of its end. */
  told: FinishedHint | undefined;
  /** Why an agent gave it back, to be tried again by the coordinator's leave; the reason if that has given it up. */
  lastWord: FinishedHint | undefined;
}

/** What has been done so far. */
export interface RequestNumbers {
  /** Files asked for: the sum of all below. */
  readonly asked: number;
  readonly outstanding: number;
  readonly done: number;
  readonly failed: number;
  readonly vanished: number;
  readonly canceled: number;
  /** Requests that may be outstanding now. */
  readonly limit: number;
  /** The most FIDs that were ever outstanding at once. */
  readonly maxOutstanding: number;
}

export class Outstanding<T extends AskedFile> {
  readonly window: WindowShare;
  /** Rings when an entry comes or goes. */
  readonly bell = new Bell();
  readonly #onSettled: (file: T, outcome: Outcome) => void;
  /** The oldest first. */
  readonly #entries = new Map<string, Entry<T>>();
  readonly #counts = { asked: 0, done: 0, failed: 0, vanished: 0, canceled: 0 };
  #files = 0;
  #most = 0;
  #settledAtMs = performance.now();

  /** `shared`: the window is a part of this one. */
  constructor(window: number, onSettled: (file: T, outcome: Outcome) => void, shared = new SharedWindow()) {
    this.window = shared.join(window);
    this.#onSettled = onSettled;
  }

  /** FIDs, whatever number of names they have. */
  get size(): number {
    return this.#entries.size;
  }

  /** When something last came to its end. */
  get settledAtMs(): number {
    return this.#settledAtMs;
  }

  get numbers(): RequestNumbers {
    return {
      ...this.#counts,
      outstanding: this.#files,
      limit: this.window.limit,
      maxOutstanding: this.#most,
    };
  }

  entries(): Iterable<Entry<T>> {
    return this.#entries.values();
  }

  find(key: string): Entry<T> | undefined {
    return this.#entries.get(key);
  }

  has(entry: Entry<T>): boolean {
    return this.#entries.get(entry.key) === entry;
  }

  /** The new entry; undefined for another name of a file that is outstanding, which shares its end. */
  add(file: T): Entry<T> | undefined {
    const key = formatFid(file.fid);
    this.#counts.asked += 1;
    this.#files += 1;
    const same = this.#entries.get(key);
    if (same) {
      same.files.push(file);
      return undefined;
    }
    const entry: Entry<T> = {
      key,
      files: [file],
      asking: true,
      requestedAtMs: performance.now(),
      pollAtMs: Infinity,
      pollEveryMs: 0,
      checkAtMs: Infinity,
      checkEveryMs: 0,
      told: undefined,
      lastWord: undefined,
    };
    this.#entries.set(key, entry);
    this.window.outstanding = this.#entries.size;
    this.#most = Math.max(this.#most, this.#entries.size);
    return entry;
  }

  /** Nothing happens to an entry that has had its end. */
  settle(entry: Entry<T>, outcome: Outcome): void {
    if (!this.has(entry)) return;
    this.#entries.delete(entry.key);
    this.window.outstanding = this.#entries.size;
    this.#settledAtMs = performance.now();
    if (outcome.kind === 'done') this.window.settled(this.#settledAtMs - entry.requestedAtMs);
    this.#files -= entry.files.length;
    this.#counts[outcome.kind] += entry.files.length;
    for (const file of entry.files) this.#onSettled(file, outcome);
    this.bell.ring();
  }
}

// Files of a batch restore that the coordinator has given up without a word of this node's agent. The agent of another node may be
// about to leave the reason. Of a request that a reader had made before us it leaves none, for that carries no tag of ours: such
// a file is asked for once more. batch-restore.ts has one.
import { formatFid } from '../../native-bindings/lustre.js';
import type { LhsmError } from '../../native-bindings/errors.js';
import { agentFailure } from './asked-file.js';
import { Bell } from './bell.js';
import type { FinishedHint } from './end-watch.js';
import type { FailureNote } from './failure-notes.js';
import type { ReleasedFile } from './restore-source.js';

export interface SilentFailuresOptions {
  /** Its failure is final; the error has the reason, if anybody has told one. */
  readonly onFailed: (file: ReleasedFile, error: LhsmError) => void;
  /** A note of a file that has not ended, as far as we know. */
  readonly onHint: (told: FinishedHint) => void;
  /** How long a reason may take: it is written after a second, and read every other. */
  readonly patienceMs?: number;
}

const PATIENCE_MS = 5000;

interface Silent {
  readonly file: ReleasedFile;
  readonly error: LhsmError;
}

interface Waiting {
  readonly silent: Silent[];
  readonly untilMs: number;
  /** They have been asked for again already. */
  readonly isLast: boolean;
}

export class SilentFailures {
  readonly #options: SilentFailuresOptions;
  readonly #patienceMs: number;
  /** Rings when something is to be asked for again, or is over. */
  readonly bell = new Bell();
  /** By FID, as everything here; the oldest first. */
  readonly #waiting = new Map<string, Waiting>();
  #again: Silent[] = [];
  /** Asked for again, and without an end. */
  readonly #asked = new Map<string, Set<ReleasedFile>>();
  #timer: NodeJS.Timeout | undefined;
  #repeated = 0;

  constructor(options: SilentFailuresOptions) {
    this.#options = options;
    this.#patienceMs = options.patienceMs ?? PATIENCE_MS;
  }

  /** Whether anything waits for its reason, or to be asked for again. */
  get isPending(): boolean {
    return this.#waiting.size > 0 || this.#again.length > 0;
  }

  /** Files that have failed once and were asked for again: the requester counts them twice. */
  get repeated(): number {
    return this.#repeated;
  }

  /** A request has ended; answers whether it was the second one for the file. */
  ended(file: ReleasedFile): boolean {
    const key = formatFid(file.fid);
    const asked = this.#asked.get(key);
    if (!asked?.delete(file)) return false;
    if (asked.size === 0) this.#asked.delete(key);
    return true;
  }

  /** The coordinator has given it up, and nobody has said why. */
  failed(file: ReleasedFile, error: LhsmError, isLast: boolean): void {
    const key = formatFid(file.fid);
    const same = this.#waiting.get(key);
    if (same) {
      same.silent.push({ file, error });
      return;
    }
    const untilMs = performance.now() + this.#patienceMs;
    this.#waiting.set(key, { silent: [{ file, error }], untilMs, isLast });
    this.#timer ??= setTimeout(() => {
      this.#expire();
    }, this.#patienceMs);
  }

  /** What an agent of another node has left. */
  take({ fid, code, errno, message, retry }: FailureNote): void {
    const reason = message === '' ? undefined : message;
    const waiting = this.#waiting.get(fid);
    if (!waiting) {
      // Of a file that was asked for again it may be the reason of the first time: then the coordinator knows whether ours is to come.
      const result = retry === true || this.#asked.has(fid) ? 'retry' : 'failed';
      this.#options.onHint({ fid, kind: 'restore', result, errno, code, reason, durationMs: 0 });
      return;
    }
    this.#waiting.delete(fid);
    for (const { file } of waiting.silent) {
      this.#options.onFailed(file, agentFailure('restore', file, { code, errno, reason }));
    }
    this.bell.ring();
  }

  /** Takes those that are to be asked for again now. */
  takeAgain(): ReleasedFile[] {
    const again = this.#again;
    this.#again = [];
    this.#repeated += again.length;
    for (const { file } of again) {
      const key = formatFid(file.fid);
      this.#asked.set(key, (this.#asked.get(key) ?? new Set()).add(file));
    }
    return again.map(({ file }) => file);
  }

  /** Nothing is asked for any more: what has failed has failed. */
  close(): void {
    clearTimeout(this.#timer);
    const left = [...[...this.#waiting.values()].flatMap(({ silent }) => silent), ...this.#again];
    this.#waiting.clear();
    this.#again = [];
    for (const { file, error } of left) this.#options.onFailed(file, error);
  }

  #expire(): void {
    this.#timer = undefined;
    const nowMs = performance.now();
    for (const [key, { silent, untilMs, isLast }] of this.#waiting) {
      if (untilMs > nowMs) {
        this.#timer = setTimeout(() => {
          this.#expire();
        }, untilMs - nowMs);
        break;
      }
      this.#waiting.delete(key);
      if (!isLast) this.#again.push(...silent);
      else for (const { file, error } of silent) this.#options.onFailed(file, error);
      this.bell.ring();
    }
  }
}

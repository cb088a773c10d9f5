// Restores everything released under some paths, or in a list, through the coordinator, so that the agents of every node share
// the work. The admin API runs it for `lhsm-azblob restore`.
import type { Lustre } from '../../native-bindings/lustre.js';
import { LhsmError, errnoNumber } from '../../native-bindings/errors.js';
import type { AgentEmitter } from '../events.js';
import type { Outcome, RequestNotice } from './asked-file.js';
import {
  resultOf,
  type BatchRestoreNumbers,
  type BatchRestoreProgress,
  type BatchRestoreResult,
} from './batch-restore-numbers.js';
import { findingOf, type Finding } from './finding.js';
import { Rates } from './rates.js';
import type { RequestTimings } from './request-options.js';
import { Requester } from './requester.js';
import type { RestoreReasons } from './restore-reasons.js';
import { releasedFiles, type ReleasedFile, type SourceOptions } from './restore-source.js';
import type { SharedWindow } from './shared-window.js';
import { SilentFailures } from './silent-failures.js';

export interface BatchRestoreOptions extends SourceOptions {
  /** Most requests outstanding at the coordinator; fewer where that suffices, see request-window.ts. */
  readonly window: number;
  /** Of all restores of this daemon. */
  readonly sharedWindow?: SharedWindow;
  /** Stops asking before the sum of sizes would pass it; what is left is told. */
  readonly bytesLimit?: bigint;
  readonly timings?: Partial<RequestTimings>;
  /** For tests: how long the reason of a failure may take from another node. */
  readonly patienceMs?: number;
  /** How often progress is told. */
  readonly progressMs?: number;
}

export interface BatchRestoreTools {
  readonly lustre: Pick<
    Lustre,
    'request' | 'hsmState' | 'currentAction' | 'lookAtNames' | 'lookAtPaths' | 'fidToPath'
  >;
  readonly events?: Pick<AgentEmitter, 'on'>;
  /** Where agents of other nodes leave reasons; without it only those of this node's agent are known. */
  readonly reasons?: RestoreReasons;
}

export interface BatchRestoreHooks {
  /** Each failure, by file. */
  readonly onFinding?: (finding: Finding) => void;
  readonly onNotice?: (notice: RequestNotice) => void;
  readonly onProgress?: (progress: BatchRestoreProgress) => void;
  /** Whether outstanding requests are cancelled when the signal aborts with this reason: the default. */
  readonly onAbort?: (reason: unknown) => 'cancel' | 'leave';
}

const PROGRESS_MS = 1000;

/**
 * Resolves also when `signal` aborts, with result `canceled`: outstanding requests are then cancelled and waited for shortly.
 * Rejects with LhsmError for a path, list, window or limit of no use (PATH_OUTSIDE_MOUNT, ENOENT, WINDOW_INVALID, LIMIT_INVALID
 * …), and when the MDT takes no requests from us (EACCES, EROFS).
 */
export async function batchRestore(
  options: BatchRestoreOptions,
  tools: BatchRestoreTools,
  hooks: BatchRestoreHooks,
  signal: AbortSignal,
): Promise<BatchRestoreResult> {
  if (options.bytesLimit !== undefined && options.bytesLimit < 0n) throw badLimit(options.bytesLimit);
  return new BatchRestore(options, tools, hooks).run(signal);
}

class BatchRestore {
  readonly #options: BatchRestoreOptions;
  readonly #tools: BatchRestoreTools;
  readonly #hooks: BatchRestoreHooks;
  readonly #requester: Requester<ReleasedFile>;
  readonly #rates = new Rates();
  readonly #startedAtMs = performance.now();
  readonly #silent: SilentFailures | undefined;
  /** Words about files that failed are still being made. */
  readonly #telling = new Set<Promise<void>>();
  /** Files given to the requester. */
  #given = 0;
  #walked = false;
  #full = false;
  #discovered = 0;
  #discoveredBytes = 0n;
  #askedBytes = 0n;
  #doneBytes = 0n;
  #skipped = 0;
  #refused = 0;
  #left = 0;
  #leftBytes = 0n;

  constructor(options: BatchRestoreOptions, tools: BatchRestoreTools, hooks: BatchRestoreHooks) {
    const { mount, window, sharedWindow, timings, patienceMs } = options;
    const { reasons } = tools;
    this.#options = options;
    this.#tools = tools;
    this.#hooks = hooks;
    this.#requester = new Requester<ReleasedFile>(
      {
        mount,
        kind: 'restore',
        // The files' own.
        archiveId: 0,
        window,
        onSettled: (file, outcome) => {
          this.#settled(file, outcome);
        },
        ...(sharedWindow ? { sharedWindow } : {}),
        ...(hooks.onNotice ? { onNotice: hooks.onNotice } : {}),
        ...(hooks.onAbort ? { onAbort: hooks.onAbort } : {}),
        ...(reasons ? { data: reasons.data } : {}),
        ...(timings ? { timings } : {}),
      },
      { lustre: tools.lustre, ...(tools.events ? { events: tools.events } : {}) },
    );
    if (!reasons) return;
    this.#silent = new SilentFailures({
      onFailed: (file, error) => {
        this.#note(file, error);
      },
      onHint: (told) => {
        this.#requester.hint(told);
      },
      ...(patienceMs === undefined ? {} : { patienceMs }),
    });
  }

  async run(signal: AbortSignal): Promise<BatchRestoreResult> {
    const timer = setInterval(() => {
      this.#hooks.onProgress?.(this.#progress());
    }, this.#options.progressMs ?? PROGRESS_MS);
    const over = new AbortController();
    const reading = this.#tools.reasons?.run((note) => this.#silent?.take(note), over.signal);
    try {
      await this.#requester.run(this.#source(signal), signal);
    } finally {
      clearInterval(timer);
      this.#silent?.close();
      over.abort();
      await reading;
      while (this.#telling.size > 0) await Promise.all(this.#telling);
    }
    this.#hooks.onProgress?.(this.#progress());
    const numbers = this.#numbers();
    return {
      ...numbers,
      result: resultOf(numbers, signal),
      elapsedMs: performance.now() - this.#startedAtMs,
    };
  }

  /** Files to ask for, for the first time or once more. */
  async *#source(signal: AbortSignal): AsyncGenerator<ReleasedFile[], void, undefined> {
    const silent = this.#silent;
    for await (const wanted of this.#wanted(signal)) {
      const files = silent ? [...silent.takeAgain(), ...wanted] : wanted;
      this.#given += files.length;
      yield files;
    }
    while (silent && !signal.aborted && !this.#requester.isStopped) {
      // Nothing comes behind it but what is asked for again.
      this.#requester.flush();
      const again = silent.takeAgain();
      const { asked, outstanding } = this.#requester.numbers;
      const isOver = asked === this.#given && outstanding === 0 && !silent.isPending;
      if (again.length > 0) {
        this.#given += again.length;
        yield again;
      } else if (isOver) return;
      else await silent.bell.wait(250, signal);
    }
  }

  /** What is released, up to the limit; the rest is counted. */
  async *#wanted(signal: AbortSignal): AsyncGenerator<ReleasedFile[], void, undefined> {
    const source = releasedFiles(
      this.#options,
      this.#tools.lustre,
      {
        onSkipped: () => {
          this.#skipped += 1;
        },
        onReleased: ({ sizeBytes }) => {
          this.#discovered += 1;
          this.#discoveredBytes += sizeBytes;
        },
        onFinding: (finding) => {
          this.#refused += 1;
          this.#hooks.onFinding?.(finding);
        },
        onWalked: () => {
          this.#walked = true;
        },
      },
      signal,
    );
    for await (const files of source) {
      const wanted = files.filter((file) => this.#fits(file));
      if (wanted.length > 0) yield wanted;
    }
  }

  /** Once a file does not fit, none does: in whatever order they come, what is restored is the first part of it. */
  #fits({ sizeBytes }: ReleasedFile): boolean {
    const { bytesLimit } = this.#options;
    if (bytesLimit !== undefined && this.#askedBytes + sizeBytes > bytesLimit) this.#full = true;
    if (this.#full) {
      this.#left += 1;
      this.#leftBytes += sizeBytes;
      return false;
    }
    this.#askedBytes += sizeBytes;
    return true;
  }

  #settled(file: ReleasedFile, outcome: Outcome): void {
    const isAgain = this.#silent?.ended(file) ?? false;
    if (outcome.kind === 'done') this.#doneBytes += file.sizeBytes;
    if (outcome.kind === 'failed') {
      const { error } = outcome;
      if (error.code === 'REQUEST_FAILED' && this.#silent) this.#silent.failed(file, error, isAgain);
      else this.#note(file, error);
    }
    this.#silent?.bell.ring();
  }

  #note(file: ReleasedFile, error: LhsmError): void {
    if (!this.#hooks.onFinding) return;
    const telling = this.#tell(file, error).finally(() => this.#telling.delete(telling));
    this.#telling.add(telling);
  }

  /** Of a file that was spooled the path is asked for: failures are few, and files many. */
  async #tell(file: ReleasedFile, error: LhsmError): Promise<void> {
    let { path } = file;
    try {
      path ??= await this.#tools.lustre.fidToPath(this.#options.mount, file.fid);
    } catch {
      // It has none any more; the message has its FID.
    }
    this.#hooks.onFinding?.(findingOf(path, error));
  }

  #numbers(): BatchRestoreNumbers {
    const { asked, done, failed, vanished, canceled, outstanding, limit, maxOutstanding } =
      this.#requester.numbers;
    const repeated = this.#silent?.repeated ?? 0;
    return {
      discovered: this.#discovered,
      discoveredBytes: this.#discoveredBytes,
      asked: asked - repeated,
      done,
      doneBytes: this.#doneBytes,
      failed: failed - repeated + this.#refused,
      canceled,
      vanished,
      skipped: this.#skipped,
      left: this.#left,
      leftBytes: this.#leftBytes,
      outstanding,
      limit,
      maxQueue: maxOutstanding,
    };
  }

  #progress(): BatchRestoreProgress {
    const numbers = this.#numbers();
    const { asked, outstanding, discovered, left, done, doneBytes } = numbers;
    const { files = 0, bytes = 0 } = this.#rates.sample({ files: done, bytes: Number(doneBytes) });
    const toDo = discovered - left - asked + outstanding;
    const isKnown = this.#walked && files > 0;
    return {
      ...numbers,
      filesPerSecond: files,
      bytesPerSecond: bytes,
      etaSeconds: isKnown ? Math.round(toDo / files) : undefined,
    };
  }
}

function badLimit(limit: bigint): LhsmError {
  return new LhsmError(`a limit of ${limit} bytes makes no sense`, {
    code: 'LIMIT_INVALID',
    op: 'restore',
    errno: errnoNumber('EINVAL'),
    hint: 'Give a number of bytes that is not negative.',
  });
}

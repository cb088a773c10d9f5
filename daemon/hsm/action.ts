// The life of one action: begin → mover with progress → exactly one end. receiver.ts makes actions, the
// scheduler runs them, heart.ts beats them; all errors end here, as an errno for the MDT and one log line.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { actionName, CopytoolAction, ProgressFlag, RequestFlag } from '../../native-bindings/constants.js';
import { describeError, errnoFor, errnoName, hasCode, LhsmError } from '../../native-bindings/errors.js';
import { formatFid, type ActionItem, type CopyAction, type Copytool } from '../../native-bindings/lustre.js';
import type { ArchiveContainer } from '../blobs/archive-container.js';
import type { ActionKind, ActionResult, AgentEmitter, Lane } from '../events.js';
import { MEMORY_XATTRS } from '../movers/file-record.js';
import type { Mover, MoverOutcome, MoverTools } from '../movers/mover.js';
import { newCounters, type TransferCounters } from '../transfer/transfer.js';
import type { BytesGate } from './bytes-gate.js';
import type { Share } from '../share.js';
import { Stop } from '../stop.js';
import { itemKey, type Journal } from './journal.js';
import type { Task } from './scheduler.js';

/** A received item and what its list said, the same whether it came from the pipe or from the journal. */
export interface ReceivedAction {
  readonly item: ActionItem;
  readonly archiveId: number;
  readonly flags: bigint;
  readonly receivedAtMs: number;
  /** From the journal of a dead process; `progressed` as noted there. */
  readonly recovered?: { readonly progressed: boolean };
}

/** What actions share. `copytool` is asked for anew: registering anew changes it. */
export interface ActionTools {
  readonly copytool: () => Copytool;
  /** A descriptor of the mount point. */
  readonly mountFd: number;
  readonly journal: Journal;
  readonly events: AgentEmitter;
  readonly log: Logger;
  readonly container: (archiveId: number) => ArchiveContainer | undefined;
  readonly movers: { readonly archive: Mover; readonly restore: Mover; readonly remove: Mover };
  readonly moverTools: (kind: 'archive' | 'restore' | 'remove') => MoverTools;
  readonly gates: { readonly archive: BytesGate; readonly restore: BytesGate };
  readonly timings: () => ActionTimings;
  /** What archives and removes may hold of the threads that wait in C. */
  readonly bulk: Share;
  /** Aborts when nothing more may be waited for: ends that do not reach the MDT are then left to the journal. */
  readonly giveUp: AbortSignal;
  /** Hears of every failure, for the status. */
  readonly onError: (action: Action, error: unknown) => void;
}

export interface ActionTimings {
  readonly heartbeatMs: number;
  readonly restoreFirstProgressMs: number;
}

const END_RETRY_MIN_MS = 1000;
const END_RETRY_MAX_MS = 30_000;

const kinds = new Map<number, ActionKind>([
  [CopytoolAction.ARCHIVE, 'archive'],
  [CopytoolAction.RESTORE, 'restore'],
  [CopytoolAction.REMOVE, 'remove'],
  [CopytoolAction.CANCEL, 'cancel'],
]);

export function kindOf(action: number): ActionKind {
  return kinds.get(action) ?? 'unknown';
}

/** Why an action was stopped from outside; given to `stop`. */
export const STOP_REASONS = {
  canceled: () =>
    new LhsmError('the coordinator cancelled the action', { code: 'CANCELED', op: 'cancel', errno: 125 }),
  forgotten: (cause?: unknown) =>
    new LhsmError('the coordinator does not know the action (any more)', {
      code: 'FORGOTTEN',
      op: 'llapi_hsm_action_end',
      errno: 2,
      cause,
      hint: 'The MDT was restarted or the request timed out; the next access or request starts anew.',
    }),
  shutdown: () =>
    new LhsmError('the daemon is shutting down', {
      code: 'SHUTDOWN',
      op: 'shutdown',
      errno: 11,
      retryable: true,
      hint: 'The action can be asked for again once a daemon serves the archive.',
    }),
  reregister: () =>
    new LhsmError('the daemon registers anew and the action did not finish within the grace time', {
      code: 'REREGISTER',
      op: 'reregister',
      errno: 11,
      retryable: true,
      hint: 'The action can be asked for again.',
    }),
} as const;

export class Action implements Task {
  readonly key: string;
  readonly fid: string;
  readonly lane: Lane;
  readonly kind: ActionKind;
  readonly blocking: boolean;
  readonly receivedAtMs: number;
  readonly archiveId: number;
  readonly item: ActionItem;
  readonly counters: TransferCounters = newCounters();
  readonly #received: ReceivedAction;
  readonly #tools: ActionTools;
  readonly #stop = new Stop();
  #handle: CopyAction | undefined;
  #beginning: Promise<void> | undefined;
  #begunAtMs: number | undefined;
  #lastSentAtMs = 0;
  #reportedBytes = 0;
  #askedAtMs: number | undefined;
  #beat: Promise<void> | undefined;
  #over = false;
  #quietAboutProgress = false;
  #blob: string | undefined;
  #sizeBytes: bigint | undefined;

  constructor(received: ReceivedAction, tools: ActionTools) {
    this.#received = received;
    this.#tools = tools;
    this.item = received.item;
    this.key = itemKey(received.item);
    this.fid = formatFid(received.item.fid);
    this.kind = kindOf(received.item.action);
    this.lane = this.kind === 'restore' || this.kind === 'remove' ? this.kind : 'archive';
    this.blocking = (received.flags & RequestFlag.BLOCKING) !== 0n;
    this.receivedAtMs = received.receivedAtMs;
    this.archiveId = received.archiveId;
  }

  get begun(): boolean {
    return this.#handle !== undefined;
  }
  /** Its end has begun: nothing can be told to it any more. */
  get ending(): boolean {
    return this.#over;
  }
  get blob(): string | undefined {
    return this.#blob;
  }
  get sizeBytes(): bigint | undefined {
    return this.#sizeBytes;
  }

  /** Carries the action out. Never rejects: whatever happens has become the action's end. */
  async run(): Promise<void> {
    try {
      const outcome = await this.#carryOut();
      await this.#finish(undefined, outcome);
    } catch (error) {
      await this.#finish(this.#stop.aborted ? this.#stop.reason : this.#honest(error), undefined);
    }
  }

  /** Stops a running action; `run` then ends it with this error. */
  stop(reason: LhsmError): void {
    this.#stop.abort(reason);
  }

  /** Ends an action that never ran. Never rejects. */
  async endUnstarted(reason: unknown): Promise<void> {
    await this.#finish(reason, undefined);
  }

  /**
   * Begins before the action's turn has come, so that a long queue does not let the request time out. Never
   * rejects: a failure shows when the action runs.
   */
  async beginEarly(): Promise<void> {
    const never = this.kind === 'unknown' || this.#received.recovered?.progressed === true;
    if (this.#over || this.#beginning || never) return;
    // A failure may pass: the action begins again when its turn comes.
    // The data is opened when the turn has come: a long queue would hold as many descriptors.
    await this.#begin(false).catch(() => {
      this.#beginning = undefined;
    });
  }

  /** Resolves when no begin or progress is under way. Never rejects. */
  async settled(): Promise<void> {
    await this.#beginning?.catch(() => undefined);
    await this.#beat;
  }

  /** Sends progress when it is due. Never rejects. */
  beat(nowMs: number): Promise<void> {
    if (!this.#handle || this.#over || this.#beat || this.#begunAtMs === undefined) return Promise.resolve();
    const { heartbeatMs, restoreFirstProgressMs } = this.#tools.timings();
    if (nowMs - this.#lastSentAtMs < heartbeatMs) return Promise.resolve();
    // After its first progress a restore cannot be taken up by another process (EINVAL), so hold it back.
    if (this.kind === 'restore' && nowMs - this.#begunAtMs < restoreFirstProgressMs) return Promise.resolve();
    const beat = this.#sendProgress(this.#handle, nowMs).finally(() => {
      this.#beat = undefined;
    });
    this.#beat = beat;
    return beat;
  }

  async #sendProgress(handle: CopyAction, nowMs: number): Promise<void> {
    const offset = this.#reportedBytes;
    const length = Math.max(0, this.counters.bytes - offset);
    try {
      if (this.kind === 'restore') this.#noteProgress();
      this.#lastSentAtMs = nowMs;
      await handle.progress({ offset: BigInt(offset), length: BigInt(length) }, this.#sizeBytes ?? 0n);
      this.#reportedBytes = offset + length;
      this.#quietAboutProgress = false;
      if (length === 0) this.#tools.events.emit('heartbeat', { kind: this.kind });
    } catch (error) {
      if (hasCode(error, 'ECANCELED')) this.stop(STOP_REASONS.canceled());
      else if (hasCode(error, 'ENOENT')) this.stop(STOP_REASONS.forgotten());
      else {
        // EAGAIN: the coordinator is not up. In an outage every action would say so at every beat: once is enough.
        const level = this.#quietAboutProgress || hasCode(error, 'EAGAIN') ? 'debug' : 'warn';
        this.#quietAboutProgress = true;
        this.#tools.log[level]({ ...this.#subject(), err: error }, 'cannot report progress');
      }
    }
  }

  /** Without the note, a next process would try to take the restore up, be refused and clear it: no harm. */
  #noteProgress(): void {
    try {
      this.#tools.journal.progressed(this.key);
    } catch (error) {
      this.#tools.log.error({ ...this.#subject(), err: error }, 'cannot note the progress in the journal');
    }
  }

  async #carryOut(): Promise<MoverOutcome> {
    const { kind } = this;
    if (kind !== 'archive' && kind !== 'restore' && kind !== 'remove') {
      throw new LhsmError(`the MDT asks for an action that we do not know: ${actionName(this.item.action)}`, {
        code: 'UNKNOWN_ACTION',
        op: 'receive',
        errno: 95,
        hint: 'Is the file system newer than this daemon?',
      });
    }
    const container = this.#tools.container(this.archiveId);
    if (!container) {
      throw new LhsmError(`no container is configured for archive id ${this.archiveId}`, {
        code: 'UNKNOWN_ARCHIVE',
        op: 'receive',
        errno: 22,
        hint: `Add an [[archive]] with id = ${this.archiveId} to the configuration, or use another archive id.`,
      });
    }
    if (kind === 'restore' && this.#received.recovered?.progressed) {
      throw new LhsmError(
        'a former process had sent progress for this restore, so it cannot be taken up again',
        {
          code: 'NOT_RESUMABLE',
          op: 'recover',
          errno: 5,
          retryable: true,
          hint: 'The next read of the file asks for it again.',
        },
      );
    }
    await this.#begin(kind !== 'remove');
    const handle = this.#handle;
    if (!handle) throw new TypeError('begin returned without a handle');
    const signal = this.#stop;
    if (kind === 'remove') await this.#stillWanted(handle);
    signal.throwIfAborted();
    const fd = kind === 'remove' ? -1 : await this.#shared(() => handle.openData());
    let leave: (() => void) | undefined;
    try {
      return await this.#tools.movers[kind](
        {
          item: this.item,
          container,
          fd,
          look: handle.look,
          counters: this.counters,
          log: this.#tools.log,
          admit: async (sizeBytes, blob) => {
            this.#sizeBytes = sizeBytes;
            this.#blob = blob;
            if (kind !== 'remove') leave = await this.#tools.gates[kind].enter(sizeBytes, signal);
          },
          asking: () => {
            // Asked anew, by another name say, the first byte that counts is still the first of all.
            if (this.counters.firstByteMs === undefined) this.#askedAtMs = performance.now();
          },
        },
        this.#tools.moverTools(kind),
        signal,
      );
    } finally {
      leave?.();
    }
  }

  /**
   * The begin of a remove asks the MDT nothing (liblustreapi_hsm.c), so a request that timed out, was cancelled or done
   * already would still delete the blob, maybe the only copy by now. A progress does ask. Throws what the MDT answers.
   */
  async #stillWanted(handle: CopyAction): Promise<void> {
    try {
      await handle.progress({ offset: 0n, length: 0n }, 0n);
    } catch (error) {
      if (hasCode(error, 'ENOENT')) throw STOP_REASONS.forgotten(error);
      if (hasCode(error, 'ECANCELED')) throw STOP_REASONS.canceled();
      throw error;
    }
  }

  #begin(opensData: boolean): Promise<void> {
    this.#beginning ??= (async () => {
      const { mountFd, copytool } = this.#tools;
      // What is begun before its turn is looked at when that has come: the file may change until then.
      const look = opensData ? { look: MEMORY_XATTRS } : {};
      // Of a file with data the look might wait for an OST, and the handle with it.
      const options = this.kind === 'restore' ? { opensData, mountFd, ...look } : { opensData };
      const handle = await this.#shared(() => copytool().begin(withDataFid(this.item), options));
      this.#begunAtMs = performance.now();
      this.#lastSentAtMs = this.#begunAtMs;
      this.#handle = handle;
      this.#tools.events.emit('begun', {
        kind: this.kind,
        lane: this.lane,
        queuedMs: this.#begunAtMs - this.receivedAtMs,
      });
    })();
    return this.#beginning;
  }

  /** Restores have all threads to themselves, archives and removes only their share. */
  #shared<T>(work: () => Promise<T>): Promise<T> {
    return this.lane === 'restore' ? work() : this.#tools.bulk.run(work);
  }

  /**
   * ECANCELED is for what the coordinator cancelled: to anything else it would answer by recording success
   * (mdt_coordinator.c). Some library's own abort is a failure worth another try.
   */
  #honest(error: unknown): unknown {
    const stray = error instanceof Error && (error.name === 'AbortError' || hasCode(error, 'ECANCELED'));
    if (!stray || !this.begun) return error;
    return new LhsmError(`the transfer was broken off: ${error.message}`, {
      code: 'ABORTED',
      op: this.kind,
      errno: 5,
      retryable: true,
      cause: error,
    });
  }

  /** The one end. Never rejects. */
  async #finish(error: unknown, outcome: MoverOutcome | undefined): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    await this.settled();
    const flags = error instanceof LhsmError && error.retryable ? ProgressFlag.RETRY : 0;
    const errno = error === undefined ? 0 : errnoFor(error);
    const end = await this.#end(errno, flags);
    // ENOENT: another tool on the mount had the item, or the coordinator has forgotten it. A refusal of our own (an
    // unknown action, say) stays the reason.
    const unknown =
      hasCode(end.error, 'ENOENT') &&
      (error === undefined || hasCode(error, 'ENOENT') || resultOf(error) === 'canceled');
    const failure = unknown ? STOP_REASONS.forgotten(error ?? end.error) : (error ?? end.error);
    // What the MDT has not answered for stays in the journal: the next process clears it.
    if (end.answered) this.#noteEnd();
    this.#report(failure, outcome);
  }

  #noteEnd(): void {
    try {
      this.#tools.journal.ended(this.key);
    } catch (journalError) {
      this.#tools.log.error({ ...this.#subject(), err: journalError }, 'cannot note the end in the journal');
    }
  }

  /**
   * Ends with the handle there is, then, if that failed, with one made only for that: the request may still be STARTED.
   * Tells the (first) failure, and whether the MDT has answered; if not, it was given up. Never rejects.
   */
  async #end(
    errno: number,
    flags: number,
  ): Promise<{ readonly answered: boolean; readonly error?: unknown }> {
    const { extent } = this.item;
    let first: unknown;
    if (this.#handle) {
      const handle = this.#handle;
      try {
        const badClose = await this.#shared(() => handle.end(extent, flags, errno));
        if (badClose) {
          this.#tools.log.warn(
            { ...this.#subject(), err: badClose },
            'closing the data file did not go well',
          );
        }
        return { answered: true };
      } catch (error) {
        // The file was written meanwhile: the coordinator has recorded that.
        if (hasCode(error, 'EBUSY')) return { answered: true, error };
        first = error;
      }
    }
    const clearing = errno === 0 && first !== undefined ? errnoFor(first) : errno;
    for (let delayMs = END_RETRY_MIN_MS; ; delayMs = Math.min(delayMs * 2, END_RETRY_MAX_MS)) {
      try {
        const handle = await this.#tools.copytool().begin(withDataFid(this.item), { isError: true });
        await handle.end(extent, first === undefined ? flags : 0, clearing);
        return { answered: true, error: first };
      } catch (error) {
        if (isAnswer(error)) return { answered: true, error: first ?? error };
        const { log, giveUp } = this.#tools;
        if (giveUp.aborted) return { answered: false, error: first ?? error };
        log.warn({ ...this.#subject(), err: error, next_try_ms: delayMs }, 'the end does not reach the MDT');
        await sleep(delayMs, undefined, { signal: giveUp }).catch(() => undefined);
      }
    }
  }

  #report(error: unknown, outcome: MoverOutcome | undefined): void {
    const nowMs = performance.now();
    const { counters } = this;
    const result = resultOf(error);
    const errno = error === undefined ? 0 : errnoFor(error);
    const code = error === undefined ? undefined : error instanceof LhsmError ? error.code : 'INTERNAL';
    const durationMs = nowMs - this.receivedAtMs;
    const queuedMs = (this.#begunAtMs ?? nowMs) - this.receivedAtMs;
    // One literal, and no spread in it: V8 makes a new hidden class for each object that has one.
    const fields = {
      fid: this.fid,
      cookie: this.#cookie(),
      op: this.kind,
      archive_id: this.archiveId,
      blob: outcome?.blob ?? this.#blob,
      bytes: counters.bytes,
      ms: Math.round(durationMs),
      queued_ms: Math.round(queuedMs),
      result,
      retries: counters.retries > 0 ? counters.retries : undefined,
      notes: outcome?.notes?.length ? outcome.notes : undefined,
      recovered: this.#received.recovered ? true : undefined,
    };
    if (error === undefined) this.#tools.log.info(fields, `${this.kind} done`);
    else if (code === 'FORGOTTEN' && !this.begun)
      this.#tools.log.debug(fields, `${this.kind}: not ours to end`);
    else if (result === 'canceled') this.#tools.log.info({ ...fields, code }, `${this.kind} cancelled`);
    else {
      this.#tools.log.error(
        { ...fields, code, errno: errnoName(errno), err: error },
        `${this.kind} failed: ${describeError(error)}`,
      );
      this.#tools.onError(this, error);
    }
    this.#tools.events.emit('finished', {
      kind: this.kind,
      fid: this.fid,
      archiveId: this.archiveId,
      result,
      errno,
      code,
      reason: error === undefined ? undefined : describeError(error),
      data: this.item.data.length > 0 ? this.item.data : undefined,
      bytes: counters.bytes,
      durationMs,
      queuedMs,
      firstByteMs: this.#firstByteMs(),
      retries: counters.retries,
      throttles: counters.throttles,
      blocking: this.blocking,
    });
    if (this.#received.recovered) {
      const outcomeOf = error === undefined ? 'redone' : code === 'FORGOTTEN' ? 'forgotten' : 'cleared';
      this.#tools.events.emit('recovered', { kind: this.kind, outcome: outcomeOf });
    }
  }

  /** From its receipt to its first byte; the transfer counts from when it was asked. */
  #firstByteMs(): number | undefined {
    const { firstByteMs } = this.counters;
    if (firstByteMs === undefined || this.#askedAtMs === undefined) return undefined;
    return this.#askedAtMs - this.receivedAtMs + firstByteMs;
  }

  #subject(): { fid: string; cookie: string; op: ActionKind; archive_id: number } {
    return {
      fid: this.fid,
      cookie: this.#cookie(),
      op: this.kind,
      archive_id: this.archiveId,
    };
  }

  #cookie(): string {
    return `0x${this.item.cookie.toString(16)}`;
  }
}

/** Whether the MDT itself said this, so that asking again would bring nothing new. */
function isAnswer(error: unknown): boolean {
  return ['EBUSY', 'ENOENT', 'EINVAL', 'ECANCELED', 'EPERM', 'ESTALE'].some((code) => hasCode(error, code));
}

/**
 * The item's bytes as `begin` needs them: remove-on-last-unlink sends no data FID, but a progress is sent to the MDT of
 * the data FID.
 */
function withDataFid({ raw, dfid }: ActionItem): Buffer {
  if (dfid.seq !== 0n || dfid.oid !== 0 || raw.length < ITEM_DFID_AT + FID_BYTES) return raw;
  const bytes = Buffer.from(raw);
  bytes.copy(bytes, ITEM_DFID_AT, ITEM_FID_AT, ITEM_FID_AT + FID_BYTES);
  return bytes;
}

/** Offsets of hai_fid and hai_dfid in struct hsm_action_item (lustre_user.h). */
const ITEM_FID_AT = 8;
const ITEM_DFID_AT = 24;
const FID_BYTES = 16;

function resultOf(error: unknown): ActionResult {
  if (error === undefined) return 'succeeded';
  if (hasCode(error, 'CANCELED') || hasCode(error, 'ECANCELED')) return 'canceled';
  return error instanceof LhsmError && error.retryable ? 'retry' : 'failed';
}

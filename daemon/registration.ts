// The registration with the coordinator: made with patience, kept, made anew when the operator asks or the file
// system dropped it. agent.ts owns one; actions ask it for the copytool in force.
import type { Logger } from 'pino';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError, hasCode, LhsmError } from '../native-bindings/errors.js';
import type { ActionList, Copytool, Lustre } from '../native-bindings/lustre.js';
import type { AgentEmitter, UnregisteredEvent } from './events.js';
import { STOP_REASONS } from './hsm/action.js';
import type { Heart } from './hsm/heart.js';
import type { Receiver } from './hsm/receiver.js';
import type { Scheduler } from './hsm/scheduler.js';

export interface RegistrationOptions {
  readonly mount: string;
  /** Empty for every archive. */
  readonly archiveIds: readonly number[];
  readonly lustre: Lustre;
  readonly receiver: Receiver;
  readonly scheduler: Scheduler;
  readonly heart: Heart;
  readonly events: AgentEmitter;
  readonly log: Logger;
  readonly graceMs: () => number;
  /** Aborts when the daemon stops: no new registration is tried for then. */
  readonly stopping: AbortSignal;
  /** Whether the mount is still the file system that it was. */
  readonly stillMounted: () => Promise<boolean>;
  /** The file system is gone (undefined) or the pipe cannot be read any more. */
  readonly onOver: (error: LhsmError | undefined) => void;
}

const RETRY_MIN_MS = 1000;
const RETRY_MAX_MS = 30_000;

export class Registration {
  readonly #options: RegistrationOptions;
  #copytool: Copytool | undefined;
  #receiving: { readonly stop: AbortController; readonly done: Promise<void> } | undefined;
  #renewing: Promise<void> | undefined;
  #everRegistered = false;
  readonly #take = (list: ActionList): void => {
    this.#options.receiver.accept(list);
  };

  constructor(options: RegistrationOptions) {
    this.#options = options;
  }

  get registered(): boolean {
    return this.#copytool !== undefined;
  }

  /** The copytool in force. Throws LhsmError ENOTCONN between two registrations. */
  get copytool(): Copytool {
    if (!this.#copytool) {
      throw new LhsmError(`not registered as copytool of ${this.#options.mount}`, {
        code: 'NOT_REGISTERED',
        op: 'registration',
        errno: 107,
        retryable: true,
      });
    }
    return this.#copytool;
  }

  /**
   * Registers; receives nothing yet. Tries again for as long as the coordinator is shut down (ENXIO) or the MDT does
   * not answer; once it has been registered, as long as the file system is mounted. Rejects with what no waiting mends,
   * or when the daemon stops.
   */
  async register(): Promise<void> {
    const { lustre, mount, archiveIds, events, log, receiver, stopping, stillMounted } = this.#options;
    for (let delayMs = RETRY_MIN_MS; ; delayMs = Math.min(delayMs * 2, RETRY_MAX_MS)) {
      stopping.throwIfAborted();
      try {
        const copytool = await lustre.register(mount, archiveIds);
        if (stopping.aborted) {
          // What arrived by now is for the next process.
          receiver.intake('leave');
          await copytool.unregister(this.#take);
        }
        stopping.throwIfAborted();
        this.#copytool = copytool;
        events.emit('registered', { archiveIds, again: this.#everRegistered });
        this.#everRegistered = true;
        log.info({ mount, archive_ids: archiveIds }, 'registered with the coordinator');
        return;
      } catch (error) {
        stopping.throwIfAborted();
        const patience = this.#everRegistered
          ? await stillMounted()
          : ['ENXIO', 'EAGAIN', 'ETIMEDOUT'].some((code) => hasCode(error, code));
        if (!patience) throw error;
        log.warn({ err: error, next_try_ms: delayMs }, `cannot register yet: ${describeError(error)}`);
        await sleep(delayMs, undefined, { signal: stopping });
      }
    }
  }

  /** Starts to receive from the copytool in force. */
  receive(): void {
    const stop = new AbortController();
    const done = this.#options.receiver.receive(this.copytool, stop.signal).catch((error: unknown) => {
      // Not awaited: renewing and ending wait for this very promise.
      void this.#lost(error);
    });
    this.#receiving = { stop, done };
  }

  /**
   * Registers anew: actions that run may finish within the grace time, queued ones stay. When it rejects, the
   * daemon can serve no longer and `onOver` has been told.
   */
  renew(): Promise<void> {
    this.#renewing ??= this.#renew().finally(() => {
      this.#renewing = undefined;
    });
    return this.#renewing;
  }

  async #renew(): Promise<void> {
    const { receiver, scheduler, heart, graceMs, log, mount, onOver, stopping, stillMounted } = this.#options;
    log.info({ mount, grace_ms: graceMs() }, 'registering anew when what runs has ended');
    try {
      // The pipe is drained until the last moment: a full one stalls the client.
      await receiver.quiesce(graceMs(), STOP_REASONS.reregister());
      heart.pause();
      await this.#stopReceiving();
      await receiver.letGo(STOP_REASONS.reregister());
      await this.unregister('reregister');
      await this.register();
      this.receive();
    } catch (error) {
      if (!stopping.aborted) onOver((await stillMounted()) ? asLhsmError(error) : undefined);
      throw error;
    } finally {
      heart.resume();
      if (this.registered) scheduler.resume();
    }
  }

  /** Resolves when no renewal is under way. */
  async settled(): Promise<void> {
    await this.#renewing?.catch(() => undefined);
  }

  async #stopReceiving(): Promise<void> {
    this.#receiving?.stop.abort();
    await this.#receiving?.done;
    this.#receiving = undefined;
  }

  /**
   * Ends receiving and the registration. Nothing may be in flight: throws when something is, for a second
   * registration beside one whose pipe nobody reads would stall the client.
   */
  async unregister(reason: UnregisteredEvent['reason']): Promise<void> {
    const { events, log, mount } = this.#options;
    await this.#stopReceiving();
    const copytool = this.#copytool;
    if (!copytool) return;
    try {
      await copytool.unregister(this.#take);
    } catch (error) {
      if (!(error instanceof LhsmError)) throw error;
      log.warn(
        { err: error },
        'unregistering did not go well; the MDT drops the agent when the process ends',
      );
    }
    this.#copytool = undefined;
    events.emit('unregistered', { reason });
    log.info({ mount, reason }, 'unregistered');
  }

  /** The pipe gave an error: the file system went away, or somebody else ended our registration. Never rejects. */
  async #lost(error: unknown): Promise<void> {
    const { log, stillMounted, onOver, stopping, mount } = this.#options;
    const ended = ['ESHUTDOWN', 'EPIPE', 'ENOTCONN'].some((code) => hasCode(error, code));
    const mounted = await stillMounted();
    if (stopping.aborted) return;
    if (!mounted) {
      log.info({ mount }, 'the file system is gone');
      onOver(undefined);
    } else if (!ended) {
      onOver(asLhsmError(error));
    } else {
      log.warn({ mount, err: error }, 'the registration was ended from outside; registering anew');
      await this.renew().catch(() => undefined);
    }
  }
}

function asLhsmError(error: unknown): LhsmError {
  if (error instanceof LhsmError) return error;
  return new LhsmError(`the registration failed: ${String(error)}`, {
    code: 'REGISTRATION',
    op: 'registration',
    cause: error,
  });
}

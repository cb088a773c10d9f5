// The agent: builds every part in order, serves until told to stop, and takes everything down again. main.ts
// starts it; control/ asks it.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { LhsmError } from '../native-bindings/errors.js';
import { decodeActionItem } from '../native-bindings/structs.js';
import { AgentDoctor } from './agent-doctor.js';
import { loggingContainerUnset } from './agent-jobs.js';
import { inFlight, partsStatus, StatusMemory } from './agent-status.js';
import { archiveIds, buildParts, type Parts, type Teardown } from './agent-parts.js';
import { applyReloadable, whatChanged } from './config/changes.js';
import type { Config } from './config/config.js';
import { adminSocket } from './config/mount-name.js';
import { describeConfig } from './config/to-config.js';
import { startAdmin } from './control/admin.js';
import type { AgentControl, AgentStatus, ReloadResult, ReregisterResult } from './control/agent-control.js';
import { startHttp } from './control/http.js';
import type { JobsControl } from './control/jobs-control.js';
import type { OperationsControl } from './control/operations-control.js';
import { RecentTroubles } from './doctor/recent-troubles.js';
import type { EventLoopMonitor } from './event-loop.js';
import { AgentEmitter } from './events.js';
import { STOP_REASONS } from './hsm/action.js';
import type { Receiver } from './hsm/receiver.js';
import { AgentBoard, type KnownAgent } from './jobs/agent-board.js';
import { LaneRates } from './lane-rates.js';
import { createMetrics } from './metrics.js';
import { redact } from './redact.js';
import { VERSION } from './version.js';

/** How long the daemon waits for every container before it serves those that answer. */
const CONTAINER_PATIENCE_MS = 30_000;

/** How long the ends of what is left may take at a shutdown when the MDT does not answer. */
const GIVE_UP_MS = 10_000;

/** Beyond the grace time, how long the operator waits; the renewal goes on behind that. */
const REREGISTER_PATIENCE_MS = 20_000;

export interface AgentOptions {
  readonly log: Logger;
  /** Reads the configuration again, for a reload. */
  readonly loadConfig: () => Promise<Config>;
}

export class Agent implements AgentControl {
  readonly events: AgentEmitter;
  readonly doctor: AgentDoctor;
  readonly #log: Logger;
  readonly #loadConfig: () => Promise<Config>;
  readonly #memory: StatusMemory;
  readonly #troubles: RecentTroubles;
  readonly #rates: LaneRates;
  #board: AgentBoard | undefined;
  #eventLoop: EventLoopMonitor | undefined;
  readonly #startedAtMs = performance.now();
  readonly #stopping = new AbortController();
  readonly #giveUp = new AbortController();
  readonly #teardown: Teardown[] = [];
  readonly #over: Promise<LhsmError | undefined>;
  #declareOver: (error: LhsmError | undefined) => void = () => undefined;
  #state: AgentStatus['state'] = 'starting';
  #config: Config;
  #parts: Parts | undefined;
  #started: Promise<void> = Promise.resolve();
  #served: Promise<void> = Promise.resolve();
  #stopped: Promise<void> | undefined;
  #hurry: (() => void) | undefined;

  constructor(config: Config, options: AgentOptions) {
    this.#config = config;
    this.#log = options.log;
    this.#loadConfig = options.loadConfig;
    this.events = new AgentEmitter((error) => {
      this.#log.error({ err: error }, 'a listener of the agent failed');
    });
    this.#memory = new StatusMemory(this.events);
    this.#troubles = new RecentTroubles(this.events);
    this.#rates = new LaneRates(this.events, () =>
      this.#parts ? inFlight(this.#parts.receiver, performance.now()) : [],
    );
    this.#teardown.push(() => {
      this.#rates.close();
    });
    this.doctor = new AgentDoctor({
      config: () => this.#config,
      parts: () => this.#parts,
      state: () => this.#state,
      eventLoop: () => this.#eventLoop,
      troubles: this.#troubles,
    });
    this.#over = new Promise((resolve) => {
      this.#declareOver = resolve;
    });
  }

  /** Resolves when the agent can serve no longer: undefined when the file system is gone, else why. */
  over(): Promise<LhsmError | undefined> {
    return this.#over;
  }

  /**
   * Builds everything and returns as soon as the agent can be asked for its status; serving begins when a
   * container has answered and the coordinator has registered us. Throws LhsmError for what no waiting mends:
   * MOUNT_MISSING, MOUNT_SERVED, LIBRARY_*, a path that is not on Lustre, unreadable secrets, the journal.
   * SHUTDOWN when it is stopped meanwhile.
   */
  start(): Promise<void> {
    this.#started = this.#start();
    return this.#started;
  }

  async #start(): Promise<void> {
    const { signal } = this.#stopping;
    try {
      const parts = await buildParts({
        config: () => this.#config,
        events: this.events,
        log: this.#log,
        memory: this.#memory,
        troubles: this.#troubles,
        stopping: signal,
        giveUp: this.#giveUp.signal,
        teardown: this.#teardown,
        onOver: this.#declareOver,
      });
      signal.throwIfAborted();
      this.#parts = parts;
      await this.#open();
      signal.throwIfAborted();
      this.#served = this.#serve(parts);
    } catch (error) {
      this.#parts = undefined;
      await this.#takeDown();
      throw error;
    }
  }

  /**
   * First call: receives no longer, lets what is queued and running finish within the grace time, ends the rest with
   * RETRY, unregisters and takes everything down. Another call while that lasts cuts the grace time short.
   */
  stop(): Promise<void> {
    if (this.#stopped) this.#hurry?.();
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  status(): AgentStatus {
    return {
      ...partsStatus(this.#parts, this.#config, this.#rates),
      version: VERSION,
      pid: process.pid,
      mount: this.#config.mount,
      state: this.#state,
      uptimeMs: Math.round(performance.now() - this.#startedAtMs),
      totals: this.#memory.totals,
      lastErrors: this.#memory.lastErrors,
    };
  }

  agents(signal: AbortSignal): Promise<readonly KnownAgent[]> {
    return this.#board?.agents(signal) ?? Promise.resolve([]);
  }

  config(): Readonly<Record<string, unknown>> {
    return describeConfig(this.#config);
  }

  async reregister(): Promise<ReregisterResult> {
    const { registration } = this.#serving();
    const patience = new AbortController();
    const patienceMs = this.#config.shutdown.graceMs + REREGISTER_PATIENCE_MS;
    await Promise.race([
      registration.renew(),
      sleep(patienceMs, undefined, { signal: patience.signal }),
    ]).finally(() => {
      patience.abort();
    });
    return { registered: registration.registered, archiveIds: archiveIds(this.#config) };
  }

  async reload(): Promise<ReloadResult> {
    const parts = this.#parts;
    parts?.systemd.reloading();
    try {
      const next = await this.#loadConfig();
      const { applied, needRestart } = whatChanged(this.#config, next);
      this.#config = applyReloadable(this.#config, next);
      parts?.scheduler.setLimits(this.#config.scheduler);
      parts?.gates.archive.setLimit(this.#config.scheduler.maxBytes);
      parts?.gates.restore.setLimit(this.#config.scheduler.maxBytes);
      this.#log.level = this.#config.log.level;
      this.events.emit('reloaded', { ok: true, applied, needRestart });
      this.#log.info({ applied, need_restart: needRestart }, 'configuration read again');
      return { applied, needRestart };
    } catch (error) {
      this.events.emit('reloaded', { ok: false, applied: [], needRestart: [] });
      this.#memory.note(undefined, error);
      throw error;
    } finally {
      parts?.systemd.reloaded();
    }
  }

  get jobs(): JobsControl {
    if (this.#config.jobs.loggingContainer === undefined) throw loggingContainerUnset();
    return this.#serving().jobs;
  }

  get operations(): OperationsControl {
    return this.#serving().operations;
  }

  logLevel(): string {
    return this.#log.level;
  }

  setLogLevel(level: string): void {
    this.#log.info({ from: this.#log.level, to: level }, 'log level changed');
    this.#log.level = level;
  }

  #serving(): Parts {
    if (this.#parts && this.#state === 'running') return this.#parts;
    throw new LhsmError(`the daemon is ${this.#state}, not serving`, {
      code: 'NOT_SERVING',
      op: 'control',
      errno: 11,
      retryable: true,
      hint: 'See "lhsm-azblob status" for what it waits for.',
    });
  }

  /** Opens the agent to those who ask: metrics and health over TCP, the admin API over its socket. */
  async #open(): Promise<void> {
    const { http, runDir, mount } = this.#config;
    const metrics = createMetrics({ events: this.events, version: VERSION, source: () => this.status() });
    this.#eventLoop = metrics.eventLoop();
    this.#teardown.push(() => {
      metrics.close();
    });
    const socket = adminSocket(runDir, mount);
    const admin = await startAdmin({
      socket,
      control: this,
      metrics,
      onBroken: (error) => {
        this.#log.warn({ err: error }, 'an answer of the admin API was cut off');
      },
    });
    this.#teardown.push(() => admin.close());
    this.#log.info({ socket }, 'admin API');
    if (http.listen === undefined) return;
    const server = await startHttp({ listen: http.listen, control: this, metrics });
    this.#teardown.push(() => server.close());
    this.#log.info({ address: server.address }, 'metrics and health');
  }

  /** Waits for enough of the containers. A service that waits is up: systemd must not kill it for that. */
  async #containers({ systemd, readiness }: Parts, signal: AbortSignal): Promise<void> {
    systemd.status('waiting for a container to answer');
    const up = (): void => {
      systemd.ready();
    };
    const offProbe = this.events.on('probed', ({ ready }) => {
      if (!ready) up();
    });
    const patience = setTimeout(up, CONTAINER_PATIENCE_MS);
    readiness.start();
    try {
      await readiness.enoughReady(CONTAINER_PATIENCE_MS, signal);
    } finally {
      clearTimeout(patience);
      offProbe();
    }
  }

  /** Waits for what serving needs, then serves. Never rejects: what fails is declared over. */
  async #serve(parts: Parts): Promise<void> {
    const { systemd, registration, receiver, heart, left } = parts;
    const { signal } = this.#stopping;
    try {
      await this.#containers(parts, signal);
      systemd.status('registering with the coordinator');
      systemd.ready();
      await registration.register();
      if (left.length > 0) {
        this.#log.warn({ items: left.length }, 'a former process left actions unfinished: taking them up');
      }
      receiver.recover(left, decodeActionItem);
      registration.receive();
      heart.start();
      this.#state = 'running';
      if (this.#config.jobs.loggingContainer !== undefined) {
        parts.jobs.resume();
        this.#board = this.#showItself(parts);
      }
      systemd.ready();
      systemd.status(`serving ${this.#config.mount} (${parts.fsname})`);
      this.#log.info({ mount: this.#config.mount, fsname: parts.fsname }, 'serving');
    } catch (error) {
      if (signal.aborted) return;
      this.#memory.note(undefined, error);
      this.#declareOver(
        error instanceof LhsmError
          ? error
          : new LhsmError(`the agent cannot start: ${String(error)}`, {
              code: 'INTERNAL',
              op: 'start',
              cause: error,
            }),
      );
    }
  }

  /** Lets the other agents of the file system know of this one. */
  #showItself({ jobs }: Parts): AgentBoard {
    const board = new AgentBoard({
      mount: this.#config.mount,
      log: this.#log,
      place: async (signal) => {
        const { store } = await jobs.place(signal);
        return { container: store.container, fileSystem: store.fileSystem };
      },
      card: () => {
        const { version, pid, registered, lanes, inFlight: actions, lastErrors } = this.status();
        const last = lastErrors.at(-1);
        return {
          version,
          pid,
          registered,
          archiveIds: archiveIds(this.#config),
          lanes,
          inFlight: actions.length,
          lastError: last && { time: last.time, code: last.code, message: redact(last.message) },
        };
      },
    });
    board.start();
    return board;
  }

  async #stop(): Promise<void> {
    this.#state = 'stopping';
    this.#stopping.abort(STOP_REASONS.shutdown());
    this.#parts?.systemd.stopping();
    // A start that is under way takes down what it has made.
    await this.#started.catch(() => undefined);
    const parts = this.#parts;
    if (parts) {
      const { registration, receiver, jobs, operations } = parts;
      await this.#served;
      await Promise.all([jobs.interrupt(), operations.close()]);
      await this.#renewed(parts);
      if (registration.registered) {
        receiver.intake('hold');
        parts.scheduler.resume();
        if (!this.#giveUp.signal.aborted) await this.#grace(receiver);
        const giveUp = setTimeout(() => {
          this.#giveUp.abort();
        }, GIVE_UP_MS);
        await receiver.stopAll(STOP_REASONS.shutdown());
        clearTimeout(giveUp);
        receiver.intake('leave');
        parts.heart.pause();
        await registration.unregister('shutdown').catch((error: unknown) => {
          this.#log.error({ err: error }, 'not unregistered; the MDT drops the agent when the process ends');
        });
        this.#giveUp.abort();
        await receiver.settled();
      }
    }
    this.#giveUp.abort();
    await this.#board?.close();
    await this.#takeDown();
  }

  /**
   * Waits for a renewal under way. It waits for the ends of what runs, and these, while the MDT does not answer, for
   * nobody but us: for as long as a shutdown gives them, or until `stop` is called again.
   */
  async #renewed({ registration, receiver }: Parts): Promise<void> {
    const giveUp = (): void => {
      this.#giveUp.abort();
    };
    const timer = setTimeout(giveUp, this.#config.shutdown.graceMs + GIVE_UP_MS);
    this.#hurry = () => {
      receiver.stopRunning(STOP_REASONS.shutdown());
      giveUp();
    };
    await registration.settled();
    clearTimeout(timer);
    this.#hurry = undefined;
  }

  /** Waits until all is done, the grace time has passed, or `stop` is called again. */
  async #grace(receiver: Receiver): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const enough = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, this.#config.shutdown.graceMs);
      this.#hurry = resolve;
    });
    await Promise.race([receiver.settled(), enough]);
    clearTimeout(timer);
    this.#hurry = undefined;
  }

  async #takeDown(): Promise<void> {
    for (let last = this.#teardown.pop(); last; last = this.#teardown.pop()) {
      try {
        await last();
      } catch (error) {
        this.#log.error({ err: error }, 'a part of the agent does not stop well');
      }
    }
  }
}

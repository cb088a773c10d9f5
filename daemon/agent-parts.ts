// Builds the agent's parts, each with the one that takes it down. agent.ts calls it once.
import { close as closeCallback, open as openCallback } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Logger } from 'pino';
import type { LhsmError } from '../native-bindings/errors.js';
import { BULK_CALLS, fileCalls } from '../native-bindings/call-pool.js';
import { crc64Implementation } from '../native-bindings/crc64.js';
import { wireProblem } from '../native-bindings/wire-addon.js';
import { loadHost } from '../native-bindings/libc.js';
import type { HostOs } from '../native-bindings/host.js';
import { loadLustre } from '../native-bindings/liblustreapi.js';
import { AgentJobs } from './agent-jobs.js';
import type { StatusMemory } from './agent-status.js';
import {
  createArchiveContainer,
  type AzureContainer,
  type ContainerOptions,
} from './blobs/azure-container.js';
import type { Config } from './config/config.js';
import { escapeMount } from './config/mount-name.js';
import type { RecentTroubles } from './doctor/recent-troubles.js';
import type { AgentEmitter } from './events.js';
import type { ActionTools } from './hsm/action.js';
import { BytesGate } from './hsm/bytes-gate.js';
import { Heart } from './hsm/heart.js';
import { LoopLoad } from './hsm/loop-load.js';
import { Journal, type JournalEntry } from './hsm/journal.js';
import { Receiver } from './hsm/receiver.js';
import { Scheduler } from './hsm/scheduler.js';
import type { CopyTools } from './jobs/copy-check.js';
import { operationsFolder } from './jobs/operation-log.js';
import { operationWork } from './jobs/operation-work.js';
import { Operations } from './jobs/operations.js';
import { SharedWindow } from './jobs/shared-window.js';
import { lockMount } from './mount-lock.js';
import { fsnameOf, stillMounted } from './mounted.js';
import { archive } from './movers/archive.js';
import { remove } from './movers/remove.js';
import { restore } from './movers/restore.js';
import { Readiness } from './readiness.js';
import { Registration } from './registration.js';
import { Share, UNLIMITED, within } from './share.js';
import { Systemd } from './systemd.js';
import { createTransferEngine } from './transfer/engine.js';

const open = promisify(openCallback);
const close = promisify(closeCallback);

/** Patience with containers that do not answer. */
const PROBE = { minRetryMs: 1000, maxRetryMs: 60_000, recheckMs: 60_000 };

/** Takes one part down; called in reverse order of the making. */
export type Teardown = () => void | Promise<void>;

export interface PartsContext {
  /** The configuration in force: a reload changes it. */
  readonly config: () => Config;
  readonly events: AgentEmitter;
  readonly log: Logger;
  readonly memory: StatusMemory;
  readonly troubles: RecentTroubles;
  readonly stopping: AbortSignal;
  /** Aborts when the ends of actions are waited for no longer. */
  readonly giveUp: AbortSignal;
  /** Filled as parts are made, so that a failure half way can take the made ones down. */
  readonly teardown: Teardown[];
  readonly onOver: (error: LhsmError | undefined) => void;
}

/** What agent.ts works with. */
export interface Parts {
  readonly fsname: string;
  readonly systemd: Systemd;
  readonly journal: Journal;
  /** What a dead process left in the journal. */
  readonly left: readonly JournalEntry[];
  readonly gates: { readonly archive: BytesGate; readonly restore: BytesGate };
  readonly scheduler: Scheduler;
  readonly receiver: Receiver;
  readonly registration: Registration;
  readonly readiness: Readiness;
  readonly heart: Heart;
  readonly jobs: AgentJobs;
  readonly operations: Operations;
  readonly containers: readonly AzureContainer[];
  readonly journalPath: string;
  /** For whoever looks at files and their copies. */
  readonly copyTools: CopyTools;
  readonly events: AgentEmitter;
}

/**
 * Throws LhsmError for what no waiting mends: MOUNT_MISSING, MOUNT_SERVED, NOT_LUSTRE, LIBRARY_*, JOURNAL, and
 * whatever is wrong with a secret. Asks nothing of the network or the MDT.
 */
export async function buildParts(context: PartsContext): Promise<Parts> {
  const { config, events, log, memory, troubles, stopping, giveUp, teardown, onOver } = context;
  const { mount, library, stateDir, archives, scheduler: limits, transfer: transferConfig } = config();
  const host = loadHost();
  const systemd = new Systemd(host);
  teardown.push(() => {
    systemd.close();
  });
  systemd.startWatchdog();
  const lock = await lockMount(mount);
  teardown.push(() => lock.release());
  const lustre = loadLustre({ library });
  const fsname = fsnameOf(lustre, mount);
  const mountFd = await open(mount, 'r');
  teardown.push(() => close(mountFd));

  const journalPath = join(stateDir, escapeMount(mount), 'journal');
  const { journal, left, damaged } = Journal.open(journalPath, events);
  teardown.push(() => {
    journal.close();
  });
  if (damaged > 0) log.error({ damaged, file: `${journalPath}.damaged` }, 'the journal has damaged lines');

  const containers = archives.map((entry) =>
    createArchiveContainer(entry, containerOptions(config(), log, events)),
  );
  teardown.push(() => {
    for (const container of containers) container.close();
  });
  const byId = new Map(containers.map((container) => [container.archiveId, container]));
  const transfer = createTransferEngine({
    ...transferConfig,
    fileCalls: fileCalls(),
    onWorkerDeath: (err) => {
      log.error({ err }, 'a transfer thread has died: its requests are made again in another');
    },
    onWithoutCrc: (account) => {
      log.warn({ account }, 'the account takes no CRC64 with a request: content goes without');
    },
    onThrottle: (account, direction, requests) => {
      log.warn({ account, direction, requests }, 'the account asks for patience: fewer requests at once');
      troubles.limited(account, direction, requests);
    },
  });
  log.info({ workers: transferConfig.workers, crc64: crc64Implementation() }, 'transfer engine');
  const err = wireProblem();
  if (err)
    log.warn(
      { err },
      'wire.node cannot be loaded: transfers cost more CPU. Run npm run build on a machine like this',
    );
  teardown.push(() => transfer.close());

  const bulk = new Share(BULK_CALLS);
  const bulkLustre = within(bulk, lustre);
  const bulkHost: HostOs = {
    nextData: (fd, offset) => bulk.run(() => host.nextData(fd, offset)),
    nextHole: (fd, offset) => bulk.run(() => host.nextHole(fd, offset)),
    tryLock: (fd) => host.tryLock(fd),
    sdNotify: (state) => host.sdNotify(state),
  };
  const gates = { archive: new BytesGate(limits.maxBytes), restore: new BytesGate(limits.maxBytes) };
  const scheduler = new Scheduler(limits);
  // The registration needs the receiver, whose actions ask the registration for the copytool in force.
  const late: { registration?: Registration } = {};
  const tools: ActionTools = {
    copytool: () => {
      if (!late.registration) throw new TypeError('an action before there is a registration');
      return late.registration.copytool;
    },
    mountFd,
    journal,
    events,
    log,
    container: (id) => byId.get(id) ?? byId.get(0),
    movers: { archive, restore, remove },
    moverTools: (kind) => ({
      mount,
      lustre: kind === 'restore' ? lustre : bulkLustre,
      host: kind === 'restore' ? host : bulkHost,
      transfer,
      policy: config().policy,
      share: kind === 'restore' ? UNLIMITED : bulk,
    }),
    bulk,
    giveUp,
    gates,
    timings: () => config().hsm,
    onError: (action, error) => {
      memory.note(action, error);
    },
  };
  const receiver = new Receiver(tools, scheduler);
  const load = new LoopLoad(
    () => config().scheduler.maxActions,
    (limit) => {
      scheduler.setMaxUnawaited(limit);
    },
  );
  load.start();
  teardown.push(() => {
    load.stop();
  });
  const heart = new Heart({ actions: () => receiver.actions(), timings: () => config().hsm });
  teardown.push(() => {
    heart.stop();
  });
  const registration = new Registration({
    heart,
    mount,
    archiveIds: archiveIds(config()),
    lustre,
    receiver,
    scheduler,
    events,
    log,
    graceMs: () => config().shutdown.graceMs,
    stopping,
    stillMounted: () => stillMounted({ lustre, mount, device: lock.device, log }),
    onOver,
  });
  late.registration = registration;
  const readiness = new Readiness({ containers, events, log, ...PROBE });
  teardown.push(() => {
    readiness.stop();
  });
  const jobs = new AgentJobs({
    config,
    lustre,
    container: tools.container,
    containerOptions: containerOptions(config(), log, events),
    events,
    log,
  });
  teardown.push(() => jobs.close());
  const folder = operationsFolder(stateDir, mount);
  const copyTools: CopyTools = { mount, lustre: bulkLustre, container: tools.container };
  const operations = new Operations({
    mount,
    folder,
    log,
    work: operationWork({
      ...copyTools,
      coordinator: lustre,
      transfer,
      events,
      reasons: () => jobs.restoreReasons(),
      sharedWindow: new SharedWindow(),
      window: () => config().jobs.window,
      folder,
    }),
  });
  teardown.push(() => operations.close());
  return {
    fsname,
    systemd,
    journal,
    left,
    gates,
    scheduler,
    receiver,
    registration,
    readiness,
    heart,
    jobs,
    operations,
    containers,
    journalPath,
    copyTools,
    events,
  };
}

/** What we register for: empty, that is every archive, when one entry stands for all others. */
export function archiveIds(config: Config): number[] {
  const ids = config.archives.map(({ id }) => id);
  return ids.includes(0) ? [] : ids;
}

/** `events` hears of retries and throttles. */
export function containerOptions(config: Config, log: Logger, events?: AgentEmitter): ContainerOptions {
  const { caFile, maxTries, retryForMs, stallTimeoutMs } = config.transfer;
  return {
    caFile,
    maxTries,
    retryForMs,
    stallTimeoutMs,
    onBadRotation: (error) => {
      log.warn({ err: error }, 'a secret changed to something of no use: the last good one stays in force');
    },
    onRetry: (error) => {
      log.debug({ err: error }, 'a request is tried again');
      events?.emit('containerRequest', { what: 'retry' });
    },
    onThrottle: () => {
      events?.emit('containerRequest', { what: 'throttle' });
    },
    onNote: (note) => {
      log.warn(note);
    },
  };
}

// The doctor of the agent: which checks there are, with what they need of the agent's parts. agent.ts makes one, the admin API
// asks it.
import { dirname } from 'node:path';
import { LhsmError } from '../native-bindings/errors.js';
import { archiveIds, type Parts } from './agent-parts.js';
import { loadCaFile } from './ca-file.js';
import type { Config } from './config/config.js';
import { probeArchive } from './doctor/archive-probe.js';
import { clockSkewMs, skewFindings } from './doctor/clock-skew.js';
import { foundError, type DoctorFinding, type DoctorReport } from './doctor/doctor-report.js';
import { lockFindings } from './doctor/lock-check.js';
import { diskFindings, eventLoopFindings, nameFindings, queueFindings } from './doctor/node-checks.js';
import type { RecentTroubles } from './doctor/recent-troubles.js';
import { runChecks, sortFindings, type DoctorCheck } from './doctor/run-checks.js';
import type { EventLoopMonitor } from './event-loop.js';
import { statPath } from './movers/descriptors.js';

export interface DoctorTools {
  readonly config: () => Config;
  /** Undefined while there are none. */
  readonly parts: () => Parts | undefined;
  readonly state: () => string;
  readonly eventLoop: () => EventLoopMonitor | undefined;
  readonly troubles: RecentTroubles;
  /** For tests: how long a probe waits. */
  readonly probeMs?: number;
}

/** Less than a check may take: a service that is tried again and again is told as such. */
const PROBE_MS = 6_000;

export class AgentDoctor {
  readonly #tools: DoctorTools;

  constructor(tools: DoctorTools) {
    this.#tools = tools;
  }

  /** Within seconds, whatever hangs. */
  async examine(signal: AbortSignal): Promise<DoctorReport> {
    const checks = this.#checks();
    return this.#report(
      checks.map(({ name }) => name),
      await runChecks(checks, signal),
    );
  }

  /** Archives a small file under each archive id, one after the other; a minute for each at most. */
  async probe(directory: string | undefined, signal: AbortSignal): Promise<DoctorReport> {
    const { config, parts, probeMs } = this.#tools;
    const { copyTools, events } = parts() ?? notYet();
    const { mount, archives } = config();
    const findings: DoctorFinding[] = [];
    for (const { id } of archives) {
      const options = {
        ...copyTools,
        events,
        directory: directory ?? mount,
        archiveId: id,
        ...(probeMs === undefined ? {} : { patienceMs: probeMs }),
      };
      findings.push(...(await probeArchive(options, signal)));
    }
    return this.#report(['probe'], sortFindings(findings));
  }

  #report(checks: readonly string[], findings: readonly DoctorFinding[]): DoctorReport {
    const { config, parts } = this.#tools;
    const current = config();
    return {
      mount: current.mount,
      fsname: parts()?.fsname,
      archiveIds: archiveIds(current),
      checks,
      findings,
    };
  }

  #checks(): DoctorCheck[] {
    const { config, parts, eventLoop, troubles } = this.#tools;
    const { mount, stateDir, jobs } = config();
    const now = parts();
    const soon = (name: string, run: () => readonly DoctorFinding[]): DoctorCheck => ({
      name,
      run: () => Promise.resolve(run()),
    });
    return [
      soon('registration', () => this.#registration(now)),
      { name: `mount ${mount}`, run: () => statPath(Buffer.from(mount)).then(() => []) },
      ...(now?.containers ?? []).flatMap((container) => this.#container(container)),
      soon('names of containers', () => nameFindings((now?.containers ?? []).map(named))),
      soon('throttling', () => troubles.findings()),
      soon('event loop', () => {
        const lag = eventLoop()?.lag();
        return lag ? eventLoopFindings(lag) : [];
      }),
      { name: 'disk of state_dir', run: () => diskFindings(dirname(now?.journalPath ?? `${stateDir}/x`)) },
      soon('queues', () => (now ? queueFindings(now.scheduler.lanes()) : [])),
      soon('operations and job', () => (now ? operationFindings(now) : [])),
      {
        name: 'logging container and lock of jobs',
        run: (signal) =>
          jobs.loggingContainer === undefined ? Promise.resolve([loggingUnset]) : this.#lock(now, signal),
      },
    ];
  }

  #registration(now: Parts | undefined): DoctorFinding[] {
    const state = this.#tools.state();
    if (state === 'running' && now?.registration.registered) return [];
    if (state === 'running') {
      return [
        {
          severity: 'error',
          code: 'NOT_REGISTERED',
          what: 'the daemon is not registered with the coordinator: nothing is handed to it',
          hint: 'It tries by itself. Is the MDT up, and hsm_control neither shutdown nor stopping? See the log, then lhsm-azblob reregister.',
        },
      ];
    }
    return [
      {
        severity: 'error',
        code: 'NOT_SERVING',
        what: `the daemon is ${state}, and serves nothing yet`,
        hint: 'It waits for a container to answer (see the other findings), then for the coordinator to register it.',
      },
    ];
  }

  #container(container: Parts['containers'][number]): DoctorCheck[] {
    const { archiveId, container: name } = container;
    const problem = this.#tools.parts()?.readiness.problem(archiveId);
    const { caFile } = this.#tools.config().transfer;
    return [
      {
        name: `credential and container of archive ${archiveId}`,
        run: async (signal) => {
          const patience = AbortSignal.timeout(PROBE_MS);
          try {
            await container.probe(AbortSignal.any([signal, patience]));
            return [];
          } catch (error) {
            signal.throwIfAborted();
            if (patience.aborted) return [silent(container, problem)];
            const found = foundError(error, 'lhsm-azblobd --check tries everything.');
            return [{ ...found, what: `archive ${archiveId}, container ${name}: ${found.what}` }];
          }
        },
      },
      {
        name: `clock, by container ${name}`,
        run: async (signal) => {
          const ca = caFile === undefined ? undefined : loadCaFile(caFile);
          // Who does not answer is found by the check before.
          const skewMs = await clockSkewMs(container.location('').url, ca, signal).catch(() => undefined);
          return skewFindings(name, skewMs);
        },
      },
    ];
  }

  async #lock(now: Parts | undefined, signal: AbortSignal): Promise<DoctorFinding[]> {
    if (!now) return [];
    try {
      const { store, container } = await now.jobs.place(signal);
      return await lockFindings({ store, container, mount: this.#tools.config().mount }, signal);
    } catch (error) {
      signal.throwIfAborted();
      const found = foundError(error);
      return [{ ...found, what: `jobs: ${found.what}` }];
    }
  }
}

/** It has tried for seconds, and goes on trying: what it knows from before says more. */
function silent(
  { archiveId, container }: Parts['containers'][number],
  problem: string | undefined,
): DoctorFinding {
  return {
    severity: 'error',
    code: 'UNREACHABLE',
    what: `archive ${archiveId}, container ${container}: ${problem ?? `no answer for ${PROBE_MS / 1000} s`}`,
    hint: "Check the way to the account: name, routes, firewall, the account's network rules.",
  };
}

const loggingUnset: DoctorFinding = {
  severity: 'note',
  code: 'LOGGING_CONTAINER_UNSET',
  what: 'there is no logging container: imports and exports are refused, and other nodes are not shown',
  hint: 'Set logging_container of [jobs] to a container beside that of the archive, then restart the daemon.',
};

function named(container: Parts['containers'][number]): {
  archiveId: number;
  container: string;
  url: string;
} {
  const { archiveId, container: name } = container;
  return { archiveId, container: name, url: container.location('').url };
}

function operationFindings({ operations, jobs }: Parts): DoctorFinding[] {
  const { current, notice } = jobs;
  const time = current?.updatedTime ?? '';
  const ofJob = current && notice ? [{ ...notice, id: current.name, time }] : [];
  return [...operations.troubles, ...ofJob].map(({ id, code, message, hint, time }) => ({
    severity: 'error',
    code,
    what: `${id}, ${time}: ${message}`,
    hint: hint ?? 'See hsm_control and hsm.agents on the MDS.',
  }));
}

function notYet(): never {
  throw new LhsmError('the daemon is not serving', {
    code: 'NOT_SERVING',
    op: 'doctor',
    errno: 11,
    hint: 'Ask lhsm-azblob doctor without --probe what it waits for.',
  });
}

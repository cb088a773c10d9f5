// What the coordinator's parameters say of why nothing happens. commands/doctor.ts calls it.
import type { DoctorFinding } from '../../doctor/doctor-report.js';
import type { CoordinatorParameters } from './lctl.js';

/** One line of hsm.agents: empty ids serve every archive. */
interface ServingAgent {
  readonly uuid: string;
  readonly archiveIds: readonly number[];
}

interface Waiting {
  waiting: number;
  started: number;
}

/** `uuid=… archive_id=1,2 requests=[…]`, `archive_id=ANY`. */
export function parseAgents(lines: readonly string[]): ServingAgent[] {
  return lines.flatMap((line) => {
    const [, uuid, ids] = /uuid=(\S+)\s+archive_id=(\S+)/.exec(line) ?? [];
    if (uuid === undefined || ids === undefined) return [];
    return [{ uuid, archiveIds: ids === 'ANY' ? [] : ids.split(',').map(Number).filter(Boolean) }];
  });
}

/** Requests that are not over, by archive id. */
export function parseActions(lines: readonly string[]): Map<number, Waiting> {
  const byArchive = new Map<number, Waiting>();
  for (const line of lines) {
    const [, archive, status] = /archive#=(\d+)\s.*\bstatus=(WAITING|STARTED)\b/.exec(line) ?? [];
    if (archive === undefined) continue;
    const counts = byArchive.get(Number(archive)) ?? { waiting: 0, started: 0 };
    byArchive.set(Number(archive), counts);
    if (status === 'WAITING') counts.waiting += 1;
    else counts.started += 1;
  }
  return byArchive;
}

const list = (ids: readonly number[]): string => ids.join(', ');

export function coordinatorFindings(
  parameters: CoordinatorParameters,
  { fsname, archiveIds }: { readonly fsname: string; readonly archiveIds: readonly number[] },
): DoctorFinding[] {
  return [
    ...controlFindings(parameters.hsm_control, fsname),
    ...agentFindings(parameters, archiveIds),
    ...slotFindings(parameters),
  ];
}

function* controlFindings(states: readonly string[], fsname: string): Iterable<DoctorFinding> {
  for (const state of new Set(states)) {
    if (state === 'enabled') continue;
    const isDown = /^(?:shutdown|stopp)/.test(state);
    yield {
      severity: 'error',
      code: isDown ? 'COORDINATOR_SHUTDOWN' : 'COORDINATOR_DISABLED',
      what: `the coordinator is ${state}: ${isDown ? 'it takes no requests' : 'it takes requests, and hands none out'}`,
      hint: `On the MDS: lctl set_param mdt.${fsname}-MDT*.hsm_control=enabled${isDown ? '; then lhsm-azblob reregister on every node, for it has forgotten all agents' : ''}.`,
    };
  }
}

function* agentFindings(
  parameters: CoordinatorParameters,
  archiveIds: readonly number[],
): Iterable<DoctorFinding> {
  const agents = parseAgents(parameters['hsm.agents']);
  const any = agents.some(({ archiveIds: ids }) => ids.length === 0);
  const served = new Set(agents.flatMap(({ archiveIds: ids }) => ids));
  const missing = archiveIds.filter((id) => !any && !served.has(id));
  if (agents.length === 0 || missing.length > 0 || (archiveIds.length === 0 && !any)) {
    yield {
      severity: 'error',
      code: 'AGENT_UNKNOWN',
      what:
        agents.length === 0
          ? 'the coordinator knows no agent at all'
          : `the coordinator knows no agent for ${archiveIds.length === 0 ? 'every archive id' : `archive id ${list(missing)}`}, though this daemon serves it`,
      hint: 'After hsm_control=shutdown it forgets all agents, and none of them can notice: lhsm-azblob reregister on every node.',
    };
  }
  for (const [id, { waiting }] of parseActions(parameters['hsm.actions'])) {
    if (waiting === 0 || any || served.has(id) || archiveIds.includes(id)) continue;
    yield {
      severity: 'error',
      code: 'ARCHIVE_UNSERVED',
      what: `${waiting} requests wait for archive id ${id}, which no agent serves`,
      hint: `Add an [[archive]] with id = ${id} (or id = 0, for every id that has none) and restart a daemon; or take the requests back: lfs hsm_cancel FILE, or hsm_control=purge for all that there are.`,
    };
  }
}

function* slotFindings(parameters: CoordinatorParameters): Iterable<DoctorFinding> {
  const most = Math.min(...parameters['hsm.max_requests'].map(Number).filter((value) => value > 0));
  let started = 0;
  let waiting = 0;
  for (const counts of parseActions(parameters['hsm.actions']).values()) {
    started += counts.started;
    waiting += counts.waiting;
  }
  if (waiting === 0 || started < most) return;
  yield {
    severity: 'warning',
    code: 'MAX_REQUESTS',
    what: `${started} requests are handed out, as many as hsm.max_requests allows (${most}), and ${waiting} wait`,
    hint: 'Raise it when the agents are not busy: lctl set_param mdt.*.hsm.max_requests=1000. STARTED ones that are in no daemon (lhsm-azblob status) were left by one that was killed: start it again, or lfs hsm_cancel FILE.',
  };
}

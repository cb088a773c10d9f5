// `lhsm-azblob status`: what the daemon does right now.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { FullStatus } from '../../control/agent-control.js';
import { ACTION_KINDS } from '../../events.js';
import { isOver } from '../../jobs/operation.js';
import { ask, findDaemon } from '../client.js';
import { formatBytes, formatDuration, printable, table } from '../format.js';
import type { Io } from '../io.js';
import { progressLine } from '../job-text.js';
import { renderOperations } from '../operation-text.js';
import { daemonOptions } from '../options.js';

const MAX_ROWS = 20;
const WATCH_MS = 2_000;
const CLEAR = '\u001b[H\u001b[2J';

function progress(bytes: number, sizeBytes: number | undefined): string {
  if (sizeBytes === undefined) return formatBytes(bytes);
  const percent = sizeBytes === 0 ? 100 : Math.floor((bytes / sizeBytes) * 100);
  return `${formatBytes(bytes)} of ${formatBytes(sizeBytes)} (${percent} %)`;
}

/** Of all nodes, this one too; nothing where only this one is known. */
function renderAgents({ agents, agentsProblem }: FullStatus): string {
  if (agentsProblem !== undefined)
    return `\nAgents of other nodes are not known: ${printable(agentsProblem)}\n`;
  if (agents.length === 0) return '';
  return `\nAgents of the file system\n${table(
    ['host', 'mount', 'archives', 'queued', 'in flight', 'actions/s', 'bytes/s', 'oldest waiting', 'state'],
    agents.map(({ host, mount, archiveIds, lanes, inFlight, registered, stale, updatedTime }) => {
      const sum = (key: 'queued' | 'actionsPerSecond' | 'bytesPerSecond'): number =>
        lanes.reduce((total, lane) => total + lane[key], 0);
      const oldestMs = Math.max(0, ...lanes.map(({ oldestQueuedMs }) => oldestQueuedMs ?? 0));
      const state = stale ? `SILENT since ${updatedTime}` : registered ? 'registered' : 'NOT registered';
      return [
        host,
        mount,
        archiveIds.length === 0 ? 'all' : archiveIds.join(','),
        sum('queued'),
        inFlight,
        Math.round(sum('actionsPerSecond') * 10) / 10,
        formatBytes(sum('bytesPerSecond')),
        oldestMs === 0 ? '-' : formatDuration(oldestMs),
        state,
      ];
    }),
  )}`;
}

/** The status for people. */
export function renderStatus(status: FullStatus): string {
  const { mount, fsname, registered, state, archives, lanes, inFlight, totals, lastErrors } = status;
  let text =
    `lhsm-azblobd ${status.version} (pid ${status.pid}), up ${formatDuration(status.uptimeMs)}, ${state}\n` +
    `mount ${printable(mount)}${fsname === undefined ? '' : `, file system ${fsname}`}: ` +
    `${registered ? 'registered' : 'NOT registered'} with the coordinator\n`;
  text += `\nArchives\n${table(
    ['id', 'container', 'prefix', 'state'],
    archives.map(({ id, container, prefix, ready, problem }) => [
      id,
      container,
      prefix,
      ready ? 'ready' : `NOT READY: ${problem ?? 'not probed yet'}`,
    ]),
  )}`;
  text += `\nLanes\n${table(
    ['lane', 'queued', 'running', 'oldest waiting', 'actions/s', 'bytes/s'],
    lanes.map(({ lane, queued, running, oldestQueuedMs, actionsPerSecond, bytesPerSecond }) => [
      lane,
      queued,
      running,
      oldestQueuedMs === undefined ? '-' : formatDuration(oldestQueuedMs),
      actionsPerSecond,
      formatBytes(bytesPerSecond),
    ]),
  )}`;
  text += renderAgents(status);
  if (status.job) text += `\nJob\n  ${printable(`${status.job.name}: ${progressLine(status.job)}`)}\n`;
  const running = status.operations.filter(({ state }) => !isOver(state));
  if (running.length > 0) text += `\nOperations\n${renderOperations(running)}`;
  text += `\nSince the start\n${table(
    ['kind', 'succeeded', 'failed', 'canceled', 'retry', 'bytes'],
    ACTION_KINDS.map((kind) => [kind, totals[kind]] as const)
      .filter(
        ([kind, { succeeded, failed, canceled, retry }]) =>
          kind === 'archive' || kind === 'restore' || succeeded + failed + canceled + retry > 0,
      )
      .map(([kind, each]) => [
        kind,
        each.succeeded,
        each.failed,
        each.canceled,
        each.retry,
        formatBytes(each.bytes),
      ]),
  )}`;
  text += `\nIn flight: ${inFlight.length}; journal: ${status.journal.items} items, ${formatBytes(status.journal.sizeBytes)}\n`;
  if (inFlight.length > 0) {
    const oldest = [...inFlight].sort((a, b) => b.ageMs - a.ageMs).slice(0, MAX_ROWS);
    text += table(
      ['age', 'kind', 'fid', 'moved', 'blob'],
      oldest.map(({ ageMs, kind, fid, bytes, sizeBytes, blob, blocking }) => [
        formatDuration(ageMs),
        blocking ? `${kind}, awaited` : kind,
        fid,
        progress(bytes, sizeBytes),
        blob ?? '-',
      ]),
    );
    if (inFlight.length > MAX_ROWS) text += `  and ${inFlight.length - MAX_ROWS} more\n`;
  }
  if (lastErrors.length > 0) {
    text += '\nLast errors\n';
    for (const { time, kind, fid, code, errno, message, hint } of lastErrors) {
      const where = [kind, fid].filter((part) => part !== undefined).join(' ');
      text += `  ${time} ${where ? `${where}: ` : ''}${code} (${errno}) ${printable(message)}${hint === undefined ? '' : ` ${printable(hint)}`}\n`;
    }
  }
  return text;
}

export function addStatus(program: Command, io: Io): void {
  program
    .command('status')
    .description(
      'show what the daemon does: archives, queues, rates, agents of all nodes, job, actions in flight, errors',
    )
    .option('--json', 'print JSON, every field of GET /v1/status')
    .option('--watch', 'print again every two seconds, until Ctrl-C')
    .action(async (options: { json?: boolean; watch?: boolean }, command: Command) => {
      const socket = await findDaemon(daemonOptions(command), io.env);
      const show = async (): Promise<void> => {
        const text = await ask(socket, 'GET', '/v1/status', { signal: io.signal });
        const status = JSON.parse(text) as FullStatus;
        if (options.json) io.out(options.watch ? text : `${JSON.stringify(status, null, 2)}\n`);
        else io.out(`${options.watch && io.terminal ? CLEAR : ''}${renderStatus(status)}`);
      };
      await show();
      while (options.watch && !io.signal.aborted) {
        await sleep(WATCH_MS, undefined, { signal: io.signal });
        await show();
      }
    });
}

// Checks of this node that need nobody else: the journal's disk, the event loop, the containers' names, the queues. agent-doctor.ts
// calls them.
import { statfs } from 'node:fs/promises';
import type { EventLoopLag } from '../event-loop.js';
import type { Scheduler } from '../hsm/scheduler.js';
import type { DoctorFinding } from './doctor-report.js';
import { formatAge } from './time-text.js';

/** Of statfs(2). */
export type DiskState = Readonly<Record<'bavail' | 'blocks' | 'bsize' | 'ffree' | 'files', number>>;

const LEAST_BYTES = 64 * 2 ** 20;
const LEAST_SHARE = 0.02;
const LATE_MEAN_MS = 100;
const LATE_P99_MS = 2_000;
/** The oldest that waits in a lane while nothing is wrong. */
const OLD_MS = 600_000;

/** `have`: for tests. */
export async function diskFindings(
  folder: string,
  have: (folder: string) => Promise<DiskState> = (at) => statfs(at),
): Promise<DoctorFinding[]> {
  const { bavail, blocks, bsize, ffree, files } = await have(folder);
  const free = bavail * bsize;
  const isFull = free < LEAST_BYTES || (files > 0 && ffree === 0);
  if (!isFull && bavail >= blocks * LEAST_SHARE) return [];
  const left = ffree === 0 && files > 0 ? 'no inodes' : `${Math.round(free / 2 ** 20)} MiB`;
  return [
    {
      severity: isFull ? 'error' : 'warning',
      code: 'STATE_DIR_FULL',
      what: `the disk of state_dir (${folder}) has ${left} left: the journal cannot grow, and then no action begins`,
      hint: 'Make room on it, or move state_dir to another local disk (with the daemon stopped, and the journal moved along).',
    },
  ];
}

export function eventLoopFindings({ meanMs, p99Ms, maxMs }: EventLoopLag): DoctorFinding[] {
  if (meanMs < LATE_MEAN_MS && p99Ms < LATE_P99_MS) return [];
  const late = [meanMs, p99Ms, maxMs].map((ms) => `${Math.round(ms)}`).join(', ');
  return [
    {
      severity: 'warning',
      code: 'EVENT_LOOP_LATE',
      what: `the daemon's event loop is late: ${late} ms (mean, 99th percentile, most) in the last ten seconds`,
      hint: 'Is the CPU taken by others, or too small? Lower scheduler.max_actions or run the daemon on more nodes.',
    },
  ];
}

interface NamedContainer {
  readonly archiveId: number;
  readonly container: string;
  readonly url: string;
}

/** A file remembers its container by name: two of one name cannot be told apart by it. */
export function nameFindings(containers: readonly NamedContainer[]): DoctorFinding[] {
  return containers.flatMap((one, at) =>
    containers
      .slice(0, at)
      .filter(({ container, url }) => container === one.container && url !== one.url)
      .map((other): DoctorFinding => ({
        severity: 'warning',
        code: 'CONTAINER_NAMES_ALIKE',
        what: `archives ${other.archiveId} and ${one.archiveId} are containers called ${one.container} in two accounts`,
        hint: 'Files remember the name alone (az://<container>/<blob>): one that changes its archive id would look in the wrong one. Name them differently.',
      })),
  );
}

/** What waits in a lane is the daemon's: the coordinator has handed it out. */
export function queueFindings(
  lanes: ReturnType<Scheduler['lanes']>,
  nowMs = performance.now(),
): DoctorFinding[] {
  return lanes.flatMap(({ lane, queued, running, oldestReceivedAtMs = nowMs }): DoctorFinding[] => {
    const ageMs = nowMs - oldestReceivedAtMs;
    if (ageMs < OLD_MS) return [];
    return [
      {
        severity: 'warning',
        code: 'QUEUE_OLD',
        what: `${queued} ${lane} actions wait in this daemon, the oldest for ${formatAge(ageMs)}; ${running} run`,
        hint: 'It is more than this node does: raise scheduler.max_actions, or run the daemon on more nodes. When nothing moves, see the other findings.',
      },
    ];
  });
}

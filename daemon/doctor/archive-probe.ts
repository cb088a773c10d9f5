// Tries the whole way: makes a small file, asks the coordinator to archive it, waits, and takes file and blob away again.
// agent-doctor.ts calls it for `lhsm-azblob doctor --probe`.
import { randomBytes } from 'node:crypto';
import { open, unlink } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { HsmStateFlag, UserAction } from '../../native-bindings/constants.js';
import { hasCode } from '../../native-bindings/errors.js';
import { fidPath, formatFid, type Fid } from '../../native-bindings/lustre.js';
import type { AgentEmitter, FinishedEvent } from '../events.js';
import type { CopyTools } from '../jobs/copy-check.js';
import { below, closeQuietly, inDirectory, openDirectory, PathResolver } from '../jobs/walked-file.js';
import { recall, MEMORY_XATTRS } from '../movers/file-record.js';
import { foundError, type DoctorFinding } from './doctor-report.js';

const PATIENCE_MS = 60_000;
const LOOK_MS = 200;
/** For taking away what was made, whatever became of it. */
const CLEAN_MS = 15_000;

export interface ProbeOptions extends CopyTools {
  readonly events: Pick<AgentEmitter, 'on'>;
  /** Absolute, or relative to the mount. */
  readonly directory: string;
  readonly archiveId: number;
  readonly patienceMs?: number;
}

/** Rejects with LhsmError for a directory of no use: PATH_OUTSIDE_MOUNT, ENOENT, ENOTDIR, EROFS …. */
export async function probeArchive(options: ProbeOptions, signal: AbortSignal): Promise<DoctorFinding[]> {
  const { mount, directory } = options;
  const { path } = await new PathResolver(mount).resolve(directory);
  const name = `.lhsm-azblob-probe-${randomBytes(6).toString('hex')}`;
  // Held open: whoever may write above it cannot lead us elsewhere.
  const directoryFd = await openDirectory(below(mount, path), path);
  try {
    return await probeIn(options, inDirectory(directoryFd, Buffer.from(name)), signal);
  } finally {
    await closeQuietly(directoryFd);
  }
}

async function probeIn(options: ProbeOptions, file: Buffer, signal: AbortSignal): Promise<DoctorFinding[]> {
  const { mount, lustre, archiveId, events, patienceMs = PATIENCE_MS } = options;
  const handle = await open(file, 'wx', 0o600);
  let fid: Fid;
  try {
    await handle.write('lhsm-azblob doctor\n');
    await handle.sync();
    fid = await lustre.fdToFid(handle.fd);
  } catch (error) {
    await unlink(file).catch(() => undefined);
    throw error;
  } finally {
    await handle.close();
  }
  const key = formatFid(fid);
  let ended: FinishedEvent | undefined;
  const off = events.on('finished', (event) => {
    if (event.fid === key && event.kind === 'archive') ended = event;
  });
  const startedAtMs = performance.now();
  const passedMs = (): number => Math.round(performance.now() - startedAtMs);
  try {
    await lustre.request(mount, { action: UserAction.ARCHIVE, archiveId, fids: [fid] });
    while (passedMs() < patienceMs) {
      const { states } = await lustre.hsmState(fidPath(mount, fid));
      if ((states & HsmStateFlag.ARCHIVED) !== 0) return [well(archiveId, passedMs(), ended !== undefined)];
      if (ended && ended.result !== 'succeeded') return [failed(archiveId, ended)];
      await sleep(LOOK_MS, undefined, { signal });
    }
    return [timedOut(archiveId, passedMs())];
  } catch (error) {
    signal.throwIfAborted();
    return [foundError(error)];
  } finally {
    off();
    await takeAway(options, fid, file);
  }
}

/** Never rejects: the file goes in any case. */
async function takeAway({ mount, lustre, container }: ProbeOptions, fid: Fid, file: Buffer): Promise<void> {
  const signal = AbortSignal.timeout(CLEAN_MS);
  try {
    const handle = await open(file, 'r');
    try {
      const { states, archiveId } = await lustre.hsmStateFd(handle.fd);
      const place = container(archiveId);
      const { xattrs } = await lustre.look(handle.fd, MEMORY_XATTRS);
      const name = place && recall(xattrs, place).name;
      if (place && name !== undefined) {
        await place.delete(name, undefined, signal).catch((error: unknown) => {
          if (!hasCode(error, 'BLOB_MISSING')) throw error;
        });
      }
      // What nobody has taken up would otherwise wait for an agent that comes some day.
      if ((states & HsmStateFlag.ARCHIVED) === 0) {
        await lustre.request(mount, { action: UserAction.CANCEL, archiveId: 0, fids: [fid] });
      }
    } finally {
      await handle.close();
    }
  } catch {
    // A blob that stays is named by the file's path and has 19 bytes.
  }
  await unlink(file).catch(() => undefined);
}

function well(archiveId: number, ms: number, here: boolean): DoctorFinding {
  return {
    severity: 'note',
    code: 'PROBE_ARCHIVED',
    what: `a small file was archived under id ${archiveId} within ${(ms / 1000).toFixed(1)} s, by ${here ? 'this daemon' : 'another node'}`,
    hint: 'Nothing to do: coordinator, agent, credential and container work.',
  };
}

function failed(archiveId: number, { code = 'EIO', reason }: FinishedEvent): DoctorFinding {
  return {
    severity: 'error',
    code: 'PROBE_FAILED',
    what: `a small file could not be archived under id ${archiveId}: ${code}: ${reason ?? code}`,
    hint: `See what ${code} means in docs/operations.md.`,
  };
}

function timedOut(archiveId: number, ms: number): DoctorFinding {
  return {
    severity: 'error',
    code: 'PROBE_TIMEOUT',
    what: `nobody archived a small file under id ${archiveId} within ${Math.round(ms / 1000)} s`,
    hint: 'The coordinator hands out no work. On the MDS: is mdt.*.hsm_control enabled, does hsm.agents list this client with that id, are as many requests STARTED as hsm.max_requests? After a shutdown of the coordinator: lhsm-azblob reregister.',
  };
}

// Removes a file's archive copy: the blob, if it is the file's, and what the file remembers of it.
// hsm/action.ts calls it between begin and end. The rules are in docs/decisions/movers.md.
import { HsmStateFlag } from '../../native-bindings/constants.js';
import { LhsmError, describeError, errnoNumber } from '../../native-bindings/errors.js';
import { formatFid, type Fid } from '../../native-bindings/lustre.js';
import { judge } from './collision.js';
import { withFileIfThere } from './descriptors.js';
import { FileRecord, MEMORY_XATTRS, recall, type Memory } from './file-record.js';
import { namesToTry } from './file-names.js';
import { fileSystemId } from './file-system-id.js';
import { askOwner, claimantAtPath } from './ownership.js';
import type { Mover, MoverJob, MoverOutcome, MoverTools } from './mover.js';
import { signalOf } from '../stop.js';
import type { BlobHeaders } from '../blob.js';

/** Removes the copy of `job.item.fid`, which may be gone. See docs/decisions/movers.md for every refusal. */
export const remove: Mover = async (job, tools, ends) => {
  const signal = signalOf(ends);
  const { item, log } = job;
  signal.throwIfAborted();
  if (item.data.length > 0)
    log.debug({ dataBytes: item.data.length }, 'remove: the request carries data, not used');
  return withFileIfThere(tools.lustre, tools.mount, item.fid, (fd) =>
    // remove-on-last-unlink: the file and all that it remembered are gone.
    fd === undefined ? removeOfNobody(job, tools, signal) : removeOfFile(fd, job, tools, signal),
  );
};

async function removeOfFile(
  fd: number,
  job: MoverJob,
  tools: MoverTools,
  signal: AbortSignal,
): Promise<MoverOutcome> {
  const { item, container } = job;
  const { attributes: before, xattrs } = await tools.lustre.look(fd, MEMORY_XATTRS);
  const memory = recall(xattrs, container);
  if (memory.unreadable !== undefined) throw memory.unreadable;
  if (memory.elsewhere) {
    throw refusal(
      `${formatFid(item.fid)} has its copy in container ${memory.elsewhere.container}, not in ${container.container}.`,
      'OTHER_CONTAINER',
      'EPERM',
      'Configure that container under the archive id that the file has.',
    );
  }
  // The MDT refuses this at the request, but a release may come between the request and us.
  refuseIfReleased(await statesOf(fd, tools), item.fid);
  signal.throwIfAborted();
  const found = await find(job, tools, signal, memory);
  if (await claimantAtPath(tools, container, found.name, item.fid)) throw notOurs(found.name, 'other-file');
  const notes: string[] = [];
  const record = new FileRecord(tools.lustre, fd, container, memory, before);
  const outcome = await deleteIfOurs(job, tools, signal, memory, found, (run) =>
    whileUnreleased({ fd, job, tools, record, notes }, run),
  );

  // The blob is gone: what is left is tidying, aborted or not.
  try {
    await record.forget();
  } catch (error) {
    notes.push(`the file still remembers the blob: ${describeError(error)}`);
  }
  const times = await record.putTimesBack();
  if (times !== undefined) notes.push(times);
  return notes.length > 0 ? { ...outcome, notes } : outcome;
}

async function statesOf(fd: number, tools: MoverTools): Promise<number> {
  return (await tools.lustre.hsmStateFd(fd)).states;
}

function refuseIfReleased(states: number, fid: Fid): void {
  if ((states & HsmStateFlag.RELEASED) === 0) return;
  throw refusal(
    `${formatFid(fid)} is released: its archive copy is the only one.`,
    'FILE_RELEASED',
    'EPERM',
    'Restore the file first.',
  );
}

interface Holding {
  readonly fd: number;
  readonly job: MoverJob;
  readonly tools: MoverTools;
  readonly record: FileRecord;
  readonly notes: string[];
}

/** Deletes the blob; `beforeEachTry` goes to ArchiveContainer.delete. */
type Delete = (beforeEachTry?: () => Promise<void>) => Promise<void>;

/** What a service that has answered says of a blob that it has not deleted. Anything else leaves it open. */
const notDeleted = new Set([
  'BLOB_BUSY',
  'BLOB_CHANGED',
  'BLOB_IMMUTABLE',
  'BLOB_LEASED',
  'BLOB_MISSING',
  'CONTAINER_MISSING',
  'FILE_RELEASED',
  'FORBIDDEN',
  'REFUSED',
]);

/**
 * Keeps the file from being released from before its copy is deleted until the MDT no longer takes it for archived:
 * a release in between would destroy the only content. Where the file's state cannot be set, each try looks at it.
 */
async function whileUnreleased({ fd, job, tools, record, notes }: Holding, run: Delete): Promise<void> {
  const { fid } = job.item;
  const change = (set: number, clear: number): Promise<void> =>
    record.change(() => tools.lustre.setHsmStateFd(fd, { set, clear }));
  const isHeld = ((await statesOf(fd, tools)) & HsmStateFlag.NORELEASE) !== 0;
  if (isHeld) {
    // Somebody else wants it kept, and that is not ours to end.
    refuseIfReleased(await statesOf(fd, tools), fid);
    return run();
  }
  try {
    await change(HsmStateFlag.NORELEASE, 0);
  } catch (error) {
    job.log.warn({ fid: formatFid(fid), err: error }, 'remove: the file cannot be kept from being released');
    return run(async () => {
      refuseIfReleased(await statesOf(fd, tools), fid);
    });
  }
  // Once the copy is gone, or may be, the file must not be taken for archived a moment longer.
  let clear: number = HsmStateFlag.NORELEASE;
  try {
    refuseIfReleased(await statesOf(fd, tools), fid);
    await run();
    clear |= HsmStateFlag.ARCHIVED | HsmStateFlag.EXISTS;
  } catch (error) {
    if (!(error instanceof LhsmError && notDeleted.has(error.code))) clear |= HsmStateFlag.ARCHIVED;
    throw error;
  } finally {
    await change(0, clear).catch((error: unknown) => {
      notes.push(`the file still may not be released: ${describeError(error)}`);
      job.log.warn(
        { fid: formatFid(fid), err: error },
        'remove: the file still may not be released; lfs hsm_clear --norelease ends that',
      );
    });
  }
}

/** For a file that is gone only its FID can name the blob. */
async function removeOfNobody(job: MoverJob, tools: MoverTools, signal: AbortSignal): Promise<MoverOutcome> {
  if (job.container.naming === 'path') {
    throw refusal(
      `${formatFid(job.item.fid)} is gone, and with it the name of its blob: the blob stays.`,
      'FILE_GONE',
      'ENOENT',
      'With naming = "fid" the copies of removed files can be found; by path they are left to a clean-up.',
    );
  }
  const found = await find(job, tools, signal, undefined);
  return deleteIfOurs(job, tools, signal, undefined, found, (run) => run());
}

interface Found {
  readonly name: string;
  readonly headers: BlobHeaders;
}

/** The remembered blob, or else the first that is there of those the file's names lead to. */
async function find(
  { item, container }: MoverJob,
  tools: MoverTools,
  signal: AbortSignal,
  memory: Memory | undefined,
): Promise<Found> {
  const names = memory?.name === undefined ? namesToTry(tools, container, item.fid) : [memory.name];
  const tried: string[] = [];
  for await (const name of names) {
    signal.throwIfAborted();
    const headers = await container.properties(name, signal);
    if (headers) return { name, headers };
    tried.push(name);
  }
  throw refusal(
    `The blob ${tried.join(' or ')} is not in container ${container.container}.`,
    'BLOB_MISSING',
    'ENOENT',
    'There is nothing to remove: lfs hsm_clear --archived --exists tells the MDT so.',
  );
}

/** Deletes that very version, if the archive mover would overwrite it as the file's own. */
async function deleteIfOurs(
  job: MoverJob,
  tools: MoverTools,
  signal: AbortSignal,
  memory: Memory | undefined,
  { name, headers }: Found,
  within: (run: Delete) => Promise<void>,
): Promise<MoverOutcome> {
  const { item, container } = job;
  const claimant = {
    fid: item.fid,
    fileSystem: await fileSystemId(tools.lustre, tools.mount),
    remembersIt: memory?.name === name,
    pin: memory?.pin,
  };
  const verdict = await judge(headers, claimant, (fid) =>
    askOwner(tools, container, name, headers.etag, fid),
  );
  await job.admit?.(BigInt(headers.sizeBytes), name);
  signal.throwIfAborted();
  const allowed =
    verdict.kind === 'ours' ||
    (tools.policy.archiveChanged === 'overwrite' &&
      (verdict.kind === 'changed' || verdict.kind === 'foreign'));
  if (!allowed) throw notOurs(name, verdict.kind);
  await within((beforeEachTry) => container.delete(name, { etag: headers.etag }, signal, beforeEachTry));
  return { blob: name, sizeBytes: BigInt(headers.sizeBytes) };
}

type NotOurs = Exclude<Awaited<ReturnType<typeof judge>>['kind'], 'ours' | 'free'>;

const refusals: Readonly<
  Record<NotOurs, { readonly what: string; readonly code: string; readonly errno: string }>
> = {
  changed: { what: 'has changed since it was archived', code: 'BLOB_CHANGED', errno: 'ESTALE' },
  foreign: { what: 'was not written by this file system', code: 'BLOB_NOT_OURS', errno: 'EPERM' },
  orphan: { what: 'is of another file, which is gone', code: 'BLOB_NOT_OURS', errno: 'EPERM' },
  'other-file': { what: 'holds the copy of another file', code: 'BLOB_OF_OTHER_FILE', errno: 'EPERM' },
  directory: { what: 'stands for a directory', code: 'BLOB_IS_DIRECTORY', errno: 'EISDIR' },
  'other-type': { what: 'is no block blob', code: 'NOT_BLOCK_BLOB', errno: 'EPERM' },
};

function notOurs(name: string, kind: NotOurs | 'free'): LhsmError {
  const { what, code, errno } = refusals[kind === 'free' ? 'foreign' : kind];
  const hint = 'Nothing was deleted; delete the blob by hand if nobody needs it.';
  return refusal(`The blob ${name} ${what}.`, code, errno, hint);
}

function refusal(message: string, code: string, errno: string, hint: string): LhsmError {
  return new LhsmError(message, { code, op: 'remove', errno: errnoNumber(errno), hint });
}

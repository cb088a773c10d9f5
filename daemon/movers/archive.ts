// Archives one file: content and attributes into its blob, the blob's name and version into the file.
// hsm/action.ts calls it between begin and end. The rules are in docs/decisions/movers.md.
import { DataVersionFlag, HsmStateFlag } from '../../native-bindings/constants.js';
import { LhsmError, describeError, errnoNumber, hasCode } from '../../native-bindings/errors.js';
import { formatFid, type FileAttributes } from '../../native-bindings/lustre.js';
import { metadataOf } from '../blobs/attributes.js';
import { alternativeName, pathOfBlobName } from '../blobs/names.js';
import { bareEtag, PREVIOUS_METADATA } from './collision.js';
import { directoryAt, isRegular, notARegularFile, saysGone } from './descriptors.js';
import { FileRecord, MEMORY_XATTRS, recall, type Memory } from './file-record.js';
import { nameToArchive } from './file-names.js';
import { FILE_SYSTEM_METADATA, fileSystemId } from './file-system-id.js';
import { parentStubs } from './parent-stubs.js';
import { askOwner } from './ownership.js';
import { planWrite, type WritePlan } from './write-plan.js';
import type { Mover, MoverJob, MoverTools } from './mover.js';
import { signalOf } from '../stop.js';
import type { ExpectedVersion } from '../blob.js';
import type { UploadResult } from '../transfer/transfer.js';

/** Metadata: the file has holes, so that a restore may leave blocks of zeros unwritten. */
export const SPARSE_METADATA = 'lhsm_sparse';

/**
 * Up to this size a new file is uploaded without a look at what stands at its name: the condition decides, and a
 * refusal costs one upload. Above, the look is the cheaper of the two.
 */
const UPLOAD_UNSEEN_BYTES = 1n << 20n;

/** A condition that fails shows a newer version; nobody changes a blob as often as that by accident. */
const MAX_TRIES = 4;

/** The file as it was when its archive began. */
interface Source {
  readonly stat: FileAttributes;
  readonly dataVersion: bigint;
  readonly fileSystem: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Archives `job.item.fid`, open for reading as `job.fd`. See docs/decisions/movers.md for every refusal. */
export const archive: Mover = async (job, tools, ends) => {
  const signal = signalOf(ends);
  const { container, fd, item, log } = job;
  signal.throwIfAborted();
  if (item.data.length > 0)
    log.debug({ dataBytes: item.data.length }, 'archive: the request carries data, not used');
  const { attributes: found, xattrs } = await tools.lustre.look(fd, MEMORY_XATTRS);
  if (!isRegular(found)) throw notARegularFile(item.fid, 'archive');
  signal.throwIfAborted();

  const memory = recall(xattrs, container);
  const notes: string[] = [];
  if (memory.unreadable !== undefined) notes.push(describeError(memory.unreadable));
  if (memory.elsewhere) notes.push(`its copy in container ${memory.elsewhere.container} stays behind`);
  const { name, path } = await nameToArchive(tools, container, item.fid, memory.name, found.nlink);
  signal.throwIfAborted();
  if (path) notes.push(...(await parentStubs(container).ensure(path, tools, signal, { fid: item.fid, log })));
  await job.admit?.(found.size, name);
  signal.throwIfAborted();

  // Only now, behind everything that may wait: the less time to the commit, the fewer files change in it.
  const source = await readSource(job, tools);
  const record = new FileRecord(tools.lustre, fd, container, memory, source.stat);
  const writing = { job, tools, signal, source, memory, record, notes };
  const written = await write(writing, name).catch(async (error: unknown) => {
    await undo(record, job);
    throw error;
  });
  // What is committed is also recorded, aborted or not: both are one step.
  try {
    await pinIfThere(record, written.etag, notes);
  } finally {
    const times = await record.putTimesBack();
    if (times !== undefined) notes.push(times);
  }
  signal.throwIfAborted();
  return { blob: written.name, sizeBytes: source.stat.size, ...(notes.length > 0 ? { notes } : {}) };
};

/**
 * Rejects with code FILE_RELEASED when the file has no content any more: another node has archived it, and somebody
 * released it. To read it would restore it, and hold a thread until that is done.
 */
function refuseIfReleased(states: number, { item }: MoverJob): void {
  if ((states & HsmStateFlag.RELEASED) === 0) return;
  throw new LhsmError(`${formatFid(item.fid)} is already archived and released.`, {
    code: 'FILE_RELEASED',
    op: 'archive',
    errno: errnoNumber('EBUSY'),
    hint: 'There is nothing to do: its copy is whole.',
  });
}

async function readSource(job: MoverJob, tools: MoverTools): Promise<Source> {
  const { fd, item } = job;
  // The version before the attributes: whatever changes after it, the size included, shows in the second look. FLUSH_READERS is
  // LL_DV_RD_FLUSH, which makes clients write their dirty pages out, as llapi_hsm_action_begin and _end do.
  const state = await tools.lustre.dataState(fd, DataVersionFlag.FLUSH_READERS);
  refuseIfReleased(state.states, job);
  const { dataVersion, attributes: stat } = state;
  const attributes = {
    kind: 'file',
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    mode: Number(stat.mode),
    mtimeNs: stat.mtimeNs,
  } as const;
  const fileSystem = await fileSystemId(tools.lustre, tools.mount);
  const metadata = {
    ...metadataOf(attributes, { keepSetId: tools.policy.keepSetId, fid: formatFid(item.fid) }),
    [FILE_SYSTEM_METADATA]: fileSystem,
    ...((await hasHoles(fd, stat, tools)) ? { [SPARSE_METADATA]: '1' } : {}),
  };
  return { stat, dataVersion, fileSystem, metadata };
}

/** Whether a block of the file is a hole. Blocks are counted first: asking for holes is a call to every OST. */
async function hasHoles(fd: number, stat: FileAttributes, tools: MoverTools): Promise<boolean> {
  if (stat.size === 0n || stat.blocks * 512n >= stat.size) return false;
  try {
    return (await tools.host.nextHole(fd, 0n)) < stat.size;
  } catch {
    // No SEEK_HOLE there: the content is right all the same.
    return false;
  }
}

/** All that the steps of one archive share. */
interface Writing {
  readonly job: MoverJob;
  readonly tools: MoverTools;
  readonly signal: AbortSignal;
  readonly source: Source;
  readonly memory: Memory;
  readonly record: FileRecord;
  readonly notes: string[];
}

interface Written extends UploadResult {
  readonly name: string;
}

/** Uploads under a condition until one holds; each that fails is answered by a look at what stands there. */
async function write(writing: Writing, chosen: string): Promise<Written> {
  const { job, tools, signal, source, memory, record, notes } = writing;
  const mustLook = (at: string): boolean => memory.name === at || source.stat.size > UPLOAD_UNSEEN_BYTES;
  let name = chosen;
  let look = mustLook(name);
  for (let tries = 1; ;) {
    const plan: WritePlan = look ? await lookAndPlan(writing, name) : { kind: 'write', expected: 'absent' };
    signal.throwIfAborted();
    if (plan.kind === 'use-alternative') {
      if (name !== chosen) throw noNameLeft(name, plan.note);
      notes.push(plan.note);
      name = alternativeName(name, job.item.fid);
      look = mustLook(name);
      continue;
    }
    // The look may have waited long.
    if (look) refuseIfReleased((await tools.lustre.hsmStateFd(job.fd)).states, job);
    await record.claim(name);
    try {
      const result = await upload(writing, name, plan.expected);
      if (plan.note !== undefined) notes.push(plan.note);
      return { ...result, name };
    } catch (error) {
      if (!showsAnotherBlob(error) || tries === MAX_TRIES) throw error;
      tries += 1;
      look = true;
    }
  }
}

/** Whether an upload failed for what stands at its name. */
function showsAnotherBlob(error: unknown): boolean {
  return ['BLOB_CHANGED', 'NOT_BLOCK_BLOB', 'TYPE_MISMATCH'].some((code) => hasCode(error, code));
}

async function lookAndPlan(
  { job, tools, signal, source, memory }: Writing,
  name: string,
): Promise<WritePlan> {
  const { container, item } = job;
  const seen = await container.properties(name, signal);
  const claimant = {
    fid: item.fid,
    fileSystem: source.fileSystem,
    remembersIt: memory.name === name,
    pin: memory.pin,
  };
  return planWrite(name, seen, claimant, tools.policy, {
    askOwner: (fid) => askOwner(tools, container, name, seen?.etag ?? '', fid),
    isDirectory: () => isDirectory(tools, container, name),
  });
}

/** Whether a directory stands at the path that makes this name. */
async function isDirectory(
  tools: MoverTools,
  { prefix }: MoverJob['container'],
  name: string,
): Promise<boolean> {
  let path: Buffer;
  try {
    path = pathOfBlobName(prefix, name);
  } catch {
    return false;
  }
  return (await directoryAt(tools.mount, path)) !== undefined;
}

async function upload(writing: Writing, name: string, expected: ExpectedVersion): Promise<UploadResult> {
  const { job, tools, signal, source, memory } = writing;
  const { container, fd, counters } = job;
  const pinned = memory.name === name ? memory.pin : undefined;
  const metadata =
    pinned === undefined ? source.metadata : { ...source.metadata, [PREVIOUS_METADATA]: bareEtag(pinned) };
  const sizeBytes = Number(source.stat.size);
  const beforeCommit = (): Promise<void> => refuseIfChanged(job, tools, source);
  signal.throwIfAborted();
  try {
    return await tools.transfer.upload(
      { blob: container.location(name), fd, sizeBytes, metadata, expected, beforeCommit, counters },
      signal,
    );
  } catch (error) {
    // A file cut short meets its end early: say what happened, not how the reading noticed.
    if (!signal.aborted && !showsAnotherBlob(error)) await refuseIfChanged(job, tools, source, error);
    throw error;
  }
}

/** Rejects with code FILE_CHANGED when the file's data is not what it was when the archive began. */
async function refuseIfChanged(
  job: MoverJob,
  tools: MoverTools,
  source: Source,
  cause?: unknown,
): Promise<void> {
  if (hasCode(cause, 'FILE_CHANGED')) return;
  const now = await tools.lustre.dataVersion(job.fd, DataVersionFlag.FLUSH_READERS);
  if (now === source.dataVersion) return;
  throw new LhsmError(
    `${formatFid(job.item.fid)} was written while it was archived: nothing was committed.`,
    {
      code: 'FILE_CHANGED',
      op: 'archive',
      errno: errnoNumber('EBUSY'),
      retryable: true,
      hint: 'It stays dirty; archive it again when it is at rest.',
      ...(cause === undefined ? {} : { cause }),
    },
  );
}

/** Pins the new version; an archive without it fails, and the next one takes the upload up again. */
async function pinIfThere(record: FileRecord, etag: string, notes: string[]): Promise<void> {
  try {
    await record.pin(etag);
  } catch (error) {
    if (!saysGone(error)) throw error;
    notes.push('the file was removed meanwhile: its blob stays, and nothing names it');
  }
}

/** Nothing was committed: the file remembers what it did before. The failure that led here is what is reported. */
async function undo(record: FileRecord, { item, log }: MoverJob): Promise<void> {
  try {
    const left = await record.unclaim();
    if (left !== undefined) log.warn({ fid: formatFid(item.fid) }, `archive: ${left}`);
  } catch (error) {
    log.warn(
      { fid: formatFid(item.fid), err: error },
      'archive: the xattrs of a failed archive were not put back',
    );
  }
}

function noNameLeft(name: string, why: string): LhsmError {
  return new LhsmError(`No name is left for the file's blob: ${why}, and so is its alternative ${name}.`, {
    code: 'BLOB_OF_OTHER_FILE',
    op: 'archive',
    errno: errnoNumber('EEXIST'),
    hint: 'Look at the metadata lustre_fid of both blobs: something other than this daemon wrote one of them.',
  });
}

// Restores one file: the content of the version it is pinned to, into the new data file that the MDT swaps in.
// hsm/action.ts calls it between begin and end. The rules are in docs/decisions/movers.md.
import { LhsmError, errnoNumber, hasCode, type LhsmErrorOptions } from '../../native-bindings/errors.js';
import { formatFid } from '../../native-bindings/lustre.js';
import { SPARSE_METADATA } from './archive.js';
import { isDirectoryStub, namedOwner, quotedEtag, sameEtag, sameFid } from './collision.js';
import { isRegular, notARegularFile, truncateDescriptor, withFile } from './descriptors.js';
import { MEMORY_XATTRS, recall, type Memory } from './file-record.js';
import { namesToTry } from './file-names.js';
import { fileSystemId } from './file-system-id.js';
import { ETAG_XATTR, type Mover, type MoverJob, type MoverOutcome, type MoverTools } from './mover.js';
import { askOwner } from './ownership.js';
import { signalOf, type Ends } from '../stop.js';
import type { BlobHeaders } from '../blob.js';
import type { Fid } from '../../native-bindings/lustre.js';

/** What the steps of one restore share. */
interface Restoring {
  readonly job: MoverJob;
  readonly tools: MoverTools;
  readonly signal: Ends;
  readonly sizeBytes: bigint;
  readonly memory: Memory;
  readonly fileSystem: string;
}

/** Restores `job.item.fid` into `job.fd`. See docs/decisions/movers.md for every refusal. */
export const restore: Mover = async (job, tools, signal) => {
  signal.throwIfAborted();
  if (job.item.data.length > 0) {
    job.log.debug({ dataBytes: job.item.data.length }, 'restore: the request carries data, not used');
  }
  // By its FID, for its attributes only: reading it would wait for this very restore.
  const { attributes, xattrs } =
    job.look ?? (await tools.lustre.lookByFid(tools.mount, job.item.fid, MEMORY_XATTRS));
  if (!isRegular(attributes)) throw notARegularFile(job.item.fid, 'restore');
  const memory = recall(xattrs, job.container);
  const fileSystem = await fileSystemId(tools.lustre, tools.mount);
  signal.throwIfAborted();
  return restoreInto({ job, tools, signal, sizeBytes: attributes.size, memory, fileSystem });
};

async function restoreInto(restoring: Restoring): Promise<MoverOutcome> {
  const { job, signal, sizeBytes, memory } = restoring;
  const notes: string[] = [];
  const { name, headers } = await fetchContent(restoring);
  signal.throwIfAborted();
  // The engine writes content; holes at the end, and a file of no bytes at all, are the size alone.
  if (sizeBytes === 0n || keepsHoles(headers)) await truncateDescriptor(job.fd, sizeBytes);
  if (memory.name === name && memory.pin !== undefined && !sameEtag(memory.pin, headers.etag)) {
    await repin(restoring, headers.etag);
    notes.push(`took the changed version ${headers.etag} for the pinned ${memory.pin}`);
  }
  signal.throwIfAborted();
  return { blob: name, sizeBytes, ...(notes.length > 0 ? { notes } : {}) };
}

function keepsHoles({ metadata }: BlobHeaders): boolean {
  return metadata[SPARSE_METADATA] === '1';
}

/** ctime moves with it and stays: putting times back waits for the layout that this restore holds. */
function repin({ job, tools }: Restoring, etag: string): Promise<void> {
  return withFile(tools.lustre, tools.mount, job.item.fid, (fd) =>
    tools.lustre.setXattr(fd, ETAG_XATTR, Buffer.from(etag)),
  );
}

interface Fetched {
  readonly name: string;
  readonly headers: BlobHeaders;
}

/** Downloads from the remembered blob, or else from the first that is there of those the file's names lead to. */
async function fetchContent(restoring: Restoring): Promise<Fetched> {
  const { job, tools, memory } = restoring;
  if (memory.unreadable !== undefined) throw memory.unreadable;
  if (memory.elsewhere) throw otherContainer(job, memory.elsewhere.container);
  if (memory.name !== undefined) {
    await job.admit?.(restoring.sizeBytes, memory.name);
    return fetchFrom(restoring, memory.name);
  }
  let notThere: Error | undefined;
  for await (const name of namesToTry(tools, job.container, job.item.fid)) {
    // Once is enough: it is the size that counts.
    if (!notThere) await job.admit?.(restoring.sizeBytes, name);
    // A blob that was deleted half way has left bytes that the holes of the next one would show.
    else await truncateDescriptor(job.fd, 0n);
    try {
      return await fetchFrom(restoring, name);
    } catch (error) {
      if (!(error instanceof LhsmError) || error.code !== 'BLOB_MISSING') throw error;
      notThere ??= error;
    }
  }
  throw notThere ?? nameless(job);
}

async function fetchFrom(restoring: Restoring, name: string): Promise<Fetched> {
  const { job, tools, memory } = restoring;
  const pinned = tools.policy.restoreChanged === 'fail' ? memory.pin : undefined;
  let doubt: Doubt | undefined;
  try {
    const headers = await download(restoring, name, pinned, (found) => {
      doubt = found;
    });
    return { name, headers };
  } catch (error) {
    if (!doubt) throw explained(await lookedAt(error, restoring, name), job, name);
  }
  // Only now, and only for a blob that names another file: the usual restore is one request.
  await refuseOthersBlob(restoring, name, doubt);
  try {
    const headers = await download(restoring, name, doubt.etag);
    return { name, headers };
  } catch (error) {
    throw explained(error, job, name);
  }
}

/**
 * Says more of a version that is not there: the blob may be gone altogether, which some services answer as a failed
 * condition, or of another size. The failure has happened, so one more request is no loss.
 */
async function lookedAt(error: unknown, restoring: Restoring, name: string): Promise<unknown> {
  const { job, signal } = restoring;
  if (!hasCode(error, 'BLOB_CHANGED')) return error;
  try {
    const headers = await job.container.properties(name, signalOf(signal));
    if (!headers) return missing(name, job, error);
    refuseUnfit(headers, name, restoring);
    return error;
  } catch (better) {
    return signal.aborted || !hasCode(better, 'SIZE_MISMATCH') ? error : better;
  }
}

/** A blob that names another file, and the version that does. */
interface Doubt {
  readonly owner: Fid;
  /** The blob says that this very file system wrote it. */
  readonly surelyOurs: boolean;
  readonly etag: string;
}

/**
 * Downloads the version `ifMatch`, or whatever is there. A version that is not the pinned one and names another file
 * is refused, and told to `onDoubt`; without it nobody is in doubt any more. A refused version may have been written
 * already, as far as it fits: either the restore fails, and with it the file, or that very version is written over it.
 */
function download(
  restoring: Restoring,
  name: string,
  ifMatch: string | undefined,
  onDoubt?: (doubt: Doubt) => void,
): Promise<BlobHeaders> {
  const { job, tools, signal, sizeBytes, memory } = restoring;
  signal.throwIfAborted();
  job.asking?.();
  return tools.transfer.download(
    {
      blob: job.container.location(name),
      fd: job.fd,
      sizeBytes: Number(sizeBytes),
      ...(ifMatch === undefined ? {} : { ifMatch: quotedEtag(ifMatch) }),
      holesMetadata: SPARSE_METADATA,
      accept: (headers) => {
        refuseUnfit(headers, name, restoring);
        if (!onDoubt || sameEtag(memory.pin, headers.etag)) return;
        const owner = namedOwner(headers.metadata, restoring.fileSystem);
        if (!owner || sameFid(owner.fid, job.item.fid)) return;
        onDoubt({ owner: owner.fid, surelyOurs: owner.surelyOurs, etag: headers.etag });
        // It cannot wait for an answer here: the download begins anew when the owner has been asked.
        throw refusal(`The blob ${name} names another file.`, { code: 'OWNER_UNKNOWN' });
      },
      counters: job.counters,
    },
    signal,
  );
}

/**
 * Rejects with code BLOB_OF_OTHER_FILE when the other file that the blob names lives and claims it; and where nothing
 * but the name ties the blob to this file, also when that other file is gone, unless the policy takes what there is.
 */
async function refuseOthersBlob(
  { job, tools, signal, memory }: Restoring,
  name: string,
  { owner, surelyOurs, etag }: Doubt,
): Promise<void> {
  const word = await askOwner(tools, job.container, name, etag, owner);
  signal.throwIfAborted();
  const untied = surelyOurs && memory.pin === undefined;
  if (word === 'no' && (!untied || tools.policy.restoreChanged === 'accept')) return;
  throw new LhsmError(
    `The blob ${name} holds the content of ${formatFid(owner)}, not of ${formatFid(job.item.fid)}.`,
    {
      code: 'BLOB_OF_OTHER_FILE',
      op: 'restore',
      errno: errnoNumber('ENOENT'),
      hint: `The file has lost the name of its blob: set its xattr trusted.lhsm_uuid to az://${job.container.container}/<name>; or import the blob, which makes a file of it.`,
    },
  );
}

/** Throws for a blob that cannot be the content of the file, whoever wrote it. */
function refuseUnfit(headers: BlobHeaders, name: string, { sizeBytes }: Restoring): void {
  // Append blobs are read alike; an import makes files of them too. Page blobs are disks.
  if (headers.blobType !== 'BlockBlob' && headers.blobType !== 'AppendBlob') {
    throw refusal(
      `The blob ${name} is a ${headers.blobType}; files are restored from block and append blobs only.`,
      { code: 'NOT_BLOCK_BLOB' },
    );
  }
  if (headers.accessTier?.toLowerCase() === 'archive') throw inArchiveTier(name);
  if (isDirectoryStub(headers.metadata)) {
    throw refusal(`The blob ${name} stands for a directory.`, { code: 'BLOB_IS_DIRECTORY' });
  }
  if (BigInt(headers.sizeBytes) !== sizeBytes) {
    throw refusal(`The blob ${name} has ${headers.sizeBytes} bytes, and the file ${sizeBytes}.`, {
      code: 'SIZE_MISMATCH',
      hint: 'It was cut or replaced behind the file system; bring the right version back, or import it anew.',
    });
  }
}

/** The failures that an operator can mend, in words that say how. Anything else is passed on. */
function explained(error: unknown, job: MoverJob, name: string): unknown {
  if (error instanceof LhsmError && error.op === 'restore') return error;
  if (hasCode(error, 'BLOB_CHANGED')) {
    return refusal(`The blob ${name} is not the version that the file was released with.`, {
      code: 'BLOB_CHANGED',
      hint: 'Bring that version back, or set policy restore_changed = "accept" to take a version of the same size.',
      cause: error,
    });
  }
  if (hasCode(error, 'BLOB_ARCHIVED')) return inArchiveTier(name, error);
  if (hasCode(error, 'BLOB_MISSING') || (error instanceof LhsmError && error.code === 'ENOENT')) {
    return missing(name, job, error);
  }
  return error;
}

function missing(name: string, { container }: MoverJob, cause: unknown): LhsmError {
  return refusal(`The blob ${name} is not in container ${container.container}.`, {
    code: 'BLOB_MISSING',
    errno: errnoNumber('ENOENT'),
    hint: 'Undelete it where soft delete is on; the file stays released until it is back.',
    cause,
  });
}

function inArchiveTier(name: string, cause?: unknown): LhsmError {
  return refusal(`The blob ${name} is in the Archive tier and cannot be read.`, {
    code: 'BLOB_ARCHIVED',
    hint: 'Set its tier to Hot or Cool, wait until it is rehydrated, and read the file again.',
    ...(cause === undefined ? {} : { cause }),
  });
}

function nameless({ item }: MoverJob): LhsmError {
  return refusal(`${formatFid(item.fid)} remembers no blob, and no path of it makes a blob's name.`, {
    code: 'BLOB_MISSING',
    errno: errnoNumber('ENOENT'),
  });
}

function otherContainer(job: MoverJob, container: string): LhsmError {
  return refusal(
    `${formatFid(job.item.fid)} has its copy in container ${container}; archive ${job.container.archiveId} is ${job.container.container}.`,
    { code: 'OTHER_CONTAINER', hint: 'Configure that container under the archive id that the file has.' },
  );
}

function refusal(message: string, options: Omit<LhsmErrorOptions, 'op'>): LhsmError {
  return new LhsmError(message, { op: 'restore', errno: errnoNumber('EIO'), ...options });
}

// Compares an archived file with its blob: is it there, is it the version that the file remembers, has it the right size.
// release.ts and verify.ts call it. It changes nothing.
import { HsmStateFlag } from '../../native-bindings/constants.js';
import { LhsmError, errnoNumber, type LhsmErrorOptions } from '../../native-bindings/errors.js';
import type { Fid, HsmState, Lustre } from '../../native-bindings/lustre.js';
import type { BlobHeaders } from '../blob.js';
import type { ArchiveContainer } from '../blobs/archive-container.js';
import { showPath } from '../blobs/names.js';
import { isDirectoryStub, sameEtag } from '../movers/collision.js';
import { statDescriptor } from '../movers/descriptors.js';
import { MEMORY_XATTRS, recall, type Memory } from '../movers/file-record.js';
import { namesToTry } from '../movers/file-names.js';

export interface CopyTools {
  readonly mount: string;
  readonly lustre: Lustre;
  /** The container of an archive id; undefined when none is configured. */
  readonly container: (archiveId: number) => ArchiveContainer | undefined;
}

/** An open file whose state says that it has a copy. */
export interface ArchivedFile {
  readonly fd: number;
  readonly fid: Fid;
  readonly path: Buffer;
  readonly state: HsmState;
}

/**
 * `good`: the very version, and the right size. `gone`: there is no such blob. `wrong`: a blob that cannot be the file's copy.
 * `damaged`: the very version, and for certain not the bytes that were archived. `doubtful`: nobody can tell, or it cannot be
 * had now. `differs`: verify.ts has read both, and what was archived is there, but the file holds something else.
 */
export interface CheckedCopy {
  readonly verdict: 'good' | 'gone' | 'wrong' | 'damaged' | 'doubtful' | 'differs';
  /** Why it is not good. */
  readonly error?: LhsmError;
  readonly container?: ArchiveContainer;
  readonly memory?: Memory;
  readonly name?: string;
  readonly headers?: BlobHeaders;
}

/**
 * Rejects with LhsmError where the blob cannot be looked at (UNREACHABLE, FORBIDDEN, CONTAINER_MISSING …) or the file cannot.
 */
export async function checkCopy(
  tools: CopyTools,
  file: ArchivedFile,
  signal: AbortSignal,
): Promise<CheckedCopy> {
  const container = tools.container(file.state.archiveId);
  if (!container) return { verdict: 'doubtful', error: unknownArchive(file) };
  const { xattrs } = await tools.lustre.look(file.fd, MEMORY_XATTRS);
  const memory = recall(xattrs, container);
  const known = { container, memory };
  if (memory.unreadable) return { verdict: 'doubtful', error: asLhsm(memory.unreadable), ...known };
  if (memory.elsewhere) {
    return {
      verdict: 'doubtful',
      error: otherContainer(file, container, memory.elsewhere.container),
      ...known,
    };
  }
  const found = await find(tools, file, container, memory, signal);
  const { name, headers } = found;
  if (!headers) return { verdict: 'gone', error: missing(file, container, name), ...known, name };
  const judged = { ...known, name, headers };
  const wrong = await whatIsWrong(file, memory, name, headers);
  // Of the version that is remembered there is no other that could come back.
  const isCertain = wrong?.code === 'SIZE_MISMATCH' && memory.pin !== undefined;
  if (wrong) return { verdict: isCertain ? 'damaged' : 'wrong', error: wrong, ...judged };
  if (memory.pin === undefined) return { verdict: 'doubtful', error: notPinned(file, name), ...judged };
  if (headers.accessTier?.toLowerCase() === 'archive') {
    return { verdict: 'doubtful', error: inArchiveTier(file, name), ...judged };
  }
  return { verdict: 'good', ...judged };
}

interface Found {
  readonly name: string;
  readonly headers: BlobHeaders | undefined;
}

/** The remembered blob, or else the first that is there of those the file's names lead to. */
async function find(
  tools: CopyTools,
  file: ArchivedFile,
  container: ArchiveContainer,
  memory: Memory,
  signal: AbortSignal,
): Promise<Found> {
  if (memory.name !== undefined) {
    return { name: memory.name, headers: await container.properties(memory.name, signal) };
  }
  let first: string | undefined;
  for await (const name of namesToTry(tools, container, file.fid)) {
    const headers = await container.properties(name, signal);
    if (headers) return { name, headers };
    first ??= name;
  }
  return { name: first ?? '', headers: undefined };
}

async function whatIsWrong(
  { fd, path, state }: ArchivedFile,
  memory: Memory,
  name: string,
  headers: BlobHeaders,
): Promise<LhsmError | undefined> {
  if (isDirectoryStub(headers.metadata)) {
    return fault(`The blob ${name} of ${showPath(path)} stands for a directory`, {
      code: 'BLOB_IS_DIRECTORY',
    });
  }
  if (headers.blobType === 'PageBlob') {
    return fault(`The blob ${name} of ${showPath(path)} is a page blob`, { code: 'NOT_BLOCK_BLOB' });
  }
  if (memory.pin !== undefined && !sameEtag(memory.pin, headers.etag)) {
    return fault(
      `The blob ${name} of ${showPath(path)} has version ${headers.etag}; the file remembers ${memory.pin}`,
      {
        code: 'BLOB_CHANGED',
        errno: errnoNumber('ESTALE'),
        hint: 'Somebody else wrote it. Bring the version back, or archive the file again (policy.archive_changed).',
      },
    );
  }
  // What was written since may have any size: the copy is of the content before.
  if ((state.states & HsmStateFlag.DIRTY) !== 0) return undefined;
  const { size } = await statDescriptor(fd);
  if (BigInt(headers.sizeBytes) === size) return undefined;
  return fault(`The blob ${name} has ${headers.sizeBytes} bytes, and the file ${showPath(path)} ${size}`, {
    code: 'SIZE_MISMATCH',
    hint: 'It was cut or replaced behind the file system. Bring the right version back.',
  });
}

/** Says nothing of a file, but of the container: no other file will fare better. */
export function isOfContainer(error: unknown): boolean {
  return error instanceof LhsmError && ofContainer.has(error.code);
}

const ofContainer = new Set([
  'CONTAINER_MISSING',
  'ECANCELED',
  'FORBIDDEN',
  'INSECURE_URL',
  'THROTTLED',
  'TLS_CERTIFICATE',
  'TOKEN_FAILED',
  'UNREACHABLE',
]);

function fault(message: string, options: Omit<LhsmErrorOptions, 'op'>): LhsmError {
  return new LhsmError(`${message}.`, { op: 'verify', errno: errnoNumber('EIO'), ...options });
}

function asLhsm(error: Error): LhsmError {
  if (error instanceof LhsmError) return error;
  return fault(error.message, { code: 'BLOB_XATTR_INVALID', errno: errnoNumber('EINVAL'), cause: error });
}

function unknownArchive({ path, state }: ArchivedFile): LhsmError {
  return fault(`${showPath(path)} is archived under id ${state.archiveId}, which is not configured`, {
    code: 'UNKNOWN_ARCHIVE',
    errno: errnoNumber('EINVAL'),
    hint: `Add an [[archive]] with id = ${state.archiveId} to the configuration.`,
  });
}

function otherContainer({ path }: ArchivedFile, container: ArchiveContainer, elsewhere: string): LhsmError {
  return fault(
    `${showPath(path)} has its copy in container ${elsewhere}; archive ${container.archiveId} is ${container.container}`,
    { code: 'OTHER_CONTAINER', hint: 'Configure that container under the archive id that the file has.' },
  );
}

function missing({ path }: ArchivedFile, { container }: ArchiveContainer, name: string): LhsmError {
  return fault(`The blob ${name} of ${showPath(path)} is not in container ${container}`, {
    code: 'BLOB_MISSING',
    errno: errnoNumber('ENOENT'),
    hint: 'Undelete it where soft delete is on.',
  });
}

function notPinned({ path }: ArchivedFile, name: string): LhsmError {
  return fault(`${showPath(path)} does not remember which version of the blob ${name} is its copy`, {
    code: 'NOT_PINNED',
    errno: errnoNumber('ENODATA'),
    hint: 'Another tool archived it. Archive it anew: lfs hsm_set --dirty, then lfs hsm_archive.',
  });
}

function inArchiveTier({ path }: ArchivedFile, name: string): LhsmError {
  return fault(`The blob ${name} of ${showPath(path)} is in the Archive tier and cannot be read`, {
    code: 'BLOB_ARCHIVED',
    hint: 'Set its tier to Hot or Cool and wait until it is rehydrated.',
  });
}

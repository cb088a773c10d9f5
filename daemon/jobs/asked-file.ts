// What requester.ts is given and what it gives back: files to ask the coordinator for, their outcomes, and the words of
// its failures and notices.
import { HsmStateFlag, MAX_REQUEST_FIDS, UserAction } from '../../native-bindings/constants.js';
import { LhsmError, errnoNumber } from '../../native-bindings/errors.js';
import { formatFid, type Fid, type HsmState } from '../../native-bindings/lustre.js';
import { showPath } from '../blobs/names.js';
import type { FinishedEvent } from '../events.js';

export type RequestKind = 'archive' | 'restore';

/** A file to ask for. */
export interface AskedFile {
  readonly fid: Fid;
  /** Relative to the mount; undefined when only the FID was kept. */
  readonly path: Buffer | undefined;
  readonly sizeBytes: bigint;
}

/** How a request ended. `vanished`: the file was removed, so there is nothing left to do. */
export type Outcome =
  | { readonly kind: 'done' }
  | { readonly kind: 'failed'; readonly error: LhsmError }
  | { readonly kind: 'vanished' }
  | { readonly kind: 'canceled' };

/** Something that the operator should know while it goes on; it is told again when it lasts. */
export interface RequestNotice {
  /** The coordinator takes no requests; it takes them again; nobody serves what it has; cancelled requests are still there; a log is not complete. */
  readonly code:
    'COORDINATOR_STOPPED' | 'COORDINATOR_BACK' | 'REQUESTS_WAIT' | 'CANCEL_INCOMPLETE' | 'OPERATION_LOG';
  readonly message: string;
  readonly hint?: string;
}

export const userActions = { archive: UserAction.ARCHIVE, restore: UserAction.RESTORE } as const;

/** A request must stay below this: `totalsize >= MDS_MAXREQSIZE / 3` is E2BIG (llite/dir.c). */
const MAX_REQUEST_BYTES = 1706;
const HEADER_BYTES = 24;
const ITEM_BYTES = 32;

/** FIDs that one request with so much data takes. */
export function fidsPerRequest(dataBytes: number): number {
  const room = Math.floor((MAX_REQUEST_BYTES - 1 - HEADER_BYTES - dataBytes) / ITEM_BYTES);
  return Math.min(MAX_REQUEST_FIDS, room);
}

/** Whether the state is what was asked for. */
export function isReached(kind: RequestKind, { states }: HsmState): boolean {
  if (kind === 'restore') return (states & HsmStateFlag.RELEASED) === 0;
  return (states & HsmStateFlag.ARCHIVED) !== 0 && (states & HsmStateFlag.DIRTY) === 0;
}

/** Why the coordinator can never do it while the file is in this state; undefined when it may. */
export function refusalOf(kind: RequestKind, file: AskedFile, { states }: HsmState): LhsmError | undefined {
  const has = (flag: number): boolean => (states & flag) !== 0;
  if (kind === 'restore') {
    if (!has(HsmStateFlag.LOST) && has(HsmStateFlag.ARCHIVED)) return undefined;
    return new LhsmError(`${nameOf(file)} is marked as lost: its copy is gone or damaged`, {
      code: 'FILE_LOST',
      op: 'restore',
      errno: errnoNumber('ENODATA'),
      hint: 'Bring the blob back and clear the mark (lfs hsm_clear --lost), or remove the file.',
    });
  }
  if (!has(HsmStateFlag.NOARCHIVE)) return undefined;
  return new LhsmError(`${nameOf(file)} is marked as never to be archived`, {
    code: 'FILE_NOARCHIVE',
    op: 'archive',
    errno: errnoNumber('EPERM'),
    hint: 'lfs hsm_clear --noarchive takes the mark away.',
  });
}

export function nameOf({ path, fid }: Pick<AskedFile, 'path' | 'fid'>): string {
  return path === undefined ? formatFid(fid) : showPath(path);
}

/** What an agent said of an action that failed; whatever it was, the file is not as it was asked to be. */
export function agentFailure(
  kind: RequestKind,
  file: AskedFile,
  { code = 'EIO', errno, reason }: Pick<FinishedEvent, 'code' | 'errno' | 'reason'>,
): LhsmError {
  const why = reason ?? code;
  return new LhsmError(`${kind} of ${nameOf(file)} failed: ${why}`, {
    code,
    op: kind,
    ...(errno > 0 ? { errno } : {}),
  });
}

/** No agent that we hear has said anything, and the coordinator has no action for the file any more. */
export function silentFailure(kind: RequestKind, file: AskedFile): LhsmError {
  return new LhsmError(`${kind} of ${nameOf(file)} failed: the coordinator has given it up`, {
    code: 'REQUEST_FAILED',
    op: kind,
    errno: errnoNumber('EIO'),
    retryable: true,
    hint: 'The log of the agent that had it says why; hsm.actions of the MDS says which. It may have been cancelled, or purged, or timed out, or the file was written meanwhile.',
  });
}

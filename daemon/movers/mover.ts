// The movers' interface: what hsm/action.ts hands to archive.ts, restore.ts and remove.ts once an action has
// begun. Movers move content and attributes; they never begin, progress or end anything.
import type { Logger } from 'pino';
import type { ArchiveContainer } from '../blobs/archive-container.js';
import type { ActionItem, FileLook, Lustre } from '../../native-bindings/lustre.js';
import type { HostOs } from '../../native-bindings/host.js';
import type { Share } from '../share.js';
import type { Ends } from '../stop.js';
import type { TransferCounters, TransferEngine } from '../transfer/transfer.js';

export interface MoverPolicy {
  /** A blob whose ETag is not the pinned one: fail the restore with EIO, or take it if its size fits. */
  readonly restoreChanged: 'fail' | 'accept';
  /** A blob that somebody else wrote or changed at the name of a file to archive. */
  readonly archiveChanged: 'refuse' | 'overwrite';
  /** Whether set-id bits are kept in `permissions` (lossless), or only 01777. */
  readonly keepSetId: boolean;
}

/** What movers need of the rest, the same for every action. */
export interface MoverTools {
  readonly mount: string;
  readonly lustre: Lustre;
  readonly host: HostOs;
  readonly transfer: TransferEngine;
  readonly policy: MoverPolicy;
  /** Calls of our own that may wait for an OST go through it. */
  readonly share: Pick<Share, 'run'>;
}

/** One action to carry out. */
export interface MoverJob {
  readonly item: ActionItem;
  readonly container: ArchiveContainer;
  /** Archive: the file, open for reading. Restore: the new, empty data file, open for writing. Remove: -1. */
  readonly fd: number;
  /** Restore: the file, as it was looked at when the action began (MEMORY_XATTRS); undefined when that is still to be done. */
  readonly look?: FileLook | undefined;
  readonly counters: TransferCounters;
  readonly log: Logger;
  /**
   * To be awaited as soon as size and blob are known, before content moves: waits for room among the bytes in
   * flight, and shows both in the status. Rejects with the signal's reason.
   */
  readonly admit?: (sizeBytes: bigint, blob: string) => Promise<void>;
  /** To be called right before content is asked for: from here on `counters.firstByteMs` counts. */
  readonly asking?: () => void;
}

/** What came of it, for the log line and the metrics. */
export interface MoverOutcome {
  /** The blob's name in full; undefined when the action needed none. */
  readonly blob: string | undefined;
  readonly sizeBytes: bigint;
  /** Things worth a word in the log line that are not failures. */
  readonly notes?: readonly string[];
}

/** Rejects with LhsmError, or with AbortError once `signal` has aborted; leaves no descriptor of its own open. */
export type Mover = (job: MoverJob, tools: MoverTools, signal: Ends) => Promise<MoverOutcome>;

/** The xattr that names a file's blob: `az://<container>/<name>`. */
export const BLOB_XATTR = 'trusted.lhsm_uuid';

/** The xattr that holds the ETag of the version that the file's content is. */
export const ETAG_XATTR = 'trusted.lhsm_etag';

/** How a file's owner is named in a blob's metadata. */
export const FID_METADATA = 'lustre_fid';

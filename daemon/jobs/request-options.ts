// What requester.ts is told, and the patience that it has. The export job and batch restore fill it in.
import type { Lustre } from '../../native-bindings/lustre.js';
import type { AgentEmitter } from '../events.js';
import type { AskedFile, Outcome, RequestKind, RequestNotice } from './asked-file.js';
import type { SharedWindow } from './shared-window.js';

export interface RequesterOptions<T extends AskedFile> {
  readonly mount: string;
  readonly kind: RequestKind;
  /** 0: the file's own, or the coordinator's default. */
  readonly archiveId: number;
  /** Most requests outstanding, from 1 to MAX_WINDOW. */
  readonly window: number;
  /** What others have outstanding counts, too, where they share one. */
  readonly sharedWindow?: SharedWindow;
  /** Goes with every request to whatever agent does the work. Beyond 17 bytes fewer FIDs fit in a request. */
  readonly data?: Buffer;
  /** Called once for every file asked for, aliases included. */
  readonly onSettled: (file: T, outcome: Outcome) => void;
  readonly onNotice?: (notice: RequestNotice) => void;
  /**
   * What becomes of outstanding requests when the signal aborts with this reason: `cancel` them at the coordinator (the
   * default), or `leave` them to the agents, for a job that is taken up again later.
   */
  readonly onAbort?: (reason: unknown) => 'cancel' | 'leave';
  readonly timings?: Partial<RequestTimings>;
}

export interface RequesterTools {
  readonly lustre: Pick<Lustre, 'request' | 'hsmState' | 'currentAction'>;
  /** Of this node's agent, if there is one. */
  readonly events?: Pick<AgentEmitter, 'on'>;
}

export interface RequestTimings {
  /** A file's state is asked for after this long at first, then more and more seldom. */
  readonly pollMinMs: number;
  readonly pollMaxMs: number;
  /** Each is a handful of calls to the MDT. */
  readonly pollsPerSecond: number;
  /** After this long without an end the coordinator is asked whether it still has the request; then more and more seldom. */
  readonly checkAfterMs: number;
  readonly checkMaxMs: number;
  /** Files wait so long for others to fill a request. */
  readonly lingerMs: number;
  /** When nothing has finished for so long, it is told. */
  readonly waitingNoticeMs: number;
  /** Pauses while the coordinator takes no requests. */
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
  /** How long the ends of cancelled requests are waited for. */
  readonly cancelGraceMs: number;
}

export const DEFAULT_TIMINGS: RequestTimings = {
  pollMinMs: 200,
  pollMaxMs: 10_000,
  pollsPerSecond: 1000,
  checkAfterMs: 5000,
  checkMaxMs: 60_000,
  lingerMs: 100,
  waitingNoticeMs: 60_000,
  backoffMinMs: 250,
  backoffMaxMs: 10_000,
  cancelGraceMs: 5000,
};

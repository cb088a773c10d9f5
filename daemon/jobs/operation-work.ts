// What the registry wants of each kind of operation, and how batch restore, release and verify give it.
import { describeError, LhsmError } from '../../native-bindings/errors.js';
import type { AgentEmitter } from '../events.js';
import { redact } from '../redact.js';
import type { TransferEngine } from '../transfer/transfer.js';
import type { RequestNotice } from './asked-file.js';
import { batchRestore, type BatchRestoreTools } from './batch-restore.js';
import type { BatchRestoreNumbers } from './batch-restore-numbers.js';
import type { CopyTools } from './copy-check.js';
import type { Finding } from './finding.js';
import type { OperationFinding, OperationState } from './operation.js';
import type { OperationRequest, ReleaseRequest, RestoreRequest, VerifyRequest } from './operation-request.js';
import { release, type ReleaseNumbers } from './release.js';
import type { RestoreReasons } from './restore-reasons.js';
import type { SharedWindow } from './shared-window.js';
import { verify, type VerifyNumbers } from './verify.js';

export interface WorkProgress {
  readonly counts: Readonly<Record<string, number>>;
  /** What rates are made of. */
  readonly files: number;
  readonly bytes: number;
  readonly etaSeconds?: number;
}

/** What a work tells while it runs. */
export interface WorkHooks {
  readonly progress: (progress: WorkProgress) => void;
  readonly finding: (finding: Omit<OperationFinding, 'time'>) => void;
  readonly notice: (notice: RequestNotice) => void;
}

export interface WorkEnd {
  readonly state: Extract<OperationState, 'complete' | 'partial' | 'failed' | 'canceled'>;
  /** One sentence. */
  readonly message: string;
  readonly progress: WorkProgress;
}

/** Rejects with LhsmError for what fails it as a whole; with the signal's reason, or not, once that has aborted. */
export type OperationWork = (
  request: OperationRequest,
  hooks: WorkHooks,
  signal: AbortSignal,
) => Promise<WorkEnd>;

export interface WorkTools extends CopyTools {
  /** For restores: calls that ask the MDT only, and do not wait behind what hangs at an OST. */
  readonly coordinator: BatchRestoreTools['lustre'];
  readonly transfer: Pick<TransferEngine, 'download'>;
  readonly events: Pick<AgentEmitter, 'on'>;
  /** Of one batch restore; undefined without a logging container. */
  readonly reasons: () => RestoreReasons | undefined;
  readonly sharedWindow: SharedWindow;
  /** `[jobs] window` */
  readonly window: () => number;
  /** For what does not fit into memory. */
  readonly folder: string;
  /** For tests. */
  readonly progressMs?: number;
}

/** The daemon stops, but what the coordinator was asked for goes on: other daemons, or this one when it is back, do it. */
export function stopsOnly(reason: unknown): boolean {
  return reason instanceof LhsmError && reason.code === 'SHUTDOWN';
}

export function operationWork(tools: WorkTools): OperationWork {
  return (request, hooks, signal) => {
    switch (request.kind) {
      case 'restore':
        return restoreWork(request, tools, hooks, signal);
      case 'release':
        return releaseWork(request, tools, hooks, signal);
      case 'verify':
        return verifyWork(request, tools, hooks, signal);
    }
  };
}

async function restoreWork(
  request: RestoreRequest,
  tools: WorkTools,
  hooks: WorkHooks,
  signal: AbortSignal,
): Promise<WorkEnd> {
  const { mount, folder, sharedWindow, coordinator: lustre, events, progressMs } = tools;
  const { paths, filesFrom, newestFirst, bytesLimit, window = tools.window() } = request;
  const options = {
    mount,
    paths,
    newestFirst,
    stateDir: folder,
    window,
    sharedWindow,
    ...(filesFrom === undefined ? {} : { filesFrom }),
    ...(bytesLimit === undefined ? {} : { bytesLimit: BigInt(bytesLimit) }),
    ...(progressMs === undefined ? {} : { progressMs }),
  };
  const reasons = tools.reasons();
  const result = await batchRestore(
    options,
    { lustre, events, ...(reasons ? { reasons } : {}) },
    {
      onFinding: (finding) => {
        hooks.finding(told(finding));
      },
      onNotice: hooks.notice,
      onProgress: ({ etaSeconds, ...numbers }) => {
        const progress = restoreProgress(numbers, window);
        hooks.progress({ ...progress, ...(etaSeconds === undefined ? {} : { etaSeconds }) });
      },
      onAbort: (reason) => (stopsOnly(reason) ? 'leave' : 'cancel'),
    },
    signal,
  );
  return { state: result.result, message: restoreMessage(result), progress: restoreProgress(result, window) };
}

function restoreProgress(numbers: BatchRestoreNumbers, window: number): WorkProgress {
  const { discovered, discoveredBytes, asked, done, doneBytes, failed, canceled, vanished } = numbers;
  const { skipped, left, leftBytes, outstanding, limit, maxQueue } = numbers;
  return {
    counts: {
      discovered,
      discoveredBytes: Number(discoveredBytes),
      asked,
      done,
      doneBytes: Number(doneBytes),
      failed,
      skipped,
      vanished,
      canceled,
      left,
      leftBytes: Number(leftBytes),
      outstanding,
      limit,
      window,
      maxQueue,
    },
    files: done,
    bytes: Number(doneBytes),
  };
}

function restoreMessage({ done, failed, left, outstanding, canceled }: BatchRestoreNumbers): string {
  return [
    `${files(done)} restored`,
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(canceled > 0 ? [`${canceled} requests canceled`] : []),
    ...(left > 0 ? [`${left} left out by the limit of bytes`] : []),
    ...(outstanding > 0
      ? [`${outstanding} requests stay at the coordinator, and agents go on with them`]
      : []),
  ].join(', ');
}

async function releaseWork(
  request: ReleaseRequest,
  tools: WorkTools,
  hooks: WorkHooks,
  signal: AbortSignal,
): Promise<WorkEnd> {
  const { paths, dryRun, olderThanSeconds, minSizeBytes } = request;
  const numbers = await release(
    {
      paths,
      dryRun,
      ...(olderThanSeconds === undefined ? {} : { olderThanMs: olderThanSeconds * 1000 }),
      ...(minSizeBytes === undefined ? {} : { minSizeBytes: BigInt(minSizeBytes) }),
    },
    tools,
    {
      onFinding: (finding) => {
        hooks.finding(told(finding));
      },
      onReleased: (path, sizeBytes) => {
        if (!dryRun) return;
        hooks.finding({
          severity: 'item',
          code: 'WOULD_RELEASE',
          path: pathText(path),
          message: `would be released: ${sizeBytes} bytes`,
        });
      },
      onProgress: (now) => {
        hooks.progress(releaseProgress(now));
      },
    },
    signal,
  );
  const { released, refused } = numbers;
  const verb = dryRun ? 'would be released' : 'released';
  return {
    state: refused === 0 ? 'complete' : released === 0 ? 'failed' : 'partial',
    message: `${files(released)} ${verb}${refused > 0 ? `, ${refused} refused` : ''}`,
    progress: releaseProgress(numbers),
  };
}

function releaseProgress({ releasedBytes, ...numbers }: Readonly<ReleaseNumbers>): WorkProgress {
  const bytes = Number(releasedBytes);
  return { counts: { ...numbers, releasedBytes: bytes }, files: numbers.files, bytes };
}

async function verifyWork(
  request: VerifyRequest,
  tools: WorkTools,
  hooks: WorkHooks,
  signal: AbortSignal,
): Promise<WorkEnd> {
  const numbers = await verify(
    request,
    tools,
    {
      onFinding: (finding) => {
        hooks.finding(told(finding));
      },
      onProgress: (now) => {
        hooks.progress(verifyProgress(now));
      },
    },
    signal,
  );
  const { checked, errors, warnings, repaired } = numbers;
  const found = errors + warnings === 0 ? 'nothing wrong' : `${errors} errors, ${warnings} warnings`;
  return {
    state: errors === 0 ? 'complete' : 'partial',
    message: `${files(checked)} compared: ${found}${repaired > 0 ? `, ${repaired} marked` : ''}`,
    progress: verifyProgress(numbers),
  };
}

function verifyProgress({ contentBytes, ...numbers }: Readonly<VerifyNumbers>): WorkProgress {
  const bytes = Number(contentBytes);
  return { counts: { ...numbers, contentBytes: bytes }, files: numbers.files, bytes };
}

function files(count: number): string {
  return `${count} ${count === 1 ? 'file' : 'files'}`;
}

function told({
  path,
  code,
  severity,
  message,
  hint,
  errno,
  repaired,
}: Finding): Omit<OperationFinding, 'time'> {
  return {
    severity,
    code,
    ...(path === undefined ? {} : { path: pathText(path) }),
    message: redact(message),
    ...(hint === undefined ? {} : { hint }),
    errno,
    ...(repaired === undefined ? {} : { repaired }),
  };
}

/** The whole path; bytes that are no UTF-8 as `\xNN`. */
function pathText(path: Buffer): string {
  const text = path.toString('utf8');
  if (Buffer.from(text, 'utf8').equals(path)) return text;
  return path
    .toString('latin1')
    .replace(/[^ -~]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** For the document of an operation that failed as a whole. */
export function failureOf(error: unknown): { errorCode: string; errorMessage: string; hint?: string } {
  if (!(error instanceof LhsmError)) {
    return { errorCode: 'INTERNAL', errorMessage: redact(describeError(error)) };
  }
  const { code, message, hint } = error;
  return { errorCode: code, errorMessage: redact(message), ...(hint === undefined ? {} : { hint }) };
}

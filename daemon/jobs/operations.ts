// The operations of a daemon: starts them, answers for those that run and the last that ran. Nothing of it survives the daemon
// but the logs. agent-operations.ts makes one, the admin API asks it.
import { constants } from 'node:fs';
import { access, readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Logger } from 'pino';
import { LhsmError, systemErrorName } from '../../native-bindings/errors.js';
import { isOver, LIST_PREFIX, type OperationDocument, type OperationNotice } from './operation.js';
import { loggedIds, OperationLog, readOperationLog, tidyLogs, unknownOperation } from './operation-log.js';
import type { OperationRequest } from './operation-request.js';
import type { OperationWork } from './operation-work.js';
import { RunningOperation } from './running-operation.js';
import { PathResolver } from './walked-file.js';

export interface OperationsOptions {
  readonly mount: string;
  /** Of `operationsFolder`. */
  readonly folder: string;
  readonly work: OperationWork;
  readonly log: Logger;
  /** Ended ones that are kept, and logs. */
  readonly keep?: number;
}

const MAX_RUNNING = 16;
const KEEP = 50;
/** How long a stopping daemon waits for their ends. */
const CLOSE_MS = 10_000;

export class Operations {
  readonly #options: OperationsOptions;
  /** The oldest first. */
  readonly #all = new Map<string, RunningOperation>();
  readonly #ends = new Set<Promise<void>>();
  #number: number;
  #closing = false;

  constructor(options: OperationsOptions) {
    this.#options = options;
    // Numbers go on, so that no log of a former daemon is written over.
    this.#number = loggedIds(options.folder)[0]?.number ?? 0;
    void removeLists(options.folder);
  }

  /** Where logs lie, and lists for `filesFrom` may be put. */
  get folder(): string {
    return this.#options.folder;
  }

  /** The newest first. */
  get list(): readonly OperationDocument[] {
    return [...this.#all.values()].map(({ document }) => document).reverse();
  }

  /** What keeps running ones from going on, each with its id. */
  get troubles(): readonly (OperationNotice & { readonly id: string })[] {
    return [...this.#all.values()].flatMap(({ id, trouble }) => (trouble ? [{ ...trouble, id }] : []));
  }

  /**
   * Begins an operation. Rejects with LhsmError for paths of no use (PATH_OUTSIDE_MOUNT, PATH_INVALID, PATH_UNUSABLE), and with
   * OPERATIONS_BUSY, OPERATION_LOG, NOT_SERVING.
   */
  async start(request: OperationRequest): Promise<OperationDocument> {
    this.#refuseIfBusy();
    await checkPaths(request, this.#options.mount);
    this.#refuseIfBusy();
    const { folder, mount, work, log, keep = KEEP } = this.#options;
    this.#number += 1;
    const id = `${request.kind}-${this.#number}`;
    const operation = new RunningOperation(id, request, mount, new OperationLog(folder, id));
    this.#all.set(id, operation);
    log.info({ operation: id, request }, 'an operation begins');
    const end = this.#run(operation, work).finally(() => this.#ends.delete(end));
    this.#ends.add(end);
    const over = [...this.#all.values()].filter(({ isOver: ended }) => ended);
    for (const old of over.slice(0, Math.max(0, over.length - keep))) this.#all.delete(old.id);
    tidyLogs(folder, keep, (logged) => this.#all.has(logged));
    return operation.document;
  }

  /** Throws LhsmError OPERATION_UNKNOWN. */
  show(id: string): OperationDocument {
    return this.#find(id).document;
  }

  /** Resolves to its document at once, not when it has ended. Throws LhsmError OPERATION_UNKNOWN. */
  cancel(id: string): OperationDocument {
    const operation = this.#find(id);
    operation.cancel(new LhsmError(`The operation ${id} is canceled.`, { code: 'ECANCELED', op: id }));
    return operation.document;
  }

  /** As JSON lines, to its end as it is now; that of a former daemon, too. Throws LhsmError OPERATION_UNKNOWN. */
  log(id: string, signal: AbortSignal): AsyncIterable<Uint8Array> {
    this.#all.get(id)?.log.flush();
    return readOperationLog(this.folder, id, signal);
  }

  /** Cancels what runs. What restores have asked the coordinator for stays there: other agents go on with it. */
  async close(): Promise<void> {
    this.#closing = true;
    const reason = new LhsmError('the daemon stops', { code: 'SHUTDOWN', op: 'operation', errno: 11 });
    for (const operation of this.#all.values()) operation.cancel(reason);
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise((resolve) => (timer = setTimeout(resolve, CLOSE_MS)));
    await Promise.race([Promise.all(this.#ends), patience]);
    clearTimeout(timer);
  }

  #find(id: string): RunningOperation {
    const operation = this.#all.get(id);
    if (!operation) throw unknownOperation(id);
    return operation;
  }

  #refuseIfBusy(): void {
    if (this.#closing) {
      throw new LhsmError('the daemon stops', { code: 'NOT_SERVING', op: 'start operation', errno: 11 });
    }
    const running = [...this.#all.values()].filter((each) => !each.isOver);
    if (running.length < MAX_RUNNING) return;
    throw new LhsmError(`${running.length} operations run already`, {
      code: 'OPERATIONS_BUSY',
      op: 'start operation',
      errno: 16,
      retryable: true,
      hint: 'Wait for one, or cancel one: lhsm-azblob operations list',
    });
  }

  async #run(operation: RunningOperation, work: OperationWork): Promise<void> {
    await operation.run(work);
    const { id, state, message, counts } = operation.document;
    const level = isOver(state) && state !== 'failed' ? 'info' : 'error';
    this.#options.log[level]({ operation: id, state, counts }, `an operation has ended: ${message}`);
    const { request } = operation;
    const list = request.kind === 'restore' ? request.filesFrom : undefined;
    if (list !== undefined && this.#isOurs(list)) await rm(list, { force: true }).catch(() => undefined);
  }

  #isOurs(list: string): boolean {
    return dirname(list) === this.folder && basename(list).startsWith(LIST_PREFIX);
  }
}

/** Before anything begins: who does not wait must hear of a mistake as well. */
async function checkPaths(request: OperationRequest, mount: string): Promise<void> {
  const resolver = new PathResolver(mount);
  for (const path of request.paths) {
    try {
      await resolver.resolve(path);
    } catch (error) {
      if (error instanceof LhsmError && error.code.startsWith('PATH_')) throw error;
      throw unusable(path, error);
    }
  }
  const list = request.kind === 'restore' ? request.filesFrom : undefined;
  if (list === undefined) return;
  try {
    await access(list, constants.R_OK);
  } catch (error) {
    throw unusable(list, error);
  }
}

function unusable(path: string, cause: unknown): LhsmError {
  return new LhsmError(`${JSON.stringify(path)} cannot be looked at: ${systemErrorName(cause)}`, {
    code: 'PATH_UNUSABLE',
    op: 'path',
    errno: cause instanceof LhsmError ? cause.errno : 2,
    hint: 'Give a path that is there, and that the daemon may read.',
    cause,
  });
}

/** Lists of commands that asked a former daemon. */
async function removeLists(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names) {
    if (name.startsWith(LIST_PREFIX)) await rm(join(folder, name), { force: true }).catch(() => undefined);
  }
}

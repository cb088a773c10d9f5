// What an operation finds: the last of it in memory, all of it as JSON lines in the state directory. operations.ts makes one for
// each operation.
import { closeSync, createReadStream, mkdirSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { LhsmError, systemErrorName } from '../../native-bindings/errors.js';
import { escapeMount } from '../config/mount-name.js';
import { isOperationId, RECENT_FINDINGS, type OperationFinding } from './operation.js';

/** Written together: synchronously, as the journal, for who finds does not wait. */
const CHUNK_BYTES = 64 * 1024;
const FLUSH_MS = 1000;

/** The folder of a mount's operations. */
export function operationsFolder(stateDir: string, mount: string): string {
  return join(stateDir, escapeMount(mount), 'operations');
}

export function logPath(folder: string, id: string): string {
  return join(folder, `${id}.jsonl`);
}

export class OperationLog {
  readonly path: string;
  readonly #fd: number;
  readonly #recent: OperationFinding[] = [];
  readonly #timer: NodeJS.Timeout;
  #count = 0;
  #pending: string[] = [];
  #pendingBytes = 0;
  #closed = false;
  #failure: LhsmError | undefined;

  /** Throws LhsmError OPERATION_LOG when the file cannot be made. */
  constructor(folder: string, id: string) {
    this.path = logPath(folder, id);
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      this.#fd = openSync(this.path, 'w', 0o600);
    } catch (error) {
      throw this.#trouble(error);
    }
    this.#timer = setInterval(() => {
      this.flush();
    }, FLUSH_MS).unref();
  }

  /** Errors and warnings; what a dry run would do does not count. */
  get count(): number {
    return this.#count;
  }

  get recent(): readonly OperationFinding[] {
    return [...this.#recent];
  }

  /** Why the file is not complete; undefined while it is. */
  get failure(): LhsmError | undefined {
    return this.#failure;
  }

  add(finding: OperationFinding): void {
    if (finding.severity !== 'item') {
      this.#count += 1;
      this.#recent.push(finding);
      if (this.#recent.length > RECENT_FINDINGS) this.#recent.shift();
    }
    const line = `${JSON.stringify(finding)}\n`;
    this.#pending.push(line);
    this.#pendingBytes += line.length;
    if (this.#pendingBytes >= CHUNK_BYTES) this.flush();
  }

  /** Writes what is pending; whoever reads the file may do it first. */
  flush(): void {
    if (this.#pending.length === 0 || this.#closed) return;
    const bytes = Buffer.from(this.#pending.join(''));
    this.#pending = [];
    this.#pendingBytes = 0;
    try {
      for (let at = 0; at < bytes.length;) at += writeSync(this.#fd, bytes, at);
    } catch (error) {
      // The operation goes on: what it does matters more than the list, and it is told.
      this.#failure ??= this.#trouble(error);
    }
  }

  close(): void {
    clearInterval(this.#timer);
    this.flush();
    this.#closed = true;
    closeSync(this.#fd);
  }

  #trouble(cause: unknown): LhsmError {
    return new LhsmError(`The log ${this.path} cannot be written (${systemErrorName(cause)}).`, {
      code: 'OPERATION_LOG',
      op: 'operation log',
      hint: 'Make state_dir a folder on a local disk with free space that the daemon may write.',
      cause,
    });
  }
}

/** A log that was written, to its end as it is now. Throws LhsmError OPERATION_UNKNOWN before the first byte. */
export async function* readOperationLog(
  folder: string,
  id: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* createReadStream(logPath(folder, id), { signal }) as AsyncIterable<Buffer>;
  } catch (error) {
    signal.throwIfAborted();
    if (systemErrorName(error) === 'ENOENT') throw unknownOperation(id);
    throw error;
  }
}

export function unknownOperation(id: string): LhsmError {
  return new LhsmError(`There is no operation ${id}.`, {
    code: 'OPERATION_UNKNOWN',
    op: 'operations',
    errno: 2,
    hint: 'Operations end with their daemon. See those that there are: lhsm-azblob operations list',
  });
}

/** The numbers of the logs that lie there, of former daemons too, the highest first. */
export function loggedIds(folder: string): { readonly id: string; readonly number: number }[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return [];
  }
  return names
    .filter((name) => name.endsWith('.jsonl'))
    .map((name) => name.slice(0, -'.jsonl'.length))
    .filter(isOperationId)
    .map((id) => ({ id, number: Number(id.slice(id.indexOf('-') + 1)) }))
    .sort((one, other) => other.number - one.number);
}

/** Removes logs beyond the newest, and lists that nobody reads any more. Never throws: it is only tidying. */
export function tidyLogs(folder: string, keep: number, inUse: (id: string) => boolean): void {
  for (const { id } of loggedIds(folder).slice(keep)) {
    if (!inUse(id)) rmSync(logPath(folder, id), { force: true });
  }
}

// Which job this daemon runs, kept on the local disk: after a restart it takes up its own job, under its own lease. The
// runner writes it when a job starts and clears it at the end.
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { LhsmError, systemErrorName } from '../../native-bindings/errors.js';
import { escapeMount } from '../config/mount-name.js';
import { syncFolder, writeAll } from '../durable.js';
import { JOB_KINDS, type JobKind } from './job.js';

export interface CurrentJob {
  readonly name: string;
  readonly kind: JobKind;
  readonly id: string;
  readonly leaseId: string;
}

export type FoundState =
  | { readonly current: CurrentJob | undefined; readonly damaged?: undefined }
  /** The file could not be read for a job, and now stands at this path. */
  | { readonly current: undefined; readonly damaged: string };

/** The folder of a mount's jobs. */
export function jobsFolder(stateDir: string, mount: string): string {
  return join(stateDir, escapeMount(mount), 'jobs');
}

/** `<state_dir>/<mount>/jobs/current.json`. Calls are synchronous, as the journal's: a few hundred bytes, twice a job. */
export class LocalState {
  readonly folder: string;
  readonly #path: string;

  /** `folder`: of `jobsFolder`. */
  constructor(folder: string) {
    this.folder = folder;
    this.#path = join(folder, 'current.json');
  }

  /** A file that is damaged is moved aside. Throws LhsmError JOB_STATE when the folder cannot be used. */
  read(): FoundState {
    return this.#guard('read', () => {
      let text: string;
      try {
        text = readFileSync(this.#path, 'utf8');
      } catch (error) {
        if (systemErrorName(error) === 'ENOENT') return { current: undefined };
        throw error;
      }
      const current = parse(text);
      if (current) return { current };
      const damaged = `${this.#path}.damaged`;
      renameSync(this.#path, damaged);
      syncFolder(this.folder);
      return { current: undefined, damaged };
    });
  }

  /** On return it survives a power failure. Throws LhsmError JOB_STATE. */
  write(current: CurrentJob): void {
    this.#guard('write', () => {
      mkdirSync(this.folder, { recursive: true, mode: 0o700 });
      const temporary = `${this.#path}.tmp`;
      const fd = openSync(temporary, 'w', 0o600);
      try {
        const bytes = Buffer.from(`${JSON.stringify(current)}\n`);
        writeAll(fd, bytes);
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
      renameSync(temporary, this.#path);
      syncFolder(this.folder);
    });
  }

  /** Throws LhsmError JOB_STATE. */
  clear(): void {
    this.#guard('clear', () => {
      try {
        rmSync(this.#path);
      } catch (error) {
        if (systemErrorName(error) === 'ENOENT') return;
        throw error;
      }
      syncFolder(this.folder);
    });
  }

  #guard<T>(op: string, run: () => T): T {
    try {
      return run();
    } catch (cause) {
      throw new LhsmError(`Cannot ${op} the state of jobs, ${this.#path} (${systemErrorName(cause)}).`, {
        code: 'JOB_STATE',
        op: `job state ${op}`,
        hint: 'Make state_dir a folder on a local disk with free space that the daemon may write.',
        cause,
      });
    }
  }
}

function parse(text: string): CurrentJob | undefined {
  try {
    const { name, kind, id, leaseId } = JSON.parse(text) as Record<string, unknown>;
    if (typeof name !== 'string' || typeof id !== 'string' || typeof leaseId !== 'string') return undefined;
    if (!JOB_KINDS.includes(kind as JobKind)) return undefined;
    return { name, kind: kind as JobKind, id, leaseId };
  } catch {
    return undefined;
  }
}

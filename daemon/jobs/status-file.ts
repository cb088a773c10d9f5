// What users of the file system see of a job: a small file `IMPORT_<state>.<start>` in the root, renamed as the state
// changes, gone when all went well. The runner keeps it.
import { open, readdir, rename, unlink } from 'node:fs/promises';
import { constants } from 'node:fs';
import { join } from 'node:path';
import { hasCode } from '../../native-bindings/errors.js';
import type { JobDocument } from './job.js';

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;

/** Whether a name in the root of the file system is such a file: exports leave it out. */
export function isStatusFile(name: string): boolean {
  return /^(?:IMPORT|EXPORT)_[A-Za-z]{1,20}\.\d{8}T\d{6}Z$/.test(name);
}

/** `2026-11-27T22:15:00.000Z` → `20261127T221500Z` */
export function compactTime(iso: string): string {
  return iso.replace(/[-:]|\.\d+/g, '');
}

/** Nobody's work depends on it: errors are for the caller's log. */
export class StatusFile {
  readonly #mount: string;
  readonly #kind: string;
  readonly #start: string;

  constructor(mount: string, { kind, lastStartedTime }: Pick<JobDocument, 'kind' | 'lastStartedTime'>) {
    this.#mount = mount;
    this.#kind = kind.toUpperCase();
    this.#start = compactTime(lastStartedTime);
  }

  #path(state: string): string {
    return join(this.#mount, `${this.#kind}_${state}.${this.#start}`);
  }

  /** The file as it is now, whatever state it names: one that a dead process has left is found as well. */
  async #present(): Promise<string | undefined> {
    const begin = `${this.#kind}_`;
    const names = await readdir(this.#mount);
    const name = names.find((one) => one.startsWith(begin) && one.endsWith(`.${this.#start}`));
    return name === undefined ? undefined : join(this.#mount, name);
  }

  /** Gives the file the name of the document's state, and what it says. */
  async show(document: JobDocument): Promise<void> {
    const path = this.#path(document.state);
    const before = await this.#present();
    if (before !== undefined && before !== path) await rename(before, path);
    const flags = before === undefined ? O_CREAT | O_EXCL : 0;
    const file = await open(path, flags | O_WRONLY | O_NOFOLLOW, 0o644);
    try {
      await file.truncate(0);
      await file.writeFile(text(document));
    } finally {
      await file.close();
    }
  }

  async remove(): Promise<void> {
    const path = await this.#present();
    if (path === undefined) return;
    await unlink(path).catch((error: unknown) => {
      if (!hasCode(error, 'ENOENT')) throw error;
    });
  }
}

function text(document: JobDocument): string {
  const { kind, name, state, statusMessage, holder, lastStartedTime, errorCode, errorMessage } = document;
  const lines = [
    `${kind} ${name}: ${state}`,
    statusMessage,
    ...(errorCode === undefined ? [] : [`${errorCode}: ${errorMessage ?? ''}`]),
    `Started ${lastStartedTime} on ${holder.host}. More: lhsm-azblob jobs show ${name}; lhsm-azblob jobs log ${name}`,
  ];
  return `${lines.join('\n')}\n`;
}

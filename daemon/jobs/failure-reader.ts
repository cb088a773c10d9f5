// Reads what the agents of all nodes have left of the failures of a job or batch restore, as it comes. export-requests.ts and
// restore-reasons.ts run one while files are outstanding.
import type { Logger } from 'pino';
import { parseFid } from '../../native-bindings/lustre.js';
import { Bell } from './bell.js';
import { isRestoreId, notesPrefix, type FailureNote } from './failure-notes.js';
import type { StoreContainer } from './job-store.js';

export interface FailureReaderOptions {
  readonly container: Pick<StoreContainer, 'list' | 'readFrom' | 'delete'>;
  readonly fileSystem: string;
  /** As `requestTag` has it. */
  readonly jobId: string;
  readonly onNote: (note: FailureNote) => void;
  readonly log: Logger;
  readonly pollMs?: number;
}

const POLL_MS = 2000;
/** Of batch restores: no agent has added to it for so long, so nobody waits for it. */
const STALE_MS = 7 * 24 * 3_600_000;
/** A line that is longer is none of ours. */
const MAX_LINE_BYTES = 64 << 10;

interface Followed {
  at: number;
  rest: Buffer;
}

export class FailureReader {
  readonly #options: FailureReaderOptions;
  readonly #followed = new Map<string, Followed>();
  #complained = false;

  constructor(options: FailureReaderOptions) {
    this.#options = options;
  }

  /** What this job's own requests have left already is known, and not told. Never rejects. */
  async skip(signal: AbortSignal): Promise<void> {
    await this.#quietly(signal, () => this.#look(signal, () => undefined));
  }

  /** Deletes what others have left, and nobody reads any more. Never rejects. */
  async tidy(signal: AbortSignal): Promise<void> {
    const { container, fileSystem, jobId } = this.#options;
    await this.#quietly(signal, async () => {
      const all = notesPrefix(fileSystem);
      for await (const { name, lastModified } of container.list(all, signal)) {
        const [id = ''] = name.slice(all.length).split('/');
        if (id === jobId) continue;
        // There is one job at a time, so what others have left is old; batch restores run side by side.
        const isOver = isRestoreId(id) ? Date.now() - lastModified.getTime() > STALE_MS : !isRestoreId(jobId);
        if (isOver) await container.delete(name, signal);
      }
    });
  }

  /** Tells what comes, until the signal aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const bell = new Bell();
    for (;;) {
      await bell.wait(this.#options.pollMs ?? POLL_MS, signal);
      if (signal.aborted) return;
      await this.#quietly(signal, () => this.#look(signal, this.#options.onNote));
    }
  }

  /** Deletes its own notes. Never rejects. */
  async clear(signal: AbortSignal): Promise<void> {
    const { container, fileSystem, jobId } = this.#options;
    await this.#quietly(signal, async () => {
      for await (const { name } of container.list(notesPrefix(fileSystem, jobId), signal)) {
        await container.delete(name, signal);
      }
    });
  }

  /** Reasons are not worth a job; the agents' logs have them, too. */
  async #quietly(signal: AbortSignal, work: () => Promise<void>): Promise<void> {
    try {
      await work();
      this.#complained = false;
    } catch (error) {
      if (signal.aborted || this.#complained) return;
      this.#complained = true;
      this.#options.log.warn({ err: error }, 'what agents say of failures cannot be read');
    }
  }

  async #look(signal: AbortSignal, tell: (note: FailureNote) => void): Promise<void> {
    const { container, fileSystem, jobId } = this.#options;
    for await (const { name } of container.list(notesPrefix(fileSystem, jobId), signal)) {
      const followed = this.#followed.get(name) ?? { at: 0, rest: Buffer.alloc(0) };
      this.#followed.set(name, followed);
      for await (const bytes of container.readFrom(name, followed.at, signal)) {
        followed.at += bytes.length;
        for (const note of take(followed, bytes)) tell(note);
      }
    }
  }
}

/** Notes of the lines that are complete now. */
function take(followed: Followed, bytes: Buffer): FailureNote[] {
  const all = Buffer.concat([followed.rest, bytes]);
  const end = all.lastIndexOf(10) + 1;
  const rest = all.subarray(end);
  followed.rest = rest.length > MAX_LINE_BYTES ? Buffer.alloc(0) : Buffer.from(rest);
  return all
    .toString('utf8', 0, end)
    .split('\n')
    .flatMap((line) => parseNote(line) ?? []);
}

/** Undefined for what no agent has written. */
export function parseNote(line: string): FailureNote | undefined {
  try {
    const { fid, code, errno, message, time, retry } = JSON.parse(line) as Record<string, unknown>;
    if (typeof fid !== 'string' || !parseFid(fid) || typeof code !== 'string') return undefined;
    if (!Number.isInteger(errno) || typeof message !== 'string') return undefined;
    return { fid, code, errno: Number(errno), message, time: String(time), ...(retry === true && { retry }) };
  } catch {
    return undefined;
  }
}

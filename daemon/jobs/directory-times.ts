// Modification times that directories are to have at the end of an import: making children moves them. They wait in a
// file on the local disk, so that memory does not grow with the number of directories. import.ts writes and applies it.
import { createReadStream } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { createInterface } from 'node:readline';

/** Lines held in memory before they are written. */
const MAX_WAITING = 1000;

/**
 * Append-only: a resume may note a directory again, the last time counts. Paths may be any bytes, so they stand in
 * base64; a dot ends each, so that half a path is not taken for another.
 */
export class DirectoryTimes {
  readonly #file: FileHandle;
  readonly #path: string;
  #waiting: string[] = [];
  #writing: Promise<void> = Promise.resolve();

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  /** Opens what a former process has left, or begins. */
  static async open(path: string): Promise<DirectoryTimes> {
    const file = await open(path, 'a', 0o600);
    const times = new DirectoryTimes(path, file);
    // Half a line may stand at the end: what comes must not become a part of it.
    if ((await file.stat()).size > 0) times.#waiting.push('\n');
    return times;
  }

  /** `path` is relative to the mount. */
  note(path: Buffer, mtimeNs: bigint): void {
    this.#waiting.push(`${mtimeNs} ${path.toString('base64')}.\n`);
    if (this.#waiting.length >= MAX_WAITING) void this.flush().catch(() => undefined);
  }

  /** Resolves when all that was noted is in the file: before a checkpoint is. Rejects with what kept it from there. */
  flush(): Promise<void> {
    const lines = this.#waiting;
    this.#waiting = [];
    this.#writing = this.#writing.then(async () => {
      if (lines.length > 0) await this.#file.appendFile(lines.join(''));
    });
    return this.#writing;
  }

  /** All that was noted, in order. Half a line, of a process that was killed, is left out: its page is done again. */
  async *entries(): AsyncGenerator<{ readonly path: Buffer; readonly mtimeNs: bigint }> {
    await this.flush();
    const input = createReadStream(this.#path, 'latin1');
    try {
      for await (const line of createInterface({ input, crlfDelay: Infinity })) {
        const match = /^(-?\d+) ([A-Za-z0-9+/]+=*)\.$/.exec(line);
        if (match) yield { mtimeNs: BigInt(match[1] ?? 0), path: Buffer.from(match[2] ?? '', 'base64') };
      }
    } finally {
      // Whoever stops half way has closed the interface only.
      input.destroy();
    }
  }

  async close(): Promise<void> {
    await this.flush().finally(() => this.#file.close());
  }
}

// What an export's walk has found, in a file of the job's scratch folder, so that memory does not grow with the tree: written
// once from beginning to end, then read in chunks from any of their beginnings. export.ts and export-scan.ts use it.
import { open, type FileHandle } from 'node:fs/promises';
import { LhsmError, systemErrorName } from '../../native-bindings/errors.js';
import { formatFid, parseFid, type Fid } from '../../native-bindings/lustre.js';
import type { LogEntry } from './job.js';

/** A file to be archived. */
export interface SpooledExport {
  readonly kind: 'file';
  readonly fid: Fid;
  /** As it was when it was found. */
  readonly sizeBytes: bigint;
  readonly mtimeNs: bigint;
  /** Relative to the mount. */
  readonly path: Buffer;
}

/** A directory or a symbolic link: attributes, and a target, for a blob. */
export interface SpooledName {
  readonly kind: 'directory' | 'symlink';
  readonly path: Buffer;
}

/** Something for the report, counted already. */
export interface SpooledEntry {
  readonly kind: 'entry';
  readonly entry: LogEntry;
}

export type SpoolRecord = SpooledExport | SpooledName | SpooledEntry;

/** Records that lie one behind the other: bytes `start` to `end` of the file. */
export interface SpoolChunk {
  readonly start: number;
  readonly end: number;
  readonly records: readonly SpoolRecord[];
}

/** What a restart looks at again, and what is held in memory of each chunk under way. */
export const CHUNK_RECORDS = 256;

const WRITE_BYTES = 256 << 10;
const READ_BYTES = 64 << 10;

const base64 = (bytes: Buffer | string): string => Buffer.from(bytes).toString('base64');

/** One line; a dot ends it, so that half a line is not taken for a whole one. Paths may be any bytes. */
export function spoolLine(record: SpoolRecord): string {
  switch (record.kind) {
    case 'file':
      return `F ${formatFid(record.fid)} ${record.sizeBytes} ${record.mtimeNs} ${base64(record.path)}.\n`;
    case 'directory':
      return `D ${base64(record.path)}.\n`;
    case 'symlink':
      return `L ${base64(record.path)}.\n`;
    case 'entry':
      return `E ${base64(JSON.stringify(record.entry))}.\n`;
  }
}

const linePattern =
  /^(?:F (\[[0-9a-fx:]+\]) (\d+) (-?\d+)|([DLE])) ((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)\.$/;

/** Undefined for what `spoolLine` has not made, the beginning of a line included. */
export function parseSpoolLine(line: string): SpoolRecord | undefined {
  const match = linePattern.exec(line);
  if (!match) return undefined;
  const [, fidText, size, mtime, kind, text = ''] = match;
  const bytes = Buffer.from(text, 'base64');
  if (kind === 'D' || kind === 'L') return { kind: kind === 'D' ? 'directory' : 'symlink', path: bytes };
  if (kind === 'E') return { kind: 'entry', entry: JSON.parse(bytes.toString()) as LogEntry };
  const fid = parseFid(fidText ?? '');
  if (!fid) return undefined;
  return { kind: 'file', fid, sizeBytes: BigInt(size ?? 0), mtimeNs: BigInt(mtime ?? 0), path: bytes };
}

/** Rejects with LhsmError JOB_STATE throughout. */
export class ExportSpool {
  readonly #path: string;
  readonly #file: FileHandle;
  #waiting: string[] = [];
  #waitingBytes = 0;
  #sizeBytes: number;

  private constructor(path: string, file: FileHandle, sizeBytes: number) {
    this.#path = path;
    this.#file = file;
    this.#sizeBytes = sizeBytes;
  }

  /** An empty one, whatever a former process has left half done. */
  static async create(path: string): Promise<ExportSpool> {
    return new ExportSpool(path, await guarded('make', path, () => open(path, 'w+', 0o600)), 0);
  }

  /** One that was finished with so many bytes; undefined when it is not there, or is another. */
  static async reopen(path: string, sizeBytes: number): Promise<ExportSpool | undefined> {
    let file: FileHandle;
    try {
      file = await open(path, 'r');
    } catch (error) {
      if (systemErrorName(error) === 'ENOENT') return undefined;
      throw stateError('read', path, error);
    }
    const { size } = await guarded('read', path, () => file.stat());
    if (size === sizeBytes) return new ExportSpool(path, file, sizeBytes);
    await file.close();
    return undefined;
  }

  /** Including what is not written yet. */
  get sizeBytes(): number {
    return this.#sizeBytes + this.#waitingBytes;
  }

  /** One caller at a time. */
  async add(records: readonly SpoolRecord[]): Promise<void> {
    for (const record of records) {
      const line = spoolLine(record);
      this.#waiting.push(line);
      this.#waitingBytes += line.length;
    }
    if (this.#waitingBytes >= WRITE_BYTES) await this.#write();
  }

  /** Resolves when everything survives a power failure. */
  async finish(): Promise<void> {
    await this.#write();
    await guarded('write', this.#path, () => this.#file.sync());
  }

  async #write(): Promise<void> {
    // Lines are ASCII.
    const bytes = Buffer.from(this.#waiting.join(''), 'latin1');
    this.#waiting = [];
    this.#waitingBytes = 0;
    await guarded('write', this.#path, async () => {
      for (let done = 0; done < bytes.length;) {
        const at = this.#sizeBytes + done;
        done += (await this.#file.write(bytes, done, bytes.length - done, at)).bytesWritten;
      }
    });
    this.#sizeBytes += bytes.length;
  }

  /** Chunks of at most so many records between two positions; what is not written yet is left out. */
  async *chunks(start: number, end: number, maxRecords: number): AsyncGenerator<SpoolChunk, void, undefined> {
    let records: SpoolRecord[] = [];
    let from = start;
    let at = start;
    let rest: Buffer = Buffer.alloc(0);
    for (let readAt = start; readAt < end;) {
      const bytes = await this.#read(readAt, Math.min(READ_BYTES, end - readAt));
      readAt += bytes.length;
      rest = Buffer.concat([rest, bytes]);
      for (let newline = rest.indexOf(10); newline !== -1; newline = rest.indexOf(10)) {
        const record = parseSpoolLine(rest.toString('latin1', 0, newline));
        if (!record) throw this.#damaged(at);
        records.push(record);
        rest = rest.subarray(newline + 1);
        at += newline + 1;
        if (records.length < maxRecords) continue;
        yield { start: from, end: at, records };
        records = [];
        from = at;
      }
    }
    if (rest.length > 0) throw this.#damaged(at);
    if (records.length > 0) yield { start: from, end: at, records };
  }

  async #read(at: number, length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(length);
    const { bytesRead } = await guarded('read', this.#path, () => this.#file.read(bytes, 0, length, at));
    if (bytesRead === 0) throw this.#damaged(at);
    return bytes.subarray(0, bytesRead);
  }

  #damaged(at: number): LhsmError {
    return stateError('read', this.#path, new Error(`no record at byte ${at}`));
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

async function guarded<T>(op: string, path: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    throw stateError(op, path, cause);
  }
}

function stateError(op: string, path: string, cause: unknown): LhsmError {
  return new LhsmError(`Cannot ${op} what the export has found, ${path} (${String(cause)}).`, {
    code: 'JOB_STATE',
    op: 'export',
    hint: 'Make state_dir a folder on a local disk with free space, some 200 bytes for each file to export.',
    cause,
  });
}

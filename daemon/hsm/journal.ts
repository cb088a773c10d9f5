// The journal: every item received and not yet ended, on disk, so that after kill -9 the next process can redo
// or clear it. receiver.ts writes it before anything else happens to an item, action.ts marks and ends.
import {
  closeSync,
  fdatasync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { hasCode, LhsmError } from '../../native-bindings/errors.js';
import { formatFid, type Fid } from '../../native-bindings/lustre.js';
import { syncFolder, writeAll } from '../durable.js';
import type { AgentEmitter, JournalEvent } from '../events.js';

/** An item as the journal keeps it: enough to begin it again in another process. */
export interface JournalEntry {
  /** itemKey of the item. */
  readonly key: string;
  readonly archiveId: number;
  /** The list's flags (RequestFlag bits). */
  readonly flags: bigint;
  /** ActionItem.raw. */
  readonly raw: Buffer;
  /** Whether progress was sent for it: a restore that progressed cannot be taken up by another process. */
  readonly progressed: boolean;
}

/** One line of the file; `t` is r(eceived), p(rogressed) or e(nded). */
interface JournalLine {
  readonly t: 'r' | 'p' | 'e';
  readonly c: string;
  readonly a?: number;
  readonly f?: string;
  readonly raw?: string;
}

/** The file is rewritten once it is this large and mostly of ended items. */
const COMPACT_BYTES = 1 << 20;

/**
 * Append-only JSON lines. An append reaches the kernel before the call returns, so it survives the death of the
 * process at any moment; fdatasync follows in groups behind it, so a power failure may lose the last
 * milliseconds, whose requests then time out at the MDT. Ends are appended together at the end of each turn of the event loop,
 * and not synced: the next process asks the MDT for those that are missing, which knows them no more. Memory and, after
 * compaction, disk are bounded by the number of items that have not ended.
 */
export class Journal {
  readonly #path: string;
  readonly #events: AgentEmitter;
  readonly #live = new Map<string, JournalEntry>();
  #fd: number;
  #sizeBytes: number;
  #syncing = false;
  #dirty = false;
  #torn = false;
  #compactAtBytes = COMPACT_BYTES;
  #closed = false;
  /** Lines of ends that are still to be appended. */
  #ends = '';
  #endsDue: NodeJS.Immediate | undefined;
  /** Why the last ends could not be appended, for who notes the next. */
  #endsFailure: { readonly error: unknown } | undefined;

  private constructor(path: string, fd: number, events: AgentEmitter) {
    this.#path = path;
    this.#fd = fd;
    this.#events = events;
    this.#sizeBytes = fstatSync(fd).size;
  }

  /**
   * Opens or creates the journal at `path` and reads what a former process left.
   * Throws LhsmError when the folder cannot be written. Lines that cannot be read are kept aside in
   * `<path>.damaged` and counted in `damaged`.
   */
  static open(
    path: string,
    events: AgentEmitter,
  ): { journal: Journal; left: JournalEntry[]; damaged: number } {
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      const fd = openSync(path, 'a+', 0o600);
      const journal = new Journal(path, fd, events);
      const damaged = journal.#load();
      journal.#announce('opened');
      return { journal, left: [...journal.#live.values()], damaged };
    } catch (error) {
      throw new LhsmError(`cannot open the journal ${path}: ${(error as Error).message}`, {
        code: 'JOURNAL',
        op: 'journal open',
        hint: 'Make state_dir a folder on a local disk that the daemon may write.',
        cause: error,
      });
    }
  }

  /** Items that have not ended. */
  get items(): number {
    return this.#live.size;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Notes items as received; on return they survive the death of the process. */
  received(entries: readonly Omit<JournalEntry, 'progressed'>[]): void {
    if (entries.length === 0) return;
    let text = '';
    for (const entry of entries) {
      const kept = { ...entry, progressed: false };
      this.#live.set(entry.key, kept);
      text += receivedLine(kept);
    }
    this.#append(text);
  }

  /** Notes that progress is about to be sent for an item. */
  progressed(key: string): void {
    const entry = this.#live.get(key);
    if (!entry || entry.progressed) return;
    this.#live.set(key, { ...entry, progressed: true });
    this.#append(line({ t: 'p', c: key }));
  }

  /** Notes that an item has had its end. Throws what earlier ends could not be written for; they are kept and tried again. */
  ended(key: string): void {
    if (!this.#live.delete(key)) return;
    this.#ends += line({ t: 'e', c: key });
    this.#endsDue ??= setImmediate(() => {
      this.#appendEnds();
    });
    const failure = this.#endsFailure;
    this.#endsFailure = undefined;
    if (failure) throw failure.error;
  }

  /** Syncs what is left and closes the file. */
  close(): void {
    if (this.#closed) return;
    this.#appendEnds();
    this.#closed = true;
    fsyncSync(this.#fd);
    // A group commit under way holds the descriptor: it closes it when it is through.
    if (!this.#syncing) closeSync(this.#fd);
  }

  #load(): number {
    const text = readFileSync(this.#path, 'utf8');
    const bad: string[] = [];
    for (const raw of text.split('\n')) {
      if (raw === '') continue;
      const parsed = parseLine(raw);
      if (!parsed) bad.push(raw);
      else if (parsed.t === 'e') this.#live.delete(parsed.c);
      else if (parsed.t === 'p') {
        const entry = this.#live.get(parsed.c);
        if (entry) this.#live.set(entry.key, { ...entry, progressed: true });
      } else {
        this.#live.set(parsed.c, {
          key: parsed.c,
          archiveId: parsed.a ?? 0,
          flags: BigInt(parsed.f ?? '0'),
          raw: Buffer.from(parsed.raw ?? '', 'base64'),
          progressed: false,
        });
      }
    }
    // The last line without its newline is a write that the process's death cut short: nobody saw its item.
    if (bad.length > 0 && !text.endsWith('\n')) bad.pop();
    if (bad.length > 0) {
      const fd = openSync(`${this.#path}.damaged`, 'a', 0o600);
      writeSync(fd, bad.map((each) => `${each}\n`).join(''));
      closeSync(fd);
    }
    if (text !== '') this.#compact();
    return bad.length;
  }

  #appendEnds(): void {
    clearImmediate(this.#endsDue);
    this.#endsDue = undefined;
    if (this.#ends === '' || this.#closed) return;
    try {
      this.#write('');
      this.#announce('appended');
    } catch (error) {
      this.#endsFailure = { error };
    }
  }

  /** What must be on disk soon. */
  #append(text: string): void {
    this.#write(text);
    this.#dirty = true;
    this.#sync();
  }

  /** Ends that wait go first. */
  #write(text: string): void {
    const lines = this.#ends + text;
    // After a write that failed half way, the newline ends the torn line, so that only that one is damaged.
    const bytes = Buffer.from(this.#torn ? `\n${lines}` : lines);
    try {
      this.#put(bytes);
    } catch (error) {
      throw new LhsmError(`cannot write the journal ${this.#path}: ${(error as Error).message}`, {
        code: 'JOURNAL',
        op: 'journal append',
        hint: 'Free space in state_dir; items received meanwhile are lost to a crash, not to the running daemon.',
        cause: error,
      });
    }
    this.#ends = '';
    this.#sizeBytes += bytes.length;
    if (this.#sizeBytes > this.#compactAtBytes && this.#sizeBytes > this.#live.size * 512) this.#tryCompact();
  }

  /** A full disk may have room again once the ended items are out of the file. */
  #put(bytes: Buffer): void {
    this.#torn = true;
    try {
      writeAll(this.#fd, bytes);
    } catch (error) {
      if (!hasCode(error, 'ENOSPC') && !hasCode(error, 'EDQUOT')) throw error;
      // The live items hold what this line says already.
      this.#compact();
    }
    this.#torn = false;
  }

  /** What has been appended is safe already: a disk too full to compact on is no failure, but a reason to wait. */
  #tryCompact(): void {
    try {
      this.#compact();
      this.#compactAtBytes = COMPACT_BYTES;
    } catch {
      this.#compactAtBytes = this.#sizeBytes * 2;
    }
  }

  /** One fdatasync at a time; appends that come meanwhile share the next. */
  #sync(): void {
    if (this.#syncing || this.#closed) return;
    this.#syncing = true;
    this.#dirty = false;
    const fd = this.#fd;
    fdatasync(fd, () => {
      this.#syncing = false;
      if (this.#closed || fd !== this.#fd) closeSync(fd);
      if (this.#closed) return;
      this.#announce('committed');
      if (this.#dirty) this.#sync();
    });
  }

  /** Rewrites the file with the live items only: tmp, fsync, rename, fsync of the folder. Throws with nothing changed. */
  #compact(): void {
    const temporary = `${this.#path}.tmp`;
    const text = [...this.#live.values()]
      .map((entry) => receivedLine(entry) + (entry.progressed ? line({ t: 'p', c: entry.key }) : ''))
      .join('');
    const fd = openSync(temporary, 'w', 0o600);
    try {
      writeAll(fd, Buffer.from(text));
      fsyncSync(fd);
      renameSync(temporary, this.#path);
    } catch (error) {
      closeSync(fd);
      unlinkSync(temporary);
      throw error;
    }
    if (!this.#syncing) closeSync(this.#fd);
    this.#fd = fd;
    this.#torn = false;
    // They are of items that are not among the live ones.
    this.#ends = '';
    this.#sizeBytes = Buffer.byteLength(text);
    syncFolder(dirname(this.#path));
    this.#announce('compacted');
  }

  #announce(op: JournalEvent['op']): void {
    this.#events.emit('journal', { op, items: this.#live.size, sizeBytes: this.#sizeBytes });
  }
}

/** What tells an item from all others: cookies are unique to one MDT only, so the FID goes with it. */
export function itemKey(item: { readonly cookie: bigint; readonly fid: Fid }): string {
  return `0x${item.cookie.toString(16)}${formatFid(item.fid)}`;
}

const keyPattern = /^0x[0-9a-f]{1,16}\[0x[0-9a-f]{1,16}:0x[0-9a-f]{1,8}:0x[0-9a-f]{1,8}\]$/;

function line(value: JournalLine): string {
  return `${JSON.stringify(value)}\n`;
}

function receivedLine(entry: JournalEntry): string {
  return line({
    t: 'r',
    c: entry.key,
    a: entry.archiveId,
    f: `0x${entry.flags.toString(16)}`,
    raw: entry.raw.toString('base64'),
  });
}

/** A line of the file, or undefined when it is not one. */
function parseLine(text: string): JournalLine | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { t, c, a, f, raw } = value as Record<string, unknown>;
  if (typeof c !== 'string' || !keyPattern.test(c)) return undefined;
  if (t === 'e' || t === 'p') return { t, c };
  if (t !== 'r' || !Number.isInteger(a) || typeof raw !== 'string' || typeof f !== 'string') return undefined;
  if (!/^0x[0-9a-f]{1,16}$/.test(f)) return undefined;
  return { t, c, a: a as number, f, raw };
}

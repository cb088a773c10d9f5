// Sorts files by their modification time, the newest first, however many they are: fixed-size records in a file of the state
// directory, sorted in runs, merged as they are read. batch-restore.ts uses it.
import { open, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import type { Fid } from '../../native-bindings/lustre.js';

/** What is kept of a file: its path can be asked for by the FID. */
export interface SpooledFile {
  readonly fid: Fid;
  readonly sizeBytes: bigint;
  /** Nanoseconds since 1970, of either sign. */
  readonly mtimeNs: bigint;
}

// Big-endian, so that records compare as bytes: first what is lowest for the newest, then what makes the order certain.
const KEY_AT = 0;
const SEQ_AT = 8;
const OID_AT = 16;
const VER_AT = 20;
const SIZE_AT = 24;
const RECORD_BYTES = 32;
const SIGN = 1n << 63n;
const ALL_ONES = (1n << 64n) - 1n;

/** Sorted in memory at once: 512 KiB, some milliseconds. */
const RUN_RECORDS = 16_384;
/** For all runs together while they are merged; each has a page at least. */
const MERGE_BYTES = 8 << 20;
const PAGE_RECORDS = 16;
const MAX_PAGE_RECORDS = 2048;

export class NewestFirst {
  readonly #file: FileHandle;
  readonly #runRecords: number;
  #run: Buffer;
  #filled = 0;
  #runs = 0;
  #sizeBytes = 0n;

  private constructor(file: FileHandle, runRecords: number) {
    this.#file = file;
    this.#runRecords = runRecords;
    this.#run = Buffer.allocUnsafe(runRecords * RECORD_BYTES);
  }

  /** The file has no name from the beginning: whatever happens, it is gone with the process. */
  static async open(directory: string, runRecords = RUN_RECORDS): Promise<NewestFirst> {
    const path = join(directory, `newest-first-${randomBytes(8).toString('hex')}`);
    const file = await open(path, 'wx+', 0o600);
    try {
      await unlink(path);
    } catch (error) {
      await file.close();
      throw error;
    }
    return new NewestFirst(file, runRecords);
  }

  /** Files added. */
  get count(): number {
    return this.#runs * this.#runRecords + this.#filled;
  }

  /** The sum of their sizes. */
  get sizeBytes(): bigint {
    return this.#sizeBytes;
  }

  async add(file: SpooledFile): Promise<void> {
    const at = this.#filled * RECORD_BYTES;
    const run = this.#run;
    // Signed to unsigned in order, then turned round: the newest is the lowest.
    const key = ALL_ONES - (BigInt.asUintN(64, file.mtimeNs) ^ SIGN);
    run.writeBigUInt64BE(key, at + KEY_AT);
    run.writeBigUInt64BE(file.fid.seq, at + SEQ_AT);
    run.writeUInt32BE(file.fid.oid, at + OID_AT);
    run.writeUInt32BE(file.fid.ver, at + VER_AT);
    run.writeBigUInt64BE(file.sizeBytes, at + SIZE_AT);
    this.#filled += 1;
    this.#sizeBytes += file.sizeBytes;
    if (this.#filled < this.#runRecords) return;
    await this.#spill();
  }

  async #spill(): Promise<void> {
    const bytes = sorted(this.#run.subarray(0, this.#filled * RECORD_BYTES));
    await this.#file.write(bytes, 0, bytes.length, this.#runs * this.#runRecords * RECORD_BYTES);
    this.#runs += 1;
    this.#filled = 0;
  }

  /** All files, the newest first, equal ones by FID. To be called once, when everything is added. */
  async *files(): AsyncGenerator<SpooledFile, void, undefined> {
    const pageRecords = Math.min(
      MAX_PAGE_RECORDS,
      Math.max(PAGE_RECORDS, Math.floor(MERGE_BYTES / RECORD_BYTES / (this.#runs + 1))),
    );
    const readers: RunReader[] = [];
    for (let run = 0; run < this.#runs; run += 1) {
      const reader = new RunReader(this.#file, run * this.#runRecords, this.#runRecords, pageRecords);
      if (await reader.fill()) readers.push(reader);
    }
    const last = sorted(this.#run.subarray(0, this.#filled * RECORD_BYTES));
    this.#run = Buffer.alloc(0);
    if (last.length > 0) readers.push(new RunReader(last));
    heapify(readers);
    for (let first = readers[0]; first; first = readers[0]) {
      yield decode(first.page, first.at);
      if (!(await first.next())) {
        const moved = readers.pop();
        if (readers.length === 0) return;
        if (moved && moved !== first) readers[0] = moved;
      }
      sink(readers, 0);
    }
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

/** One sorted run, a page of it in memory. */
class RunReader {
  page: Buffer;
  /** Where in the page the next record begins. */
  at = 0;
  readonly #file: FileHandle | undefined;
  #position = 0;
  #left = 0;

  constructor(source: Buffer | FileHandle, firstRecord = 0, records = 0, pageRecords = 0) {
    if (Buffer.isBuffer(source)) {
      this.page = source;
      return;
    }
    this.#file = source;
    this.#position = firstRecord * RECORD_BYTES;
    this.#left = records * RECORD_BYTES;
    this.page = Buffer.allocUnsafe(pageRecords * RECORD_BYTES);
  }

  /** Steps to the next record; false when there is none. */
  async next(): Promise<boolean> {
    this.at += RECORD_BYTES;
    return this.at < this.page.length || this.fill();
  }

  async fill(): Promise<boolean> {
    const want = Math.min(this.#left, this.page.length);
    if (!this.#file || want === 0) return false;
    const page = this.page.subarray(0, want);
    for (let done = 0; done < want;) {
      const { bytesRead } = await this.#file.read(page, done, want - done, this.#position + done);
      if (bytesRead === 0) throw new RangeError('the spool file ends too early');
      done += bytesRead;
    }
    this.page = page;
    this.#position += want;
    this.#left -= want;
    this.at = 0;
    return true;
  }
}

/** A min-heap by the record that each reader stands at. */
function heapify(readers: RunReader[]): void {
  for (let at = (readers.length >> 1) - 1; at >= 0; at -= 1) sink(readers, at);
}

function sink(readers: RunReader[], from: number): void {
  for (let at = from; ;) {
    let lowest = at;
    for (const child of [2 * at + 1, 2 * at + 2]) {
      if (child < readers.length && isBefore(readers[child], readers[lowest])) lowest = child;
    }
    const [one, other] = [readers[at], readers[lowest]];
    if (lowest === at || !one || !other) return;
    readers[at] = other;
    readers[lowest] = one;
    at = lowest;
  }
}

function isBefore(one: RunReader | undefined, other: RunReader | undefined): boolean {
  if (!one || !other) return one !== undefined;
  return one.page.compare(other.page, other.at, other.at + SIZE_AT, one.at, one.at + SIZE_AT) < 0;
}

/** The records in order. Keys are compared as numbers, which is many times faster than as bytes. */
function sorted(records: Buffer): Buffer {
  const count = records.length / RECORD_BYTES;
  const high = new Uint32Array(count);
  const low = new Uint32Array(count);
  const order = new Uint32Array(count);
  for (let index = 0; index < count; index += 1) {
    high[index] = records.readUInt32BE(index * RECORD_BYTES);
    low[index] = records.readUInt32BE(index * RECORD_BYTES + 4);
    order[index] = index;
  }
  const fidAt = (index: number): number => index * RECORD_BYTES + SEQ_AT;
  order.sort(
    (one, other) =>
      (high[one] ?? 0) - (high[other] ?? 0) ||
      (low[one] ?? 0) - (low[other] ?? 0) ||
      records.compare(
        records,
        fidAt(other),
        fidAt(other) + SIZE_AT - SEQ_AT,
        fidAt(one),
        fidAt(one) + SIZE_AT - SEQ_AT,
      ),
  );
  const result = Buffer.allocUnsafe(records.length);
  order.forEach((from, to) => {
    records.copy(result, to * RECORD_BYTES, from * RECORD_BYTES, (from + 1) * RECORD_BYTES);
  });
  return result;
}

function decode(page: Buffer, at: number): SpooledFile {
  const key = page.readBigUInt64BE(at + KEY_AT);
  return {
    mtimeNs: BigInt.asIntN(64, (ALL_ONES - key) ^ SIGN),
    fid: {
      seq: page.readBigUInt64BE(at + SEQ_AT),
      oid: page.readUInt32BE(at + OID_AT),
      ver: page.readUInt32BE(at + VER_AT),
    },
    sizeBytes: page.readBigUInt64BE(at + SIZE_AT),
  };
}

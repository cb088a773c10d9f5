// One file of a job's log in append blobs, in parts: every line once, whatever answers are lost and wherever the process
// dies. The report has two of them.
import { hasCode } from '../../native-bindings/errors.js';
import { MAX_APPEND_BYTES, type LoggingContainer } from '../blobs/logging-container.js';
import { logPart, type KeyReader, type LogFormat } from './log-format.js';

/** The part of the logging container that a log needs. */
export type LogContainer = Pick<LoggingContainer, 'look' | 'readFrom' | 'createAppend' | 'append'>;

/** How far a file has got: so many bytes of this part, counted from 1; all parts before it are complete. */
export interface FilePosition {
  readonly part: number;
  readonly bytes: number;
}

/** Azure takes 50,000 appends a blob; a few more of ours may be under way that nobody has seen. */
const MAX_APPENDS = 49_000;

/** An append is not larger, unless a single line is. */
const APPEND_BYTES = 1 << 20;

/**
 * How many entries may come, besides as many as the tail has, before what has not come again is taken for work that was
 * complete or went otherwise this time: several times what can be under way at once.
 */
const SLACK = 50_000;

interface Line {
  /** Counts what was added. */
  readonly number: number;
  readonly key: string;
  readonly bytes: Buffer;
}

/** `open` comes first; then one flush at a time. */
export class AppendLog {
  readonly #container: LogContainer;
  readonly #format: LogFormat;
  readonly #nameOf: (file: string) => string;
  readonly #maxAppends: number;
  #part: number;
  #bytes: number;
  #appends = 0;
  #added = 0;
  #pending: Line[] = [];
  #pendingBytes = 0;
  /** How often entries stand in the log behind the position that are about to come again. */
  readonly #seen = new Map<string, number>();
  /** Where they begin. */
  #seenFrom: FilePosition;
  /** Entries that may come until they are forgotten. */
  #patience = 0;

  /** `nameOf` gives the blob of a file of the job's folder. */
  constructor(
    container: LogContainer,
    format: LogFormat,
    nameOf: (file: string) => string,
    position: FilePosition = { part: 1, bytes: 0 },
    maxAppends = MAX_APPENDS,
  ) {
    this.#container = container;
    this.#format = format;
    this.#nameOf = nameOf;
    this.#maxAppends = maxAppends;
    this.#part = position.part;
    this.#bytes = position.bytes;
    this.#seenFrom = position;
  }

  /** Bytes that wait to be appended. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** The end of what has been appended. */
  get end(): FilePosition {
    return { part: this.#part, bytes: this.#bytes };
  }

  /** Everything added from now on comes behind it, or stands there already and will be recognised again. */
  get position(): FilePosition {
    return this.#seen.size > 0 ? this.#seenFrom : this.end;
  }

  /** Waits in memory for the next flush; dropped when the log has it already. */
  add(key: string, line: string): void {
    if (this.#seen.size > 0) {
      this.#patience -= 1;
      if (this.#patience < 0) this.#seen.clear();
    }
    const before = this.#seen.get(key) ?? 0;
    if (before > 1) this.#seen.set(key, before - 1);
    else if (before === 1) this.#seen.delete(key);
    if (before > 0) return;
    const bytes = Buffer.from(line);
    this.#added += 1;
    this.#pending.push({ number: this.#added, key, bytes });
    this.#pendingBytes += bytes.length;
  }

  /**
   * Makes the blob, or finds what stands in it behind the position. Answers whether the log is shorter than the position
   * says: somebody has changed it. May be called again when it rejects.
   */
  async open(signal: AbortSignal): Promise<{ readonly isCut: boolean }> {
    await this.#create(signal);
    const { isCut } = await this.#catchUp(signal);
    if (this.#bytes === 0 && this.#format.header !== '') await this.#append([], signal);
    return { isCut };
  }

  /**
   * Appends everything that was added before the call. Rejects with what the container says; what is not appended stays for
   * the next flush.
   */
  async flush(signal: AbortSignal): Promise<void> {
    const last = this.#added;
    for (;;) {
      const batch = this.#batch(last);
      if (batch.length === 0) return;
      await this.#append(batch, signal);
    }
  }

  /** The beginning of what is pending, up to the line of this number and the size of an append. */
  #batch(last: number): Line[] {
    let bytes = 0;
    let count = 0;
    for (const line of this.#pending) {
      if (line.number > last || (count > 0 && bytes + line.bytes.length > APPEND_BYTES)) break;
      bytes += line.bytes.length;
      count += 1;
    }
    return this.#pending.slice(0, count);
  }

  /** Appends the batch, which is the beginning of what is pending; or only takes off of it what the log has already. */
  async #append(batch: readonly Line[], signal: AbortSignal): Promise<void> {
    if (this.#appends >= this.#maxAppends) await this.#rollOver(signal);
    const header = this.#bytes === 0 ? [Buffer.from(this.#format.header)] : [];
    const bytes = Buffer.concat([...header, ...batch.map((line) => line.bytes)]);
    if (bytes.length > MAX_APPEND_BYTES) throw new RangeError(`a line of ${bytes.length} bytes`);
    try {
      await this.#container.append(this.#nameOf(this.#file), bytes, this.#bytes, signal);
    } catch (error) {
      if (hasCode(error, 'TOO_LARGE')) await this.#rollOver(signal);
      else if (hasCode(error, 'BLOB_MISSING')) await this.#startAnew(signal);
      else if (hasCode(error, 'BLOB_CHANGED')) {
        // An append that was broken off, or of the process before this one, has arrived after all.
        const { part, bytes: before } = this.end;
        await this.#catchUp(signal);
        if (this.#part === part && this.#bytes === before) throw error;
      } else throw error;
      return;
    }
    this.#bytes += bytes.length;
    this.#appends += 1;
    this.#drop(batch.length);
  }

  get #file(): string {
    return logPart(this.#format.name, this.#part);
  }

  async #create(signal: AbortSignal): Promise<void> {
    await this.#container.createAppend(this.#nameOf(this.#file), this.#format.contentType, signal);
  }

  async #rollOver(signal: AbortSignal): Promise<void> {
    this.#part += 1;
    this.#bytes = 0;
    this.#appends = 0;
    await this.#create(signal);
    await this.#catchUp(signal);
  }

  async #startAnew(signal: AbortSignal): Promise<void> {
    this.#bytes = 0;
    this.#appends = 0;
    await this.#create(signal);
  }

  /** Goes to the end of the last part, and notes what stands there behind the position. */
  async #catchUp(signal: AbortSignal): Promise<{ readonly isCut: boolean }> {
    const reader = this.#format.reader();
    let isCut = false;
    for (;;) {
      const found = await this.#container.look(this.#nameOf(this.#file), signal);
      const sizeBytes = found?.sizeBytes ?? 0;
      if (sizeBytes < this.#bytes) isCut = true;
      else if (sizeBytes > this.#bytes) await this.#readTail(reader, signal);
      if (isCut) this.#bytes = sizeBytes;
      this.#appends = found?.appends ?? 0;
      const next = this.#nameOf(logPart(this.#format.name, this.#part + 1));
      if ((await this.#container.look(next, signal)) === undefined) return { isCut };
      this.#part += 1;
      this.#bytes = 0;
    }
  }

  async #readTail(reader: KeyReader, signal: AbortSignal): Promise<void> {
    if (this.#seen.size === 0) {
      this.#seenFrom = this.end;
      this.#patience = SLACK;
    }
    const decoder = new TextDecoder();
    const found = new Map<string, number>();
    for await (const chunk of this.#container.readFrom(this.#nameOf(this.#file), this.#bytes, signal)) {
      this.#bytes += chunk.length;
      for (const key of reader(decoder.decode(chunk, { stream: true })))
        found.set(key, (found.get(key) ?? 0) + 1);
    }
    // What is on its way now comes first, then what is still to be done again.
    this.#pending = this.#pending.filter(({ key }) => {
      const times = found.get(key) ?? 0;
      if (times > 0) found.set(key, times - 1);
      return times === 0;
    });
    this.#pendingBytes = this.#pending.reduce((sum, { bytes }) => sum + bytes.length, 0);
    for (const [key, times] of found) {
      if (times === 0) continue;
      this.#seen.set(key, (this.#seen.get(key) ?? 0) + times);
      this.#patience += times;
    }
  }

  #drop(count: number): void {
    for (const { bytes } of this.#pending.slice(0, count)) this.#pendingBytes -= bytes.length;
    this.#pending = this.#pending.slice(count);
  }
}

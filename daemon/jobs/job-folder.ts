// What the holder of the lock writes of its job: status, checkpoint, summary. Each write expects the version that this
// holder wrote or found, so one that has slept through its lease overwrites nothing. The runner has one.
import { createHash } from 'node:crypto';
import { hasCode, LhsmError } from '../../native-bindings/errors.js';
import type { ExpectedVersion } from '../blob.js';
import { documentText, parseJson } from './document.js';
import type { JobStore } from './job-store.js';
import type { JobDocument } from './job.js';

type DocumentKey = 'status' | 'checkpoint' | 'summary';

/** Writes without an answer that are remembered. */
const MAX_DOUBTS = 1000;

/** What stands there now, as far as this holder knows. */
export type DocumentVersions = Readonly<Record<DocumentKey, Exclude<ExpectedVersion, undefined>>>;

interface Known {
  version: Exclude<ExpectedVersion, undefined>;
  /** Digests of what was sent and may have been written: the answer never came. */
  readonly doubts: string[];
}

/** One write of each document at a time. JobStore makes it. */
export class JobFolder {
  readonly store: JobStore;
  readonly job: string;
  readonly #known: Readonly<Record<DocumentKey, Known>>;

  constructor(store: JobStore, job: string, versions: DocumentVersions) {
    this.store = store;
    this.job = job;
    const known = (key: DocumentKey): Known => ({ version: versions[key], doubts: [] });
    this.#known = { status: known('status'), checkpoint: known('checkpoint'), summary: known('summary') };
  }

  /** Rejects with JOB_SUPERSEDED when somebody else has written it since. */
  writeStatus(document: JobDocument, signal: AbortSignal): Promise<void> {
    return this.#write('status', document, signal);
  }

  /** Rejects with JOB_SUPERSEDED. */
  writeCheckpoint(checkpoint: object, signal: AbortSignal): Promise<void> {
    return this.#write('checkpoint', checkpoint, signal);
  }

  /** Rejects with JOB_SUPERSEDED. */
  writeSummary(summary: object, signal: AbortSignal): Promise<void> {
    return this.#write('summary', summary, signal);
  }

  /** The checkpoint, to be checked by who reads it; undefined when there is none yet. Rejects with JOB_DOCUMENT. */
  async readCheckpoint(signal: AbortSignal): Promise<unknown> {
    const file = this.#file('checkpoint');
    const found = await this.store.container.read(file, signal);
    if (found === undefined) return undefined;
    this.#known.checkpoint.version = { etag: found.etag };
    return parseJson(found.body, file);
  }

  /** Whether somebody wishes that the job be cancelled. */
  async cancelWished(signal: AbortSignal): Promise<boolean> {
    return (await this.store.container.look(this.store.blobName(this.job, 'cancel'), signal)) !== undefined;
  }

  async clearCancel(signal: AbortSignal): Promise<void> {
    await this.store.container.delete(this.store.blobName(this.job, 'cancel'), signal);
  }

  #file(key: DocumentKey): string {
    return this.store.blobName(this.job, `${key}.json`);
  }

  async #write(key: DocumentKey, document: object, signal: AbortSignal): Promise<void> {
    const known = this.#known[key];
    const body = documentText(document);
    try {
      await this.#put(key, body, signal);
    } catch (error) {
      if (!hasCode(error, 'BLOB_CHANGED')) throw error;
      if (!(await this.#isOurs(key, signal))) throw this.#superseded(key, error);
      await this.#put(key, body, signal).catch((again: unknown) => {
        throw hasCode(again, 'BLOB_CHANGED') ? this.#superseded(key, again) : again;
      });
    }
    known.doubts.length = 0;
  }

  async #put(key: DocumentKey, body: string, signal: AbortSignal): Promise<void> {
    const known = this.#known[key];
    const options = { expected: known.version, contentType: 'application/json' };
    try {
      const etag = await this.store.container.write(this.#file(key), body, options, signal);
      known.version = { etag };
    } catch (error) {
      // A write that was broken off may have been done, or may be done yet.
      if (!hasCode(error, 'BLOB_CHANGED')) known.doubts.push(digest(body));
      if (known.doubts.length > MAX_DOUBTS) known.doubts.shift();
      throw error;
    }
  }

  /** Whether what stands there is an earlier write of ours whose answer never came; then it is the version to expect. */
  async #isOurs(key: DocumentKey, signal: AbortSignal): Promise<boolean> {
    const known = this.#known[key];
    if (known.doubts.length === 0) return false;
    const found = await this.store.container.read(this.#file(key), signal);
    if (found === undefined || !known.doubts.includes(digest(found.body))) return false;
    known.version = { etag: found.etag };
    return true;
  }

  #superseded(key: DocumentKey, cause: unknown): LhsmError {
    return new LhsmError(`The ${key} of job ${this.job} was written by someone else meanwhile, or deleted.`, {
      code: 'JOB_SUPERSEDED',
      op: 'Put Blob',
      errno: 116,
      hint: 'Another node has taken the job from this one, which seemed dead: look at the status of the job.',
      cause,
    });
  }
}

function digest(body: Buffer | string): string {
  return createHash('sha256').update(body).digest('base64');
}

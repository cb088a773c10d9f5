// The folder of one file system in the logging container: which jobs there are, and what any node may read or wish. The
// runner, the admin API and the command line call it; what only a job's holder writes is in job-folder.ts.
import { hasCode, LhsmError } from '../../native-bindings/errors.js';
import type { ListedName, LoggingContainer } from '../blobs/logging-container.js';
import { mapBounded } from './bounded.js';
import { documentText, parseDocument } from './document.js';
import { JobFolder } from './job-folder.js';
import type { JobDocument } from './job.js';

/** The part of the logging container that the jobs' folder needs. */
export type StoreContainer = Pick<
  LoggingContainer,
  'read' | 'look' | 'readFrom' | 'write' | 'list' | 'delete' | 'createAppend' | 'append'
>;

/** Documents read at once when jobs are listed. */
const READS = 8;

const JSON_TYPE = 'application/json';

/** A wish to cancel, as it stands in the blob. */
export interface CancelWish {
  /** The node where it was made. */
  readonly host: string;
  /** ISO 8601, UTC. */
  readonly time: string;
}

export class JobStore {
  readonly container: StoreContainer;
  readonly fileSystem: string;

  /** `fileSystem`: the identity, as blobs carry it as `lustre_fs`. */
  constructor(container: StoreContainer, fileSystem: string) {
    this.container = container;
    this.fileSystem = fileSystem;
  }

  /** The name of a blob in a job's folder. */
  blobName(job: string, file: string): string {
    return `${this.fileSystem}/jobs/${job}/${file}`;
  }

  /** The first document of a new job. Rejects with JOB_EXISTS when there is a job of that name, running or not. */
  async create(document: JobDocument, signal: AbortSignal): Promise<JobFolder> {
    const file = this.blobName(document.name, 'status.json');
    try {
      const options = { expected: 'absent', contentType: JSON_TYPE } as const;
      const etag = await this.container.write(file, documentText(document), options, signal);
      return new JobFolder(this, document.name, {
        status: { etag },
        checkpoint: 'absent',
        summary: 'absent',
      });
    } catch (error) {
      if (!hasCode(error, 'BLOB_CHANGED')) throw error;
      throw new LhsmError(`A job called ${document.name} is there already.`, {
        code: 'JOB_EXISTS',
        op: 'job start',
        errno: 17,
        hint: 'Choose another name, or leave it out.',
        cause: error,
      });
    }
  }

  /**
   * A job's folder to write in, for who holds the lock; undefined when there is no such job. Rejects with JOB_DOCUMENT when the
   * status cannot be read for one.
   */
  async open(
    job: string,
    signal: AbortSignal,
  ): Promise<{ readonly folder: JobFolder; readonly status: JobDocument } | undefined> {
    const file = this.blobName(job, 'status.json');
    const found = await this.container.read(file, signal);
    if (found === undefined) return undefined;
    const [checkpoint, summary] = await Promise.all(
      ['checkpoint.json', 'summary.json'].map((each) =>
        this.container.look(this.blobName(job, each), signal),
      ),
    );
    const versions = {
      status: { etag: found.etag },
      checkpoint: checkpoint ? { etag: checkpoint.etag } : ('absent' as const),
      summary: summary ? { etag: summary.etag } : ('absent' as const),
    };
    return { folder: new JobFolder(this, job, versions), status: parseDocument(found.body, file) };
  }

  /** A job's status document; undefined when there is no such job. Rejects with JOB_DOCUMENT. */
  async status(job: string, signal: AbortSignal): Promise<JobDocument | undefined> {
    const file = this.blobName(job, 'status.json');
    const found = await this.container.read(file, signal);
    return found && parseDocument(found.body, file);
  }

  /**
   * The newest jobs, newest first. Memory is bounded by `limit`: status documents are written one job after the
   * other, so the latest written are those of the newest jobs. `onDamaged` is told of a document that cannot be read.
   */
  async list(
    limit: number,
    signal: AbortSignal,
    onDamaged: (error: unknown) => void = () => undefined,
  ): Promise<JobDocument[]> {
    const prefix = `${this.fileSystem}/jobs/`;
    let newest: ListedName[] = [];
    const cut = (): void => {
      newest.sort((a, b) => b.lastModified.getTime() - a.lastModified.getTime());
      newest = newest.slice(0, limit);
    };
    for await (const listed of this.container.list(prefix, signal)) {
      const parts = listed.name.slice(prefix.length).split('/');
      if (parts.length !== 2 || parts[1] !== 'status.json') continue;
      newest.push(listed);
      if (newest.length >= 2 * limit + 100) cut();
    }
    cut();
    const documents = await mapBounded(newest, READS, async ({ name }) => {
      try {
        const found = await this.container.read(name, signal);
        return found && parseDocument(found.body, name);
      } catch (error) {
        if (!hasCode(error, 'JOB_DOCUMENT')) throw error;
        onDamaged(error);
        return undefined;
      }
    });
    return documents
      .filter((each) => each !== undefined)
      .sort((a, b) => Date.parse(b.lastStartedTime) - Date.parse(a.lastStartedTime));
  }

  /** Leaves the wish that a job be cancelled, for its holder to find. */
  async askCancel(job: string, wish: CancelWish, signal: AbortSignal): Promise<void> {
    const options = { contentType: JSON_TYPE };
    await this.container.write(this.blobName(job, 'cancel'), documentText(wish), options, signal);
  }
}

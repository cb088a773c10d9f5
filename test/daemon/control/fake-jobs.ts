// A JobsControl without jobs, for the tests of control/ and cli/: it answers from a script and records what it was asked.
import type { JobsControl, LogFormat } from '../../../daemon/control/jobs-control.js';
import type { ExportCounts, ImportCounts, JobDocument } from '../../../daemon/jobs/job.js';
import { jobSpec, type JobRequest } from '../../../daemon/jobs/job-request.js';
import { LhsmError } from '../../../native-bindings/errors.js';

export const IMPORT_COUNTS: ImportCounts = {
  totalBlobsWalked: 0,
  totalBlobsImported: 0,
  importedFiles: 0,
  importedDirectories: 0,
  importedSymlinks: 0,
  preexistingFiles: 0,
  preexistingDirectories: 0,
  preexistingSymlinks: 0,
  totalErrors: 0,
  totalConflicts: 0,
  unresolvedConflicts: 0,
  totalWarnings: 0,
};

export const EXPORT_COUNTS: ExportCounts = {
  totalFilesDiscovered: 0,
  totalBytesDiscovered: 0,
  totalFilesExported: 0,
  totalBytesExported: 0,
  totalFilesFailed: 0,
  totalFilesSkipped: 0,
  totalDirectoriesExported: 0,
  totalSymlinksExported: 0,
  totalErrors: 0,
  totalWarnings: 0,
};

/** A job that has just begun. */
export function documentOf(request: JobRequest): JobDocument {
  const time = '2026-11-27T22:15:00.000Z';
  const spec = jobSpec(request, { archiveIds: [1], mount: '/mnt/lustre', window: 3000, now: new Date(time) });
  return {
    schema: 1,
    id: '1f2e3d4c',
    name: spec.name,
    kind: spec.kind,
    state: 'InProgress',
    statusMessage: 'Going on.',
    spec,
    holder: { host: 'node7', mount: '/mnt/lustre', pid: 4711 },
    lastStartedTime: time,
    updatedTime: time,
    resumes: 0,
    counts: spec.kind === 'import' ? IMPORT_COUNTS : EXPORT_COUNTS,
    rates: {},
  };
}

export function unknownJob(name: string): LhsmError {
  return new LhsmError(`there is no job ${name}`, { code: 'JOB_UNKNOWN', op: 'show job', errno: 2 });
}

/** What `show` comes to, one after the other; the last one stays. */
type Look = JobDocument | Error;

export class FakeJobs implements JobsControl {
  readonly asked: unknown[] = [];
  /** What start, list, cancel and log reject with. */
  failure: Error | undefined;
  looks: Look[] = [];
  known: JobDocument[] = [];
  chunks: (signal: AbortSignal) => AsyncIterable<Uint8Array> = () => {
    throw unknownJob('any');
  };
  /** Start waits for it. */
  startable: Promise<void> = Promise.resolve();
  startSignal: AbortSignal | undefined;

  async start(request: JobRequest, signal: AbortSignal): Promise<JobDocument> {
    this.asked.push(request);
    this.startSignal = signal;
    await this.startable;
    if (this.failure) throw this.failure;
    return documentOf(request);
  }

  list(limit: number): Promise<readonly JobDocument[]> {
    this.asked.push({ list: limit });
    return this.failure ? Promise.reject(this.failure) : Promise.resolve(this.known.slice(0, limit));
  }

  show(name: string): Promise<JobDocument> {
    const [look = unknownJob(name)] = this.looks.length > 1 ? this.looks.splice(0, 1) : this.looks;
    return look instanceof Error ? Promise.reject(look) : Promise.resolve(look);
  }

  cancel(name: string): Promise<JobDocument> {
    this.asked.push({ cancel: name });
    if (this.failure) return Promise.reject(this.failure);
    return this.show(name);
  }

  async *log(name: string, format: LogFormat, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    this.asked.push({ log: name, format });
    if (this.failure) throw this.failure;
    yield* this.chunks(signal);
  }
}

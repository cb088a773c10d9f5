// A job for people: in full, and as the one line that shows how it goes on. The commands of jobs call it.
import { isFinal, type JobDocument } from '../jobs/job.js';
import { formatBytes, formatDuration, printable, table } from './format.js';

/** A running job writes its document every few seconds: one this old has lost its daemon. */
const STALE_MS = 120_000;

const number = (value: number): string => Math.round(value).toLocaleString('en-US');

const isBytes = (key: string): boolean => key.includes('Bytes');

/** `totalBlobsWalked` → `blobs walked` */
function label(key: string): string {
  return key
    .replace(/^total/, '')
    .replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
    .trim();
}

const amount = (key: string, value: number): string => (isBytes(key) ? formatBytes(value) : number(value));

function countOf({ counts }: JobDocument, key: string): number {
  return (counts as unknown as Readonly<Record<string, number>>)[key] ?? 0;
}

/** `walked 1,234 (56/s)`; without the rate when nothing goes on. */
function counted(job: JobDocument, word: string, key: string): string {
  const rate = job.rates[key];
  const pace = rate === undefined || isFinal(job.state) ? '' : ` (${amount(key, rate)}/s)`;
  return `${word} ${amount(key, countOf(job, key))}${pace}`;
}

const BAR = 20;

function bar(percent: number): string {
  const done = Math.max(0, Math.min(BAR, Math.floor((percent / 100) * BAR)));
  return `[${'#'.repeat(done)}${'-'.repeat(BAR - done)}] ${percent.toFixed(1)} %`;
}

/** How a job goes on, in one line. */
export function progressLine(job: JobDocument): string {
  const parts =
    job.kind === 'import'
      ? [
          counted(job, 'walked', 'totalBlobsWalked'),
          counted(job, 'imported', 'totalBlobsImported'),
          `conflicts ${number(countOf(job, 'totalConflicts'))}`,
        ]
      : [
          `exported ${number(countOf(job, 'totalFilesExported'))} of ${number(countOf(job, 'totalFilesDiscovered') - countOf(job, 'totalFilesSkipped'))} files`,
          counted(job, '', 'totalBytesExported').trim(),
          `failed ${number(countOf(job, 'totalFilesFailed'))}`,
        ];
  return [
    ...(job.percentComplete === undefined ? [] : [bar(job.percentComplete)]),
    job.state,
    ...parts,
    `errors ${number(countOf(job, 'totalErrors'))}`,
    ...(job.etaSeconds === undefined || isFinal(job.state)
      ? []
      : [`ETA ${formatDuration(job.etaSeconds * 1000)}`]),
  ].join('  ');
}

function wishOf({ spec }: JobDocument): string {
  const what =
    spec.kind === 'import'
      ? `prefixes ${spec.prefixes.join(' ')}, conflict mode ${spec.conflictMode}`
      : `path ${spec.path}, window ${spec.window}`;
  const errors = spec.maximumErrors < 0 ? 'any number of errors' : `${spec.maximumErrors} errors`;
  const options = [
    ...(spec.dryRun ? ['dry run'] : []),
    ...(spec.kind === 'import' && spec.attributesOnly ? ['attributes only'] : []),
    ...(spec.logItems ? ['every item logged'] : []),
  ];
  return [`archive ${spec.archiveId}`, what, `${errors} allowed`, ...options].join(', ');
}

function timesOf(job: JobDocument, nowMs: number): string {
  const { lastStartedTime, lastCompletionTime, holder, resumes } = job;
  const startedMs = Date.parse(lastStartedTime);
  const endMs = lastCompletionTime === undefined ? nowMs : Date.parse(lastCompletionTime);
  const took = formatDuration(Math.max(0, endMs - startedMs));
  const end =
    lastCompletionTime === undefined ? `, for ${took}` : `, ended ${lastCompletionTime} after ${took}`;
  const again = resumes === 0 ? '' : `, taken up again ${resumes} ${resumes === 1 ? 'time' : 'times'}`;
  return `started ${lastStartedTime} on ${holder.host} (${holder.mount}, pid ${holder.pid})${end}${again}`;
}

/** Everything about a job. */
export function renderJob(job: JobDocument, nowMs: number): string {
  const { kind, name, state, statusMessage, errorCode, errorMessage, rates, updatedTime } = job;
  const over = isFinal(state);
  const silentMs = nowMs - Date.parse(updatedTime);
  const lines = [
    `${kind} ${name}: ${state}`,
    statusMessage,
    ...(errorCode === undefined ? [] : [`${errorCode}: ${errorMessage ?? ''}`]),
    wishOf(job),
    timesOf(job, nowMs),
    ...(over ? [] : [progressLine(job)]),
    ...(!over && silentMs > STALE_MS
      ? [
          `Nothing new for ${formatDuration(silentMs)}: its daemon on ${job.holder.host} may be down. Started again, it goes on.`,
        ]
      : []),
  ];
  const rows = Object.entries(job.counts as unknown as Readonly<Record<string, number>>).map(
    ([key, value]) => [label(key), amount(key, value), over ? '' : `${amount(key, rates[key] ?? 0)}/s`],
  );
  const text = lines.map((line) => `${printable(line)}\n`).join('');
  return `${text}\n${table(['what', 'count', over ? '' : 'rate'], rows)}`;
}

/** Several jobs, a line each. */
export function renderJobs(jobs: readonly JobDocument[]): string {
  if (jobs.length === 0) return 'There are no jobs.\n';
  return table(
    ['name', 'kind', 'state', 'started', 'host', 'done', 'errors'],
    jobs.map((job) => [
      job.name,
      job.kind,
      job.state,
      job.lastStartedTime,
      job.holder.host,
      number(countOf(job, job.kind === 'import' ? 'totalBlobsImported' : 'totalFilesExported')),
      number(countOf(job, 'totalErrors')),
    ]),
  );
}

// What somebody wishes of a job, as the admin API gets it, checked and completed: admin.ts parses the wish, the runner
// makes a JobSpec of it.
import { posix } from 'node:path';
import { z } from 'zod';
import { LhsmError } from '../../native-bindings/errors.js';
import { nearest } from '../config/nearest.js';
import { JOB_KINDS, type ConflictMode, type JobKind, type JobSpec } from './job.js';
import { listedPrefixes } from './prefixes.js';

const MAX_WINDOW = 100_000;
const MAX_PREFIXES = 100;
/** Azure's limit for a blob's name, and the slash before it. */
const MAX_PREFIX = 1025;
const MAX_PATH_BYTES = 4096;

const NAME_RULE =
  'must be 2 to 80 letters, digits, hyphens and underscores, the first and the last a letter or digit';

/** A name may become part of a blob's name and of a URL: nothing else gets that far. */
export function isJobName(name: string): boolean {
  return /^[0-9A-Za-z][\w-]{0,78}[0-9A-Za-z]$/.test(name);
}

/** In lower case: the documents' names, and those of the REST model. */
const conflictModes: Readonly<Record<string, ConflictMode>> = {
  fail: 'fail',
  skip: 'skip',
  'overwrite-dirty': 'overwrite-dirty',
  overwriteifdirty: 'overwrite-dirty',
  'overwrite-always': 'overwrite-always',
  overwritealways: 'overwrite-always',
};

/** For a message; undefined when there is such a mode. */
function badMode(text: unknown): string | undefined {
  if (typeof text === 'string' && Object.hasOwn(conflictModes, text.toLowerCase())) return undefined;
  const near = typeof text === 'string' ? nearest(text, Object.keys(conflictModes)) : undefined;
  const meant = near === undefined ? undefined : conflictModes[near];
  return `must be one of ${Object.values(conflictModes)
    .filter((mode, at, all) => all.indexOf(mode) === at)
    .join(', ')}${meant === undefined ? '' : `: did you mean ${meant}?`}`;
}

const int = (min: number, max: number, words: string) => z.int(words).min(min, words).max(max, words);
const truth = z.boolean('must be true or false').default(false);

const common = {
  name: z.string(NAME_RULE).refine(isJobName, NAME_RULE).optional(),
  archiveId: int(1, 0xffff_ffff, 'must be a whole number from 1 to 4294967295').optional(),
  maximumErrors: int(-1, 2 ** 52, 'must be a whole number from 0 up, or -1 for any number').default(0),
  dryRun: truth,
  logItems: truth,
};

const PREFIX_RULE = `must be a text of 1 to ${MAX_PREFIX} characters, "/" for everything`;
const PREFIXES_RULE = `must be a list of 1 to ${MAX_PREFIXES} prefixes`;
const PATH_RULE = `must be a path below the mount, at most ${MAX_PATH_BYTES} bytes, without "..", "/" for everything`;

function isPathBelow(text: string): boolean {
  const sane = text !== '' && !text.includes('\0') && Buffer.byteLength(text) <= MAX_PATH_BYTES;
  return sane && !text.split('/').includes('..');
}

const importSchema = z.strictObject({
  kind: z.literal('import'),
  ...common,
  prefixes: z
    .array(z.string(PREFIX_RULE).min(1, PREFIX_RULE).max(MAX_PREFIX, PREFIX_RULE), PREFIXES_RULE)
    .min(1, PREFIXES_RULE)
    .max(MAX_PREFIXES, PREFIXES_RULE)
    .default(['/']),
  conflictMode: z
    .unknown()
    .default('fail')
    .superRefine((text, context) => {
      const message = badMode(text);
      if (message !== undefined) context.addIssue({ code: 'custom', message });
    })
    .transform((text): ConflictMode => conflictModes[String(text).toLowerCase()] ?? 'fail'),
  attributesOnly: truth,
});

const exportSchema = z.strictObject({
  kind: z.literal('export'),
  ...common,
  path: z.string(PATH_RULE).refine(isPathBelow, PATH_RULE).default('/'),
  window: int(1, MAX_WINDOW, `must be a whole number from 1 to ${MAX_WINDOW}`).optional(),
});

const schemas = { import: importSchema, export: exportSchema };

export type ImportRequest = z.output<typeof importSchema>;
export type ExportRequest = z.output<typeof exportSchema>;
/** A wish that is well-formed; what the configuration says of it is jobSpec's. */
export type JobRequest = ImportRequest | ExportRequest;

function refused(code: 'BAD_REQUEST' | 'JOB_SPEC', message: string, hint?: string): LhsmError {
  return new LhsmError(message, {
    code,
    op: 'start job',
    errno: 22,
    ...(hint !== undefined && { hint }),
  });
}

function explain(kind: JobKind, issue: z.core.$ZodIssue): string[] {
  if (issue.code !== 'unrecognized_keys') return [`${String(issue.path[0])} ${issue.message}`];
  const known = Object.keys(schemas[kind].shape);
  return issue.keys.map((key) => {
    const near = nearest(key, known);
    const hint = near === undefined ? `known are ${known.join(', ')}` : `did you mean ${near}?`;
    return `${key.slice(0, 80)} is no key of an ${kind}: ${hint}`;
  });
}

/**
 * Reads the body of `POST /v1/jobs`. Throws LhsmError code BAD_REQUEST that names everything wrong and what is allowed.
 */
export function parseJobRequest(body: unknown): JobRequest {
  const given = typeof body === 'object' && body !== null && 'kind' in body ? body.kind : undefined;
  const kind = JOB_KINDS.find((each) => each === given);
  if (kind === undefined) {
    throw refused('BAD_REQUEST', `the body must be {"kind": …}, with one of ${JOB_KINDS.join(', ')}`);
  }
  const parsed = schemas[kind].safeParse(body);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.flatMap((issue) => explain(kind, issue));
  throw refused('BAD_REQUEST', problems.join('; '), 'See docs/cli.md, or lhsm-azblob help.');
}

/** What the wish does not say. */
export interface SpecContext {
  /** Of the configuration, in its order; 0 stands for every other. */
  readonly archiveIds: readonly number[];
  readonly mount: string;
  /** `[jobs] window` */
  readonly window: number;
  readonly now: Date;
}

function archiveOf({ archiveId }: JobRequest, { archiveIds }: SpecContext): number {
  const named = archiveIds.filter((id) => id !== 0);
  const any = named.length < archiveIds.length;
  const which = `${named.join(', ')}${any ? `${named.length > 0 ? ', or ' : ''}any other number` : ''}`;
  const hint = `The configuration has archive ids: ${which}. Name one with --archive-id (archiveId).`;
  if (archiveId !== undefined) {
    if (any || named.includes(archiveId)) return archiveId;
    throw refused('JOB_SPEC', `there is no archive ${archiveId}`, hint);
  }
  const [only] = named;
  if (only !== undefined && archiveIds.length === 1) return only;
  throw refused('JOB_SPEC', 'the archive id is missing, and more than one may be meant', hint);
}

/** `/mnt/lustre/a/` and `a` → `/a`. */
function pathBelow(path: string, mount: string): string {
  const plain = posix.join('/', path);
  const below = plain === mount || plain.startsWith(`${mount}/`) ? plain.slice(mount.length) : plain;
  return posix.join('/', below).replace(/(?<=.)\/+$/, '');
}

/**
 * The job that is wished for, complete. Throws LhsmError code JOB_SPEC for an archive id that is not configured, or not
 * named where it must be; PREFIX_INVALID and PREFIXES_OVERLAP.
 */
export function jobSpec(request: JobRequest, context: SpecContext): JobSpec {
  const { kind, dryRun, logItems, maximumErrors } = request;
  // To the millisecond: a script may ask for two within a second.
  const name = request.name ?? `${kind}-${context.now.toISOString().replace(/[-:.]/g, '')}`;
  const shared = { name, archiveId: archiveOf(request, context), maximumErrors, dryRun, logItems };
  if (request.kind === 'export') {
    const path = pathBelow(request.path, context.mount);
    return { kind: 'export', ...shared, path, window: request.window ?? context.window };
  }
  const { prefixes, conflictMode, attributesOnly } = request;
  // Refused before there is a job; the import does it once more, when it knows the archive's prefix and account.
  listedPrefixes(prefixes, { archivePrefix: '', hierarchical: false });
  return { kind: 'import', ...shared, prefixes, conflictMode, attributesOnly };
}

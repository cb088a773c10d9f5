// What somebody wishes of an operation, as the admin API gets it, checked and completed.
import { z } from 'zod';
import { LhsmError } from '../../native-bindings/errors.js';
import { nearest } from '../config/nearest.js';
import { MAX_WINDOW } from './shared-window.js';

const MAX_PATHS = 1000;
const MAX_PATH_BYTES = 4096;
/** Exact as a number, and more than any file system holds. */
const MAX_BYTES = Number.MAX_SAFE_INTEGER;
const MAX_SECONDS = 1_000_000_000;

const PATH_RULE = `must be paths of 1 to ${MAX_PATH_BYTES} bytes without NUL, absolute or relative to the mount`;
const PATHS_RULE = `must be a list of 1 to ${MAX_PATHS} paths; more of them go into a file, for files_from`;
const FILE_RULE = 'must be the absolute path of a list on the node of the daemon';

function isPath(text: string): boolean {
  return text !== '' && !text.includes('\0') && Buffer.byteLength(text) <= MAX_PATH_BYTES;
}

const int = (min: number, max: number, words: string) => z.int(words).min(min, words).max(max, words);
const truth = z.boolean('must be true or false').default(false);
const bytes = int(0, MAX_BYTES, `must be a whole number of bytes from 0 to ${MAX_BYTES}`);
const path = z.string(PATH_RULE).refine(isPath, PATH_RULE);
const paths = z.array(path, PATHS_RULE).max(MAX_PATHS, PATHS_RULE);
const somePaths = paths.min(1, PATHS_RULE);

const restoreSchema = z
  .strictObject({
    kind: z.literal('restore'),
    paths: paths.default([]),
    filesFrom: path.refine((text) => text.startsWith('/'), FILE_RULE).optional(),
    window: int(1, MAX_WINDOW, `must be a whole number from 1 to ${MAX_WINDOW}`).optional(),
    bytesLimit: bytes.optional(),
    newestFirst: truth,
  })
  .refine((given) => given.paths.length > 0 !== (given.filesFrom !== undefined), {
    path: ['paths'],
    message: 'or filesFrom must be given, and not both',
  });

const releaseSchema = z.strictObject({
  kind: z.literal('release'),
  paths: somePaths,
  olderThanSeconds: int(0, MAX_SECONDS, `must be whole seconds from 0 to ${MAX_SECONDS}`).optional(),
  minSizeBytes: bytes.optional(),
  dryRun: truth,
});

const verifySchema = z.strictObject({
  kind: z.literal('verify'),
  paths: somePaths,
  content: truth,
  repair: truth,
});

const schemas = { restore: restoreSchema, release: releaseSchema, verify: verifySchema };
const kinds = Object.keys(schemas) as (keyof typeof schemas)[];

export type RestoreRequest = z.output<typeof restoreSchema>;
export type ReleaseRequest = z.output<typeof releaseSchema>;
export type VerifyRequest = z.output<typeof verifySchema>;
export type OperationRequest = RestoreRequest | ReleaseRequest | VerifyRequest;

function refused(message: string, hint?: string): LhsmError {
  return new LhsmError(message, {
    code: 'BAD_REQUEST',
    op: 'start operation',
    errno: 22,
    ...(hint !== undefined && { hint }),
  });
}

function explain(kind: keyof typeof schemas, issue: z.core.$ZodIssue): string[] {
  if (issue.code !== 'unrecognized_keys') return [`${String(issue.path[0])} ${issue.message}`];
  const known = Object.keys(schemas[kind].shape);
  return issue.keys.map((key) => {
    const near = nearest(key, known);
    const hint = near === undefined ? `known are ${known.join(', ')}` : `did you mean ${near}?`;
    return `${key.slice(0, 80)} is no key of a ${kind}: ${hint}`;
  });
}

/** Reads the body of `POST /v1/operations`. Throws LhsmError BAD_REQUEST that names everything wrong and what is allowed. */
export function parseOperationRequest(body: unknown): OperationRequest {
  const given = typeof body === 'object' && body !== null && 'kind' in body ? body.kind : undefined;
  const kind = kinds.find((each) => each === given);
  if (kind === undefined) {
    const near = typeof given === 'string' ? nearest(given, kinds) : undefined;
    throw refused(
      `the body must be {"kind": …}, with one of ${kinds.join(', ')}`,
      near === undefined ? undefined : `Did you mean ${near}?`,
    );
  }
  const parsed = schemas[kind].safeParse(body);
  if (parsed.success) return parsed.data;
  const problems = new Set(parsed.error.issues.flatMap((issue) => explain(kind, issue)));
  throw refused([...problems].join('; '), 'See docs/cli.md, or lhsm-azblob help.');
}

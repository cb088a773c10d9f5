// Documents of jobs as text and back. The store writes and reads them.
import { LhsmError } from '../../native-bindings/errors.js';
import { JOB_KINDS, type JobDocument, type JobKind } from './job.js';

/** As people can read it in the portal, too. */
export function documentText(document: object): string {
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** Any JSON of ours; `blob` names it in the error. Throws LhsmError JOB_DOCUMENT. */
export function parseJson(body: Buffer, blob: string): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw damaged(blob, 'is not JSON', cause);
  }
}

/** A status document. Throws LhsmError JOB_DOCUMENT. */
export function parseDocument(body: Buffer, blob: string): JobDocument {
  const value = parseJson(body, blob);
  if (typeof value !== 'object' || value === null) throw damaged(blob, 'is no status document');
  const { schema, name, id, kind, state, lastStartedTime } = value as Record<string, unknown>;
  if (schema !== 1) throw damaged(blob, `is of schema ${JSON.stringify(schema)}, not 1`);
  const isWhole =
    [name, id, state, lastStartedTime].every((field) => typeof field === 'string') &&
    JOB_KINDS.includes(kind as JobKind);
  if (!isWhole) throw damaged(blob, 'is no status document');
  return value as JobDocument;
}

function damaged(blob: string, what: string, cause?: unknown): LhsmError {
  return new LhsmError(`The document ${JSON.stringify(blob)} of the logging container ${what}.`, {
    code: 'JOB_DOCUMENT',
    op: 'job document',
    errno: 5,
    hint: 'Another version of this program, or somebody else, wrote it; look at it, and delete it if it is of no use.',
    cause,
  });
}

// What is left of a walk over a container, as it stands in a checkpoint. walker.ts keeps it; the runner writes and reads it.
import { LhsmError } from '../../native-bindings/errors.js';

/** One prefix of which something is left. */
export interface WalkPart {
  readonly prefix: string;
  /**
   * `examine`: not begun; one flat page tells how to go on. `flat`: listed in full depth. `shallow`: listed down to the next slash,
   * its directories being parts of their own.
   */
  readonly stage: 'examine' | 'flat' | 'shallow';
  /** Of the next page; left out for the first. */
  readonly marker?: string;
}

/** JSON. */
export interface WalkState {
  readonly schema: 1;
  /** A stack: the last is next. */
  readonly left: readonly WalkPart[];
}

function isPart(value: unknown): value is WalkPart {
  const { prefix, stage, marker } = (value ?? {}) as Readonly<Record<string, unknown>>;
  const isStage = stage === 'examine' || stage === 'flat' || stage === 'shallow';
  return typeof prefix === 'string' && isStage && (marker === undefined || typeof marker === 'string');
}

/** A state out of a checkpoint's JSON. Throws LhsmError code WALK_STATE_INVALID for what no walker wrote. */
export function parseWalkState(value: unknown): WalkState {
  const { schema, left } = (value ?? {}) as Readonly<Record<string, unknown>>;
  if (schema === 1 && Array.isArray(left) && (left as unknown[]).every(isPart)) {
    return { schema, left: left as unknown[] as WalkPart[] };
  }
  throw new LhsmError('The checkpoint says of the listing what this version does not know.', {
    code: 'WALK_STATE_INVALID',
    op: 'resume',
    errno: 22,
    hint: 'Start the import anew: what is there already is no conflict where it is the same.',
  });
}

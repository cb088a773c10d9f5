// A failure as the worker knows it, on its way to the main thread, which has the words for it.
import { LhsmError } from '../../../native-bindings/errors.js';
import type { WireFailure } from './messages.js';
import { BadAnswer } from './response-parser.js';

export class WireError extends Error {
  override readonly name = 'WireError';
  readonly failure: WireFailure;

  constructor(failure: WireFailure) {
    super(failure.kind);
    this.failure = failure;
  }
}

/** What is told of any error. */
export function failureOf(error: unknown): WireFailure {
  if (error instanceof WireError) return error.failure;
  if (error instanceof BadAnswer) return { kind: 'bad-answer', what: error.message };
  if (error instanceof LhsmError && (error.op === 'read' || error.op === 'write')) {
    const { code, message, op, hint } = error;
    return { kind: 'file', op, code, message, hint };
  }
  return {
    kind: 'internal',
    message: error instanceof Error ? (error.stack ?? error.message) : String(error),
  };
}

// Puts a worker's failures into the project's one error class. download.ts and upload.ts call it.
import { LhsmError } from '../../native-bindings/errors.js';
import { canceled } from '../azure-errors.js';
import { badAnswer } from './range-answer.js';
import type { AnswerHeaders, WireFailure } from './worker/messages.js';

/** An answer other than success, as azure-errors.ts and azure-retry.ts know the SDK's. */
export class StatusError extends Error {
  override readonly name = 'RestError';
  readonly statusCode: number;
  readonly code: string | undefined;
  readonly response: { readonly headers: { get(name: string): string | undefined } };

  constructor(status: number, code: string | undefined, headers: AnswerHeaders) {
    const id = headers['x-ms-request-id'];
    super(`${status} ${code ?? ''} (x-ms-request-id ${id ?? 'unknown'})`);
    this.statusCode = status;
    this.code = code;
    this.response = {
      headers: {
        get: (name) => (name === 'x-ms-error-code' ? code : headers[name]),
      },
    };
  }
}

/** The error to throw for a failure of `op` on `subject` (the blob, without secrets). */
export function wireError(failure: WireFailure, op: string, subject: string, stallTimeoutMs: number): Error {
  switch (failure.kind) {
    case 'network':
      // azure-errors.ts knows Node's codes.
      return Object.assign(new Error(failure.message), { code: failure.code });
    case 'stall':
      return unreachable(op, `${op}: ${subject} moved no byte for ${stallTimeoutMs} ms.`);
    case 'broken':
      return unreachable(op, `${op}: the answer for ${subject} broke off: ${failure.what}.`);
    case 'bad-answer':
      return badAnswer(subject, failure.what, op);
    case 'file': {
      const { message, code, hint } = failure;
      return new LhsmError(message, { code, op: failure.op, ...(hint === undefined ? {} : { hint }) });
    }
    case 'file-ended':
      return new LhsmError(`The file was truncated during archive: it ended at ${failure.at} bytes.`, {
        code: 'FILE_CHANGED',
        op: 'read',
        errno: 16, // EBUSY
        retryable: true,
        hint: 'Nothing was committed; archive it again.',
      });
    case 'crc':
      return new LhsmError(`${op}: what arrived for ${subject} has another CRC64 than what was sent.`, {
        code: 'CHECKSUM_MISMATCH',
        op,
        errno: 5,
        retryable: true,
        hint: 'Something on the way changes bytes, or the memory of this machine does.',
      });
    case 'status':
      return new StatusError(failure.answer.status, failure.serviceCode, failure.answer.headers);
    case 'aborted':
      return canceled(op);
    case 'internal':
      return new Error(failure.message);
  }
}

function unreachable(op: string, message: string): LhsmError {
  return new LhsmError(message, { code: 'UNREACHABLE', op, errno: 11, retryable: true });
}

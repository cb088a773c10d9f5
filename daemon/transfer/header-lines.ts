// Header lines of requests that the SDK does not make.
import { LhsmError } from '../../native-bindings/errors.js';
import type { ExpectedVersion } from '../blob.js';

/** The value, if it can stand in a header. Throws LhsmError EINVAL: what it holds could begin another header. */
export function headerValue(value: string): string {
  if (/^[\x20-\x7e]*$/.test(value)) return value;
  throw new LhsmError(`${JSON.stringify(value)} cannot be sent in a header.`, {
    code: 'REFUSED',
    op: 'request',
    errno: 22,
  });
}

/** `x-ms-meta-…` lines. Throws LhsmError EINVAL. */
export function metadataLines(metadata: Readonly<Record<string, string>>): string {
  return Object.entries(metadata)
    .map(([key, value]) => `x-ms-meta-${headerValue(key)}: ${headerValue(value)}\r\n`)
    .join('');
}

/** The condition that only the expected version, or none at all, stands there. */
export function conditionLines(expected: ExpectedVersion): string {
  if (expected === undefined) return '';
  return expected === 'absent' ? 'if-none-match: *\r\n' : `if-match: ${headerValue(expected.etag)}\r\n`;
}

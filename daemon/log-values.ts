// Turns whatever is logged (or answered by the admin API) into plain JSON values: bigint, FIDs, errors,
// buffers. log.ts and control/ call it.
import { errnoName, LhsmError } from '../native-bindings/errors.js';
import { formatFid, type Fid } from '../native-bindings/lustre.js';
import { isSecretName, REDACTED } from './redact.js';

export type Plain = string | number | boolean | null | Plain[] | { [key: string]: Plain };

const MAX_DEPTH = 6;
const MAX_ITEMS = 100;

function isFid(value: object): value is Fid {
  return (
    'seq' in value &&
    typeof value.seq === 'bigint' &&
    'oid' in value &&
    typeof value.oid === 'number' &&
    'ver' in value &&
    typeof value.ver === 'number'
  );
}

/** What is logged of an error: name, message, code, op, errno's name, hint, stack and the chain of causes. */
export function plainError(error: Error, depth = 0): Plain {
  const out: Record<string, Plain> = { name: error.name, message: error.message };
  if ('code' in error && (typeof error.code === 'string' || typeof error.code === 'number'))
    out['code'] = error.code;
  if ('statusCode' in error && typeof error.statusCode === 'number') out['statusCode'] = error.statusCode;
  if ('syscall' in error && typeof error.syscall === 'string') out['op'] = error.syscall;
  if (error instanceof LhsmError) {
    out['op'] = error.op;
    if (error.retryable) out['retryable'] = true;
    if (error.hint !== undefined) out['hint'] = error.hint;
  }
  if ('errno' in error && typeof error.errno === 'number') out['errno'] = errnoName(Math.abs(error.errno));
  // Failures of the outside world are explained by their words; only mistakes of ours need the stack.
  if (!('errno' in error) && error.stack !== undefined && error.name !== 'AbortError')
    out['stack'] = error.stack;
  if (depth < MAX_DEPTH) {
    if (error instanceof AggregateError) {
      out['errors'] = error.errors.slice(0, MAX_ITEMS).map((each: unknown) => plain(each, depth + 1));
    }
    if (error.cause !== undefined) out['cause'] = plain(error.cause, depth + 1);
  }
  return out;
}

function plainObject(value: object, depth: number): Plain {
  if (value instanceof Error) return plainError(value, depth);
  if (Buffer.isBuffer(value) || ArrayBuffer.isView(value)) return `<${value.byteLength} bytes>`;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (value instanceof URL) return value.href;
  if (isFid(value)) return formatFid(value);
  if (depth >= MAX_DEPTH) return '…';
  if (value instanceof Map) return plain(Object.fromEntries(value), depth);
  if (value instanceof Set) return plain([...value], depth);
  if (Array.isArray(value)) {
    const items = value.slice(0, MAX_ITEMS).map((item: unknown) => plain(item, depth + 1));
    if (value.length > MAX_ITEMS) items.push(`… ${value.length - MAX_ITEMS} more`);
    return items;
  }
  if ('toJSON' in value && typeof value.toJSON === 'function') {
    return plain((value as { toJSON(): unknown }).toJSON(), depth + 1);
  }
  const out: Record<string, Plain> = {};
  for (const [key, each] of Object.entries(value)) {
    if (each === undefined || typeof each === 'function') continue;
    out[key] = isSecretName(key) && typeof each === 'string' ? REDACTED : named(key, each, depth + 1);
  }
  return out;
}

const amount = /(?:bytes|size|offset|length|count|total|ns|items)$/i;

/** Amounts are decimal, so that they can be summed up; every other bigint is an identifier. */
function named(key: string, value: unknown, depth: number): Plain {
  if (typeof value !== 'bigint' || !amount.test(key)) return plain(value, depth);
  return BigInt(Number(value)) === value && Number.isSafeInteger(Number(value))
    ? Number(value)
    : value.toString();
}

/** A value that JSON can hold: 64-bit numbers as `0x…`, FIDs as `[0x…:0x…:0x…]`, nothing deeper than six levels. */
export function plain(value: unknown, depth = 0): Plain {
  switch (typeof value) {
    case 'bigint':
      return value < 0n ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      return Number.isFinite(value) ? value : String(value);
    case 'symbol':
    case 'function':
      return value.toString().slice(0, 40);
    case 'undefined':
      return null;
    case 'object':
      return value === null ? null : plainObject(value, depth);
  }
}

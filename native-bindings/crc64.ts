// CRC-64/NVME, the checksum that Azure calls CRC64: polynomial 0xad93d23594c93659, reflected, initial value and final xor
// all ones. The transfer plane takes it from each block, in any thread. The work is done by the addon that
// build-addon.mjs makes of crc64.c; it is loaded at the first call.
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { LhsmError } from './errors.js';

/** How the CRC is computed: the carry-less multiplication of x86-64 or of aarch64, or tables, which work everywhere. */
export type Crc64Implementation = 'pclmulqdq' | 'pmull' | 'table';

interface Addon {
  /** What this processor can do, the fastest first. */
  readonly implementations: readonly Crc64Implementation[];
  crc64(bytes: Uint8Array, previous: bigint, implementation: number): bigint;
  combine(crc: bigint, crcAfter: bigint, lengthAfter: number): bigint;
}

const CRC_BYTES = 8;
const FILE = new URL('crc64.node', import.meta.url);

let loaded: Addon | undefined;

function load(): Addon {
  const file = fileURLToPath(FILE);
  try {
    return createRequire(import.meta.url)(file) as Addon;
  } catch (cause) {
    throw new LhsmError(`The addon for CRC64, ${file}, cannot be loaded.`, {
      code: 'ADDON_MISSING',
      op: 'load crc64.node',
      hint: 'Run npm run build on this machine; it needs gcc and the headers of the C library.',
      cause,
    });
  }
}

function addon(): Addon {
  return (loaded ??= load());
}

/**
 * The CRC64 of bytes, or of everything up to their end when `previous` is what this function gave for the bytes
 * before them. Synchronous: 8 MiB take less than a millisecond where the processor helps. The bytes may lie in a
 * SharedArrayBuffer.
 * @param previous 64 bits, unsigned.
 * @throws TypeError for arguments of other types or ranges; LhsmError ADDON_MISSING.
 */
export function crc64(bytes: Uint8Array, previous = 0n): bigint {
  return addon().crc64(bytes, previous, 0);
}

/**
 * The CRC64 of two pieces, the second behind the first, from the CRC64 of each. Takes microseconds, whatever
 * the length.
 * @param lengthB bytes of the second piece, at most 2^53.
 * @throws TypeError for arguments of other types or ranges; LhsmError ADDON_MISSING.
 */
export function crc64Combine(a: bigint, b: bigint, lengthB: number): bigint {
  return addon().combine(a, b, lengthB);
}

/** All that this processor can do, the fastest first. Throws LhsmError ADDON_MISSING. */
export function crc64Implementations(): readonly Crc64Implementation[] {
  return addon().implementations;
}

/** What `crc64` uses. Throws LhsmError ADDON_MISSING. */
export function crc64Implementation(): Crc64Implementation {
  return crc64Implementations()[0] ?? 'table';
}

/** `crc64` by an implementation of choice, for tests and benches. Throws TypeError for one that is not here. */
export function crc64With(implementation: Crc64Implementation, bytes: Uint8Array, previous = 0n): bigint {
  return addon().crc64(bytes, previous, crc64Implementations().indexOf(implementation));
}

/**
 * The eight bytes of a CRC64 as Azure has them in `x-ms-content-crc64` (there in base64): the lowest first, as the
 * SDK's StorageCRC64Calculator gives them
 * (https://learn.microsoft.com/rest/api/storageservices/structured-body-format: all integers are little-endian).
 * @throws RangeError for what has no 64 bits, unsigned.
 */
export function crc64Bytes(crc: bigint): Buffer {
  const bytes = Buffer.allocUnsafe(CRC_BYTES);
  bytes.writeBigUInt64LE(crc);
  return bytes;
}

/** The CRC64 that these eight bytes stand for. Throws TypeError for any other number of bytes. */
export function crc64FromBytes(bytes: Uint8Array): bigint {
  if (bytes.length !== CRC_BYTES) throw new TypeError(`a CRC64 has 8 bytes, these are ${bytes.length}`);
  return Buffer.from(bytes.buffer, bytes.byteOffset, CRC_BYTES).readBigUInt64LE();
}

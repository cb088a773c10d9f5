// How a blob's metadata say the CRC64 of its whole content. upload.ts writes it, download.ts compares.
import { crc64Bytes, crc64FromBytes } from '../../native-bindings/crc64.js';

/** Metadata: base64 of eight bytes, the lowest first, as Azure's own `x-ms-content-crc64`. */
export const CRC_METADATA = 'lhsm_crc64';

export function crcText(crc: bigint): string {
  return crc64Bytes(crc).toString('base64');
}

/** undefined for what is no CRC64: somebody else's metadata are not worth a refusal. */
export function crcOf(text: string | undefined): bigint | undefined {
  if (text === undefined || !/^[A-Za-z0-9+/]{11}=$/.test(text)) return undefined;
  return crc64FromBytes(Buffer.from(text, 'base64'));
}

// How large the blocks of a file have to be. upload.ts calls it.
import { LhsmError } from '../../native-bindings/errors.js';

const MIB = 1024 * 1024;
/** https://learn.microsoft.com/azure/storage/blobs/scalability-targets: blocks of one blob, and the largest block. */
export const MAX_BLOCKS = 50_000;
export const MAX_BLOCK_BYTES = 4000 * MIB;
/** The largest Put Blob; same page. */
export const MAX_PUT_BLOB_BYTES = 5000 * MIB;

/**
 * The size of a file's blocks: the configured one where 50,000 of them hold the file, else as much larger as it has
 * to be, in whole MiB. Throws LhsmError EFBIG for more than 50,000 × 4,000 MiB (190.7 TiB).
 */
export function blockSizeFor(sizeBytes: number, configuredBytes: number): number {
  const configured = Math.min(configuredBytes, MAX_BLOCK_BYTES);
  if (sizeBytes <= configured * MAX_BLOCKS) return configured;
  const grown = Math.ceil(sizeBytes / MAX_BLOCKS / MIB) * MIB;
  if (grown > MAX_BLOCK_BYTES) {
    throw new LhsmError(`A file of ${sizeBytes} bytes is larger than a block blob can be.`, {
      code: 'TOO_LARGE',
      op: 'Put Block',
      errno: 27, // EFBIG
    });
  }
  return grown;
}

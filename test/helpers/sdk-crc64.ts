// The Azure SDK's own CRC64 (WebAssembly), to compare ours with. It is public in @azure/storage-common, which is found
// through @azure/storage-blob, whose dependency it is: so it is the one that the product's SDK uses.
import { createRequire } from 'node:module';

interface Calculator {
  append(body: Uint8Array, length: number): void;
  final(body: Uint8Array, length: number): Uint8Array;
}
interface StorageCommon {
  readonly StorageCRC64Calculator: { new (): Calculator; init(): Promise<void> };
}

/** A function that gives the eight bytes of the CRC64 of all pieces, one behind the other, as the SDK sends them. */
export async function loadSdkCrc64(): Promise<(...pieces: readonly Uint8Array[]) => Uint8Array> {
  const blob = createRequire(import.meta.url).resolve('@azure/storage-blob');
  const common = createRequire(blob)('@azure/storage-common') as StorageCommon;
  await common.StorageCRC64Calculator.init();
  return (...pieces) => {
    const calculator = new common.StorageCRC64Calculator();
    for (const piece of pieces) calculator.append(piece, piece.length);
    return calculator.final(new Uint8Array(0), 0);
  };
}

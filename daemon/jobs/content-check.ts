// Compares bytes with the CRC64 that the archive left in the blob's metadata: the file's, or the blob's own. verify.ts calls it
// where content is to be checked.
import { close as closeCallback, open as openCallback, read as readCallback } from 'node:fs';
import { promisify } from 'node:util';
import { crc64 } from '../../native-bindings/crc64.js';
import { DataVersionFlag } from '../../native-bindings/constants.js';
import { hasCode } from '../../native-bindings/errors.js';
import type { Lustre } from '../../native-bindings/lustre.js';
import type { BlobHeaders } from '../blob.js';
import type { ArchiveContainer } from '../blobs/archive-container.js';
import type { Share } from '../share.js';
import { newCounters, type TransferEngine } from '../transfer/transfer.js';
import { CRC_METADATA, crcOf } from '../transfer/crc-metadata.js';

const open = promisify(openCallback);
const close = promisify(closeCallback);
const read = promisify(readCallback);

const CHUNK_BYTES = 4 << 20;

/** The CRC64 that the blob was archived with; undefined when it says none. */
export function storedCrc({ metadata }: BlobHeaders): bigint | undefined {
  return crcOf(metadata[CRC_METADATA]);
}

/**
 * The CRC64 of a present file's content; undefined when it was written meanwhile. Never call it for a released file: reading
 * restores it.
 * @param share - reads may wait for an OST; it bounds how many threads they hold.
 */
export async function crcOfFile(
  lustre: Pick<Lustre, 'dataVersion'>,
  fd: number,
  share: Pick<Share, 'run'>,
  signal: AbortSignal,
): Promise<bigint | undefined> {
  const version = (): Promise<bigint> =>
    share.run(() => lustre.dataVersion(fd, DataVersionFlag.FLUSH_WRITERS));
  const before = await version();
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  let crc = 0n;
  for (let at = 0; ;) {
    signal.throwIfAborted();
    const from = at;
    const { bytesRead } = await share.run(() => read(fd, buffer, 0, CHUNK_BYTES, from));
    if (bytesRead === 0) break;
    crc = crc64(buffer.subarray(0, bytesRead), crc);
    at += bytesRead;
  }
  return (await version()) === before ? crc : undefined;
}

export interface BlobContent {
  readonly container: ArchiveContainer;
  readonly name: string;
  readonly headers: BlobHeaders;
}

/**
 * Whether the blob's bytes are those that its metadata tell. The transfer engine streams them, of this one version, and
 * compares; nothing keeps them. Rejects with LhsmError as TransferEngine.download.
 */
export async function isBlobWhole(
  transfer: Pick<TransferEngine, 'download'>,
  { container, name, headers }: BlobContent,
  signal: AbortSignal,
): Promise<boolean> {
  const nowhere = await open('/dev/null', 'w');
  try {
    await transfer.download(
      {
        blob: container.location(name),
        fd: nowhere,
        sizeBytes: headers.sizeBytes,
        ifMatch: headers.etag,
        accept: () => undefined,
        counters: newCounters(),
      },
      signal,
    );
    return true;
  } catch (error) {
    if (hasCode(error, 'CHECKSUM_MISMATCH')) return false;
    throw error;
  } finally {
    await close(nowhere);
  }
}

// The one request that makes an upload of blocks visible, under its condition, and the look at a commit whose answer was
// lost: it is tried again, and then meets itself: the blob is no longer the expected one, because it is ours. upload.ts
// calls it.
import { hasCode } from '../../native-bindings/errors.js';
import { conditionsOf } from '../blob.js';
import { sameMetadata } from '../blob-headers.js';
import { sdkRequest, type EngineParts } from './parts.js';
import type { UploadRequest, UploadResult } from './transfer.js';

interface Written {
  readonly etag?: string;
  readonly lastModified?: Date;
}

const resultOf = ({ etag, lastModified }: Written): UploadResult => ({ etag: etag ?? '', lastModified });

/**
 * The blob that a refused Put Blob of ours made at an earlier try; undefined when it is somebody else's. Its metadata
 * have the CRC64 of the content, and who wrote what over what: same metadata and size is all that we wanted to be true.
 */
export async function recogniseOwn(
  parts: EngineParts,
  transfer: UploadRequest,
  metadata: Readonly<Record<string, string>>,
  error: unknown,
  signal: AbortSignal,
): Promise<UploadResult | undefined> {
  if (!hasCode(error, 'BLOB_CHANGED')) return undefined;
  return sdkRequest(parts, transfer, { op: 'Get Blob Properties', signal }, async (client) => {
    const found = await client.getProperties({ abortSignal: signal });
    const same = found.contentLength === transfer.sizeBytes && sameMetadata(found.metadata ?? {}, metadata);
    return same ? resultOf(found) : undefined;
  });
}

/** Put Block List. Rejects with LhsmError ESTALE code BLOB_CHANGED when the blob is not the expected one. */
export async function commitBlocks(
  parts: EngineParts,
  transfer: UploadRequest,
  ids: readonly string[],
  metadata: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<UploadResult> {
  let tries = 0;
  try {
    const options = { op: 'Put Block List', urgent: true, signal };
    return await sdkRequest(parts, transfer, options, async (client, attempt) => {
      tries = attempt.number;
      const answer = await client.commitBlockList([...ids], {
        abortSignal: signal,
        conditions: conditionsOf(transfer.expected),
        metadata: { ...metadata },
      });
      return resultOf(answer);
    });
  } catch (error) {
    if (tries < 2 || !hasCode(error, 'BLOB_CHANGED')) throw error;
    const ours = await sdkRequest(parts, transfer, { op: 'Get Block List', signal }, async (client) => {
      const found = await client.getBlockList('committed', { abortSignal: signal });
      const names = (found.committedBlocks ?? []).map(({ name }) => name);
      // Block ids are random: nobody else's commit can hold them.
      const same = names.length === ids.length && names.every((name, index) => name === ids[index]);
      return same ? resultOf(found) : undefined;
    });
    if (ours) return ours;
    throw error;
  }
}

// The one request that makes an upload visible, under its condition. A commit whose answer was lost is tried again, and
// then meets itself: the blob is no longer the expected one, because it is ours. upload.ts calls it.
import { createHash } from 'node:crypto';
import type { BlobRequestConditions } from '@azure/storage-blob';
import { hasCode } from '../../native-bindings/errors.js';
import { request, type EngineParts } from './parts.js';
import type { UploadRequest, UploadResult } from './transfer.js';

interface Written {
  readonly etag?: string;
  readonly lastModified?: Date;
}

const resultOf = ({ etag, lastModified }: Written): UploadResult => ({ etag: etag ?? '', lastModified });

function conditionsOf({ expected }: UploadRequest): BlobRequestConditions {
  if (expected === undefined) return {};
  return expected === 'absent' ? { ifNoneMatch: '*' } : { ifMatch: expected.etag };
}

/** Put Blob. Rejects with LhsmError ESTALE code BLOB_CHANGED when the blob is not the expected one. */
export async function commitWhole(
  parts: EngineParts,
  transfer: UploadRequest,
  content: Buffer,
  signal: AbortSignal,
): Promise<UploadResult> {
  let tries = 0;
  try {
    return await request(parts, transfer, 'Put Blob', signal, async (client, attempt) => {
      tries = attempt.number;
      const answer = await client.upload(content, content.length, {
        abortSignal: signal,
        conditions: conditionsOf(transfer),
        metadata: { ...transfer.metadata },
      });
      return resultOf(answer);
    });
  } catch (error) {
    if (tries < 2 || !hasCode(error, 'BLOB_CHANGED')) throw error;
    const ours = await request(parts, transfer, 'Get Blob Properties', signal, async (client) => {
      const found = await client.getProperties({ abortSignal: signal });
      // The service keeps an MD5 of every Put Blob (Put Blob, x-ms-blob-content-md5): same bytes, same metadata is
      // all that we wanted to be true.
      const same =
        found.contentLength === content.length &&
        sameMetadata(found.metadata, transfer.metadata) &&
        found.contentMD5 !== undefined &&
        createHash('md5').update(content).digest().equals(found.contentMD5);
      return same ? resultOf(found) : undefined;
    });
    if (ours) return ours;
    throw error;
  }
}

/** Put Block List. Rejects with LhsmError ESTALE code BLOB_CHANGED when the blob is not the expected one. */
export async function commitBlocks(
  parts: EngineParts,
  transfer: UploadRequest,
  ids: readonly string[],
  signal: AbortSignal,
): Promise<UploadResult> {
  let tries = 0;
  try {
    return await request(parts, transfer, 'Put Block List', signal, async (client, attempt) => {
      tries = attempt.number;
      const answer = await client.commitBlockList([...ids], {
        abortSignal: signal,
        conditions: conditionsOf(transfer),
        metadata: { ...transfer.metadata },
      });
      return resultOf(answer);
    });
  } catch (error) {
    if (tries < 2 || !hasCode(error, 'BLOB_CHANGED')) throw error;
    const ours = await request(parts, transfer, 'Get Block List', signal, async (client) => {
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

function sameMetadata(
  found: Readonly<Record<string, string>> | undefined,
  wanted: Readonly<Record<string, string>>,
): boolean {
  const lower = (metadata: Readonly<Record<string, string>>): string =>
    JSON.stringify(
      Object.entries(metadata)
        .map(([key, value]) => [key.toLowerCase(), value])
        .sort(),
    );
  return lower(found ?? {}) === lower(wanted);
}

// One archive's bytes: a small file as one Put Blob, a larger one as staged blocks and one Put Block List. engine.ts
// calls it.
import { randomBytes } from 'node:crypto';
import { crc64Combine } from '../../native-bindings/crc64.js';
import { hasCode, LhsmError } from '../../native-bindings/errors.js';
import { serviceCode } from '../azure-errors.js';
import { hostOf } from '../azure-retry.js';
import { blockSizeFor } from './block-size.js';
import { commitBlocks, recogniseOwn } from './commit.js';
import { CRC_METADATA, crcText } from './crc-metadata.js';
import { conditionLines, metadataLines } from './header-lines.js';
import { CallerError, subjectOf, wireRequest, type EngineParts } from './parts.js';
import { badAnswer, dateOf } from './range-answer.js';
import type { UploadRequest, UploadResult } from './transfer.js';
import { wireError } from './wire-failure.js';
import { WorkGroup } from './work-group.js';
import type { DoneEvent, Target } from './worker/messages.js';

/** Runs one upload to its end; when it settles, nothing of it is under way. */
export function upload(
  parts: EngineParts,
  transfer: UploadRequest,
  signal: AbortSignal,
): Promise<UploadResult> {
  const isSmall = transfer.sizeBytes <= Math.min(parts.putBlobMaxBytes, parts.heldBytes);
  return isSmall ? putWhole(parts, transfer, signal) : putBlocks(parts, transfer, signal);
}

/** What the service says of a CRC64 that it does not take. Azurite says the first unless it is started with --loose. */
const NO_CRC = new Set(['FeatureNotSupported', 'UnsupportedHeader', 'NotImplemented']);

/** One PUT, with its CRC64 as far as the account takes one. Rejects with the failure as an error. */
async function put(
  parts: EngineParts,
  transfer: UploadRequest,
  op: string,
  piece: { readonly position: number; readonly bytes: number; readonly idempotent: boolean },
  target: Target,
  signal: AbortSignal,
  onRead?: (crc: bigint) => Promise<string>,
): Promise<DoneEvent> {
  const { fd, blob, counters } = transfer;
  const host = hostOf(blob.url);
  const stream = piece.bytes > parts.heldBytes;
  const known = parts.withoutCrc.has(host);
  for (let sendCrc = !known && !stream; ; sendCrc = false) {
    const done = await parts.workers.put({ target, fd, ...piece, stream, sendCrc }, onRead, counters, signal);
    if (!done.failure) {
      if (!sendCrc && !known && !stream && !parts.withoutCrc.has(host)) {
        parts.withoutCrc.add(host);
        parts.onWithoutCrc(host);
      }
      return done;
    }
    const error = wireError(done.failure, op, subjectOf(blob), parts.stallTimeoutMs);
    // No second try mends a file that is shorter now; when it is at rest, a new archive does.
    if (done.failure.kind === 'file-ended') throw new CallerError(error);
    if (!sendCrc || !NO_CRC.has(serviceCode(error) ?? '')) throw error;
  }
}

/** Put Blob. Rejects with LhsmError ESTALE code BLOB_CHANGED when the blob is not the expected one. */
async function putWhole(
  parts: EngineParts,
  transfer: UploadRequest,
  signal: AbortSignal,
): Promise<UploadResult> {
  const { sizeBytes, metadata, expected } = transfer;
  const written: { tries: number; metadata: typeof metadata; broken?: LhsmError } = { tries: 0, metadata };
  const onRead = async (crc: bigint): Promise<string> => {
    await transfer.beforeCommit().catch((error: unknown) => {
      throw new CallerError(error);
    });
    written.metadata = { ...metadata, [CRC_METADATA]: crcText(crc) };
    return metadataLines(written.metadata);
  };
  const options = {
    op: 'Put Blob',
    urgent: true,
    signal,
    bytes: () => sizeBytes,
    headers: () =>
      `x-ms-blob-type: BlockBlob\r\ncontent-type: application/octet-stream\r\n${conditionLines(expected)}`,
  };
  const piece = { position: 0, bytes: sizeBytes, idempotent: false };
  try {
    return await wireRequest(parts, transfer, options, async (target, attempt) => {
      written.tries = attempt.number;
      try {
        const done = await put(parts, transfer, 'Put Blob', piece, target, signal, onRead);
        return resultOf(done, subjectOf(transfer.blob));
      } catch (error) {
        if (error instanceof LhsmError && error.code === 'CHECKSUM_MISMATCH') written.broken = error;
        throw error;
      }
    });
  } catch (error) {
    // The blob that stands in our way may be our own, made of other bytes.
    if (written.broken && hasCode(error, 'BLOB_CHANGED')) throw written.broken;
    const own = written.tries > 1 && (await recogniseOwn(parts, transfer, written.metadata, error, signal));
    if (own) {
      transfer.counters.bytes += sizeBytes;
      return own;
    }
    throw error;
  }
}

function resultOf({ answer }: DoneEvent, subject: string): UploadResult {
  const etag = answer?.headers['etag'];
  if (etag === undefined || etag === '') throw badAnswer(subject, 'no ETag', 'Put Blob');
  return { etag, lastModified: dateOf(answer?.headers['last-modified']) };
}

/**
 * Ids of one upload's blocks: random, so that two uploads of one blob can never commit each other's blocks, and 48
 * bytes before encoding, as the SDKs and AzCopy have them: all ids of a blob, left-overs included, must be of one length.
 */
function blockIds(count: number): string[] {
  const random = randomBytes(44);
  return Array.from({ length: count }, (_, index) => {
    const id = Buffer.alloc(48);
    random.copy(id);
    id.writeUInt32BE(index, 44);
    return id.toString('base64');
  });
}

/**
 * Each try reads the file anew, so that nobody keeps a buffer through a pause. What the tries read may differ:
 * `beforeCommit` comes after all of them, and finds out.
 */
async function putBlocks(
  parts: EngineParts,
  transfer: UploadRequest,
  signal: AbortSignal,
): Promise<UploadResult> {
  const { sizeBytes, metadata } = transfer;
  const blockBytes = blockSizeFor(sizeBytes, parts.blockSizeBytes);
  const ids = blockIds(Math.ceil(sizeBytes / blockBytes));
  const crcs = new BigUint64Array(ids.length);
  const lengthOf = (index: number): number => Math.min(blockBytes, sizeBytes - index * blockBytes);
  const group = new WorkGroup('Put Block', signal);
  let next = 0;
  const work = async (): Promise<void> => {
    for (let index = next++; index < ids.length; index = next++) {
      const piece = { position: index * blockBytes, bytes: lengthOf(index), idempotent: true };
      const query = `comp=block&blockid=${encodeURIComponent(ids[index] ?? '')}`;
      const bytes = (): number => piece.bytes;
      const options = { op: 'Put Block', signal: group.signal, bytes, query, headers: () => '' };
      await wireRequest(parts, transfer, options, async (target) => {
        crcs[index] = (await put(parts, transfer, 'Put Block', piece, target, group.signal)).crc;
      });
    }
  };
  for (let index = 0; index < Math.min(parts.rangesPerFile, ids.length); index += 1) group.run(work);
  await group.finish();
  await transfer.beforeCommit();
  const crc = crcs.reduce((whole, each, index) => crc64Combine(whole, each, lengthOf(index)), 0n);
  return commitBlocks(parts, transfer, ids, { ...metadata, [CRC_METADATA]: crcText(crc) }, signal);
}

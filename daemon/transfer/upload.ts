// One archive's bytes: a small file as one Put Blob, a larger one as staged blocks and one Put Block List.
// sdk-engine.ts calls it.
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import type { BlockBlobClient } from '@azure/storage-blob';
import { LhsmError } from '../../native-bindings/errors.js';
import { blockSizeFor } from './block-size.js';
import { commitBlocks, commitWhole } from './commit.js';
import { request, type EngineParts } from './parts.js';
import type { UploadRequest, UploadResult } from './transfer.js';
import { WorkGroup } from './work-group.js';

const MIB = 1024 * 1024;
/** Blocks above this size are read while they are sent, not before. */
const MAX_BUFFERED_BYTES = 64 * MIB;
/** The chunks of such a block, and how much of the pool one block in flight counts for. */
const CHUNK_BYTES = MIB;
const STREAM_RESERVE_BYTES = 4 * MIB;

/** Runs one upload to its end; when it settles, nothing of it is under way. */
export async function upload(
  parts: EngineParts,
  transfer: UploadRequest,
  signal: AbortSignal,
): Promise<UploadResult> {
  const group = new WorkGroup('Put Blob', signal);
  const buffered = Math.min(MAX_BUFFERED_BYTES, parts.pool.maxBytes);
  let result: UploadResult | undefined;
  group.run(async () => {
    const isSmall = transfer.sizeBytes <= Math.min(parts.putBlobMaxBytes, buffered);
    result = isSmall
      ? await putWhole(parts, transfer, group.signal)
      : await putBlocks(parts, transfer, group.signal, buffered);
  });
  await group.finish();
  if (!result) throw new Error('an upload ended without an answer');
  return result;
}

/** EBUSY: the file got shorter while it was read. */
function truncated(sizeBytes: number, endBytes: number): LhsmError {
  return new LhsmError(
    `The file was truncated during archive: it ended at ${endBytes} of ${sizeBytes} bytes.`,
    {
      code: 'FILE_CHANGED',
      op: 'read',
      errno: 16,
      hint: 'Nothing was committed; archive it again.',
    },
  );
}

async function readAll(
  parts: EngineParts,
  transfer: UploadRequest,
  into: Buffer,
  position: number,
): Promise<void> {
  const bytes = await parts.io.read(transfer.fd, into, position);
  if (bytes < into.length) throw truncated(transfer.sizeBytes, position + bytes);
}

async function putWhole(
  parts: EngineParts,
  transfer: UploadRequest,
  signal: AbortSignal,
): Promise<UploadResult> {
  const { sizeBytes, counters } = transfer;
  const buffer = sizeBytes === 0 ? undefined : await parts.pool.acquire(sizeBytes, signal);
  try {
    const bytes = buffer?.bytes ?? Buffer.alloc(0);
    if (sizeBytes > 0) await readAll(parts, transfer, bytes, 0);
    await transfer.beforeCommit();
    const result = await commitWhole(parts, transfer, bytes, signal);
    counters.bytes += sizeBytes;
    return result;
  } finally {
    buffer?.release();
  }
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

async function putBlocks(
  parts: EngineParts,
  transfer: UploadRequest,
  signal: AbortSignal,
  bufferedBytes: number,
): Promise<UploadResult> {
  const { sizeBytes, counters } = transfer;
  const blockBytes = blockSizeFor(sizeBytes, parts.blockSizeBytes);
  const ids = blockIds(Math.ceil(sizeBytes / blockBytes));
  const stage = blockBytes <= bufferedBytes ? stageBuffered : stageStreamed;
  const group = new WorkGroup('Put Block', signal);
  let next = 0;
  const work = async (): Promise<void> => {
    for (let index = next++; index < ids.length; index = next++) {
      const position = index * blockBytes;
      const block = { id: ids[index] ?? '', position, bytes: Math.min(blockBytes, sizeBytes - position) };
      await stage(parts, transfer, block, group.signal);
      counters.bytes += block.bytes;
    }
  };
  for (let index = 0; index < Math.min(parts.rangesPerFile, ids.length); index += 1) group.run(work);
  await group.finish();
  await transfer.beforeCommit();
  return commitBlocks(parts, transfer, ids, signal);
}

interface Block {
  readonly id: string;
  readonly position: number;
  readonly bytes: number;
}

/**
 * Reads the block and sends it; each try anew, so that nobody keeps a buffer through a pause. What the tries read may
 * differ: `beforeCommit` comes after all of them, and finds out.
 */
async function stageBuffered(
  parts: EngineParts,
  transfer: UploadRequest,
  block: Block,
  signal: AbortSignal,
): Promise<void> {
  await request(parts, transfer, 'Put Block', signal, async (client) => {
    const buffer = await parts.pool.acquire(block.bytes, signal);
    try {
      await readAll(parts, transfer, buffer.bytes, block.position);
      await client.stageBlock(block.id, buffer.bytes, block.bytes, { abortSignal: signal });
    } finally {
      buffer.release();
    }
  });
}

/** For blocks too large to be held: each try reads the file anew, a chunk at a time. */
async function stageStreamed(
  parts: EngineParts,
  transfer: UploadRequest,
  block: Block,
  signal: AbortSignal,
): Promise<void> {
  await request(parts, transfer, 'Put Block', signal, async (client) => {
    const reserve = await parts.pool.acquire(Math.min(STREAM_RESERVE_BYTES, parts.pool.maxBytes), signal);
    try {
      await stageOnce(parts, transfer, block, client, signal);
    } finally {
      reserve.release();
    }
  });
}

async function stageOnce(
  parts: EngineParts,
  transfer: UploadRequest,
  block: Block,
  client: BlockBlobClient,
  signal: AbortSignal,
): Promise<void> {
  async function* chunks(): AsyncGenerator<Buffer> {
    for (let done = 0; done < block.bytes; done += CHUNK_BYTES) {
      // Not from the pool: who sends a stream does not say when a chunk has left.
      const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, block.bytes - done));
      await readAll(parts, transfer, chunk, block.position + done);
      yield chunk;
    }
  }
  const body = Readable.from(chunks(), { objectMode: false, highWaterMark: CHUNK_BYTES });
  // The SDK pipes the stream and never learns that it failed: the request has to be ended from here.
  const control = new AbortController();
  const end = (): void => {
    control.abort();
  };
  let readError: unknown;
  body.on('error', (error) => {
    readError = error;
    end();
  });
  signal.addEventListener('abort', end, { once: true });
  try {
    await client.stageBlock(block.id, body, block.bytes, { abortSignal: control.signal });
  } catch (error) {
    throw readError ?? error;
  } finally {
    signal.removeEventListener('abort', end);
    await closed(body);
  }
}

/** Resolves when the stream's last read is over. */
async function closed(body: Readable): Promise<void> {
  if (body.closed) return;
  await new Promise<void>((resolve) => {
    body.once('close', resolve);
    body.destroy();
  });
}

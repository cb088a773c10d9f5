// What the tests of the engine share: a faulty server, an engine of small sizes, files, and one call for each way.
import { setMaxListeners } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { BlobHeaders, BlobLocation, ExpectedVersion } from '../../../daemon/blob.js';
import { checkBlockBlob } from '../../../daemon/blob-headers.js';
import { createTransferEngine, type EngineOptions } from '../../../daemon/transfer/engine.js';
import {
  newCounters,
  type TransferCounters,
  type TransferEngine,
  type UploadResult,
} from '../../../daemon/transfer/transfer.js';
import { startFaultyBlobServer, type FaultyBlobServer } from '../../helpers/faulty-blob-server.js';

export const KIB = 1024;
export const MIB = 1024 * KIB;

export const SMALL_SIZES: EngineOptions = {
  // The same code as in threads, which take their time to start.
  workers: 0,
  blockSizeBytes: 64 * KIB,
  putBlobMaxBytes: 128 * KIB,
  rangesPerFile: 3,
  maxBufferBytes: MIB,
  maxTries: 3,
  stallTimeoutMs: 10_000,
  retryDelayMs: 1,
};

/** Bytes that differ from each other at every place that a mistake could mix up. */
export function pattern(size: number, seed = 0): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at + 4 <= size; at += 4)
    bytes.writeUInt32LE(Math.imul(at + seed * 7919 + 1, 2654435761) >>> 0, at);
  return bytes;
}

export interface Download {
  readonly name?: string;
  readonly sizeBytes: number;
  readonly ifMatch?: string;
  readonly holesMetadata?: string;
  readonly signal?: AbortSignal;
}

export interface Upload {
  readonly name?: string;
  readonly content: Buffer;
  /** What the caller believes the size to be. */
  readonly sizeBytes?: number;
  readonly expected?: ExpectedVersion;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly beforeCommit?: () => Promise<void>;
  readonly signal?: AbortSignal;
}

/** What stands at the other end: the faulty server, or a raw one. */
export interface Service {
  location(name: string): BlobLocation;
  stop(): Promise<void>;
}

export interface Bench<S extends Service = FaultyBlobServer> {
  readonly server: S;
  readonly engine: TransferEngine;
  readonly counters: TransferCounters;
  /** What the download's file holds. */
  target(): Buffer;
  download(request: Download): Promise<BlobHeaders>;
  upload(request: Upload): Promise<UploadResult>;
}

/** A server, an engine and a folder that live as long as the test. */
export async function openBench(t: Test, options: Partial<EngineOptions> = {}): Promise<Bench> {
  return openBenchAt(t, await startFaultyBlobServer(), options);
}

/** The same with another server, which it stops. */
export function openBenchAt<S extends Service>(
  t: Test,
  server: S,
  options: Partial<EngineOptions> = {},
): Bench<S> {
  const engine = createTransferEngine({ ...SMALL_SIZES, ...options });
  const dir = mkdtempSync(join(tmpdir(), 'lhsm-transfer-'));
  const target = join(dir, 'target');
  writeFileSync(target, '');
  const counters = newCounters();
  let files = 0;
  t.teardown(async () => {
    await engine.close();
    await server.stop();
    rmSync(dir, { recursive: true });
  });
  const never = new AbortController().signal;
  setMaxListeners(0, never);
  return {
    server,
    engine,
    counters,
    target: () => readFileSync(target),
    async download({ name = 'blob', signal = never, ...rest }) {
      const fd = openSync(target, 'w');
      try {
        return await engine.download(
          {
            blob: server.location(name),
            fd,
            accept: (headers) => {
              checkBlockBlob(headers, `blob ${name}`);
            },
            counters,
            ...rest,
          },
          signal,
        );
      } finally {
        closeSync(fd);
      }
    },
    async upload({ name = 'blob', content, signal = never, ...rest }) {
      const path = join(dir, `source-${(files += 1)}`);
      writeFileSync(path, content);
      const fd = openSync(path, 'r');
      try {
        return await engine.upload(
          {
            blob: server.location(name),
            fd,
            sizeBytes: rest.sizeBytes ?? content.length,
            metadata: rest.metadata ?? { owner: '1' },
            expected: rest.expected,
            beforeCommit: rest.beforeCommit ?? (() => Promise.resolve()),
            counters,
          },
          signal,
        );
      } finally {
        closeSync(fd);
      }
    },
  };
}

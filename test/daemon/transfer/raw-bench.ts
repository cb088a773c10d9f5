// What the tests share that have a raw server at the other end, over HTTP and over TLS.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { EngineOptions } from '../../../daemon/transfer/engine.js';
import { startRawBlobServer, type RawBlobServer } from '../../helpers/raw-blob-answers.js';
import { selfSigned } from '../../helpers/self-signed.js';
import { KIB, openBenchAt, type Bench } from './bench.js';

/** One range, and so one connection, at a time; large enough that a file of the tests is one range. */
export const ONE_RANGE: Partial<EngineOptions> = { blockSizeBytes: 512 * KIB, rangesPerFile: 1 };

export type RawBench = Bench<RawBlobServer>;

export const certificate = selfSigned();
const dir = mkdtempSync(join(tmpdir(), 'lhsm-raw-'));
export const caFile = join(dir, 'ca.pem');
writeFileSync(caFile, certificate.cert);
t.teardown(() => {
  rmSync(dir, { recursive: true });
});

export async function openRawBench(
  t: Test,
  scheme: 'HTTP' | 'TLS',
  options: Partial<EngineOptions> = {},
): Promise<RawBench> {
  const server = await startRawBlobServer(scheme === 'TLS' ? certificate : undefined);
  return openBenchAt(t, server, { ...ONE_RANGE, caFile: scheme === 'TLS' ? caFile : undefined, ...options });
}

/** Runs a subtest over each. */
export function overBoth(name: string, run: (t: Test, scheme: 'HTTP' | 'TLS') => Promise<void>): void {
  for (const scheme of ['HTTP', 'TLS'] as const) t.test(`${name}, over ${scheme}`, (t) => run(t, scheme));
}

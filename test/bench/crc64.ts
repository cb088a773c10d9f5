// `npm run bench -- crc64 [--json FILE] [--rounds N] [--mib N]`: what checksums cost, in CPU seconds a GiB. Ours, our
// tables, the Azure SDK's WebAssembly and MD5 take turns over the same 64 MiB, in blocks of 8 MiB, so that most of
// it comes from memory and not from a cache.
import { createHash, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { crc64, crc64Bytes, crc64Implementation, crc64With } from '../../native-bindings/crc64.js';
import { loadSdkCrc64 } from '../helpers/sdk-crc64.js';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const BLOCK_BYTES = 8 * MIB;
const BLOCKS = 8;
const GOAL_CPU_S_PER_GIB = 0.15;

interface Figures {
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

function figures(values: readonly number[]): Figures {
  const sorted = [...values].sort((a, b) => a - b).map((value) => Math.round(value * 1000) / 1000);
  const at = (part: number): number => sorted[Math.floor((sorted.length - 1) * part)] ?? NaN;
  return { min: at(0), median: at(0.5), max: at(1) };
}

/** CPU seconds a GiB of the whole process while `work` sees that many bytes. */
function cost(blocks: readonly Buffer[], bytes: number, work: (block: Buffer) => unknown): number {
  const before = process.cpuUsage();
  for (let done = 0, n = 0; done < bytes; done += BLOCK_BYTES, n += 1) {
    const block = blocks[n % BLOCKS];
    if (block) work(block);
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6 / (bytes / GIB);
}

export async function run(argv: string[]): Promise<boolean> {
  const { values } = parseArgs({
    args: argv,
    options: {
      json: { type: 'string' },
      rounds: { type: 'string', default: '9' },
      mib: { type: 'string', default: '512' },
    },
  });
  const [rounds, bytes] = [Number(values.rounds), Number(values.mib) * MIB];
  const sdk = await loadSdkCrc64();
  const sea = randomBytes(BLOCKS * BLOCK_BYTES);
  const blocks = Array.from({ length: BLOCKS }, (_, n) =>
    sea.subarray(n * BLOCK_BYTES, (n + 1) * BLOCK_BYTES),
  );
  const sums: Readonly<Record<string, (block: Buffer) => unknown>> = {
    ours: (block) => crc64(block),
    table: (block) => crc64With('table', block),
    sdk: (block) => sdk(block),
    md5: (block) => createHash('md5').update(block).digest(),
  };
  const same = blocks.every(
    (block) => crc64(block) === crc64With('table', block) && crc64Bytes(crc64(block)).equals(sdk(block)),
  );
  const costs = new Map(Object.keys(sums).map((name) => [name, [] as number[]]));
  for (let round = 0; round < rounds; round += 1) {
    for (const [name, sum] of Object.entries(sums)) costs.get(name)?.push(cost(blocks, bytes, sum));
  }
  const results = Object.fromEntries([...costs].map(([name, all]) => [name, figures(all)]));
  const ours = results['ours']?.median ?? NaN;
  const ratio = (name: string): number => Math.round(((results[name]?.median ?? NaN) / ours) * 10) / 10;
  const report = {
    machine: cpus()[0]?.model ?? 'unknown',
    node: process.version,
    implementation: crc64Implementation(),
    rounds,
    mibPerRound: bytes / MIB,
    cpuSecondsPerGiB: results,
    ratioToOurs: Object.fromEntries(Object.keys(results).map((name) => [name, ratio(name)])),
  };
  const labels: Readonly<Record<string, string>> = {
    ours: `ours (${report.implementation})`,
    table: 'ours, tables',
    sdk: "the SDK's WebAssembly",
    md5: 'MD5 of node:crypto',
  };
  const row = (...cells: string[]): string =>
    cells.map((cell, n) => (n === 0 ? cell.padEnd(24) : cell.padStart(8))).join('');
  process.stdout.write(
    [
      `CPU s/GiB, ${rounds} rounds of ${report.mibPerRound} MiB each in turn; ${report.machine}, Node ${report.node}`,
      row('', 'min', 'median', 'max', 'ratio'),
      ...Object.entries(results).map(([name, { min, median, max }]) =>
        row(
          labels[name] ?? name,
          ...[min, median, max].map((value) => value.toFixed(3)),
          ratio(name).toFixed(1),
        ),
      ),
      `ours: wanted at most ${GOAL_CPU_S_PER_GIB}; all CRCs ${same ? 'agree' : 'DIFFER'}`,
      '',
    ].join('\n'),
  );
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
  return same;
}

// The tables of the transfer bench, in Markdown: the documentation takes them as they are.
import type { Comparison } from './compare.js';
import type { CurvePoint } from './curve.js';
import type { MemoryReport } from './extras.js';
import { costOf, GOAL_GIB_PER_SECOND, peakRssMiB, projections, ratios, type Results } from './results.js';
import type { Spread } from './statistics.js';

/** Decimals of a measure, and its heading. */
const HEADINGS: Readonly<Record<string, readonly [string, number]>> = {
  cpuSecondsPerGiB: ['CPU s/GiB', 2],
  gibPerSecond: ['GiB/s', 2],
  peakRssMiB: ['peak RSS, MiB', 0],
  serverCpuSecondsPerGiB: ['server CPU s/GiB', 2],
  cpuMsPerFile: ['CPU ms a file', 3],
  filesPerSecond: ['files/s', 0],
  cpuMsPerFileWithoutStart: ['CPU ms a file without the start', 3],
  cpuSecondsPerGiBWithoutStart: ['CPU s/GiB without the start', 2],
};
const TITLES = {
  restore: 'Restore, large files',
  archive: 'Archive, large files',
  smallRestore: 'Restore, 4 KiB files',
} as const;
const NAMES: Readonly<Record<string, string>> = {
  ours: '**ours**',
  floorUnwritten: 'floor, nothing written',
};
/** What was set as the goal: ours by another's CPU at most. */
const WANTED: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  restore: { floor: 1.25, azcopy: 0.4, rclone: 0.85 },
  archive: { azcopy: 0.65, rclone: 1 },
};
const WANTED_RSS_MIB = 300e6 / 1024 ** 2;

function table(rows: readonly (readonly string[])[]): string[] {
  const [head = [], ...body] = rows;
  const widths = head.map((_, column) => Math.max(3, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join(' | ')} |`;
  const rule = widths.map((width, column) =>
    column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  );
  return [line(head), `| ${rule.join(' | ')} |`, ...body.map(line)];
}

function cell(spread: Spread | undefined, digits: number): string {
  if (!spread) return '';
  const [low, middle, high] = [spread.min, spread.median, spread.max].map((value) => value.toFixed(digits));
  return `${low} / ${middle} / ${high}`;
}

function comparisonTable(comparison: Comparison, results: Results): string[] {
  const { work, scheme, rows } = comparison;
  const measures = Object.keys([...rows.values()][0] ?? {});
  const cost = costOf(comparison);
  const [byCost, withoutStart] = [ratios(comparison, cost), ratios(comparison, `${cost}WithoutStart`)];
  const head = [
    'min / median / max',
    ...measures.map((name) => HEADINGS[name]?.[0] ?? name),
    'start, CPU s',
    'ours ÷ this',
    'without the starts',
  ];
  const body = [...rows].map(([name, values]) => [
    NAMES[name] ?? name,
    ...measures.map((measure) => cell(values[measure], HEADINGS[measure]?.[1] ?? 2)),
    results.programs.get(name)?.start.cpuSeconds.toFixed(2) ?? '',
    byCost.get(name)?.toFixed(2) ?? '',
    withoutStart.get(name)?.toFixed(2) ?? '',
  ]);
  return ['', `### ${TITLES[work]}, ${scheme === 'tls' ? 'TLS' : 'HTTP'}`, '', ...table([head, ...body])];
}

function goals(results: Results): string[] {
  const lines: string[] = [];
  const say = (what: string, is: number, most: number, digits = 2): void => {
    const verdict = is <= most ? 'met' : 'missed';
    lines.push(`- ${what}: ${is.toFixed(digits)}, wanted ≤ ${most.toFixed(digits)}: ${verdict}`);
  };
  for (const comparison of results.comparisons) {
    for (const [name, value] of ratios(comparison, costOf(comparison))) {
      const most = WANTED[comparison.work]?.[name];
      if (most !== undefined) say(`${comparison.work} ${comparison.scheme}, ours ÷ ${name}`, value, most);
    }
    if (comparison.work !== 'smallRestore') continue;
    const own = comparison.rows.get('ours');
    const cost = own?.['cpuMsPerFileWithoutStart']?.median;
    if (cost !== undefined)
      say(`4 KiB files ${comparison.scheme}, CPU ms a file without the start`, cost, 0.2, 3);
    const rate = ratios(comparison, 'filesPerSecond').get('azcopy');
    if (rate !== undefined)
      lines.push(
        `- 4 KiB files ${comparison.scheme}, files/s, ours ÷ azcopy: ${rate.toFixed(1)}, wanted ≥ 5: ${rate >= 5 ? 'met' : 'missed'}`,
      );
  }
  const peak = peakRssMiB(results);
  if (peak !== undefined) say('peak RSS with 64 large transfers in flight, MiB', peak, WANTED_RSS_MIB, 0);
  return lines.length === 0 ? [] : ['', '### Goals', '', ...lines];
}

function projectionText(results: Results): string[] {
  const found = projections(results);
  if (found.length === 0) return [];
  return [
    '',
    `### Cores for ${GOAL_GIB_PER_SECOND} GiB/s`,
    '',
    `${GOAL_GIB_PER_SECOND} GiB/s × the median CPU s/GiB of ours, kernel included:`,
    ...found.map(({ work, scheme, cores }) => `- ${work}, ${scheme}: ${cores.toFixed(1)} cores`),
  ];
}

function curveTable(curve: readonly CurvePoint[]): string[] {
  if (curve.length === 0) return [];
  const body = curve.map(({ work, scheme, threads, gibPerSecond, cpuSecondsPerGiB }) => [
    `${work} ${scheme}, ${work === 'archive' ? 'workers' : 'ranges at once'}: ${threads}`,
    cell(gibPerSecond, 2),
    cell(cpuSecondsPerGiB, 2),
  ]);
  return ['', '### Threads, large files', '', ...table([['threads', 'GiB/s', 'CPU s/GiB'], ...body])];
}

function memoryText(memory: MemoryReport | undefined): string[] {
  if (!memory) return [];
  const { small } = memory;
  const growth = (small.atEndMiB / small.atQuarterMiB - 1) * 100;
  return [
    '',
    `### Memory, ${memory.scheme}`,
    '',
    `- ${memory.inFlight} large transfers in flight, peak RSS: restore ${memory.restorePeakMiB.toFixed(0)} MiB, archive ${memory.archivePeakMiB.toFixed(0)} MiB`,
    `- ${small.files} small restores, RSS: ${small.atQuarterMiB.toFixed(0)} MiB at a quarter, ${small.atEndMiB.toFixed(0)} MiB at the end (${growth >= 0 ? '+' : ''}${growth.toFixed(1)} %), peak ${small.peakMiB.toFixed(0)} MiB`,
  ];
}

export function toText(results: Results): string {
  const { machine, rounds } = results;
  return [
    `${machine.date}, ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, Linux ${machine.kernel}, Node ${machine.node}, load before ${machine.loadBefore}; ${rounds} rounds.`,
    '',
    ...[...results.programs].map(([name, { about }]) => `- ${name}: ${about}`),
    ...results.comparisons.flatMap((comparison) => comparisonTable(comparison, results)),
    ...curveTable(results.curve),
    ...memoryText(results.memory),
    ...projectionText(results),
    ...goals(results),
    '',
  ].join('\n');
}

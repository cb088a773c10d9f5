// How a benchmark ends: what it found, a line each, what misses its goal, and the same as JSON. agent.ts, import.ts and restore.ts
// end so.
import { writeFileSync } from 'node:fs';

/** Prints it, writes `report` to the file `json` if there is one, and answers whether nothing fails. */
export function tellVerdict(
  lines: readonly string[],
  failings: readonly string[],
  report: object,
  json: string | undefined,
): boolean {
  process.stdout.write([...lines, ...failings.map((words) => `FAILED: ${words}`), ''].join('\n'));
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`);
  return failings.length === 0;
}

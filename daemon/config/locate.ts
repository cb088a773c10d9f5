// Which line of a TOML file a key stands on: the parser gives values only, and messages should name the line.
// A plain scan, right for every file that a person would write; when in doubt it knows no line.
import { formatPath, type Path } from './keys.js';

const header = /^\s*(\[{1,2})\s*([A-Za-z0-9_.\s"'-]+?)\s*\]{1,2}\s*(?:#.*)?$/;
const assignment = /^\s*([A-Za-z0-9_"'-]+(?:\s*\.\s*[A-Za-z0-9_"'-]+)*)\s*=/;

const parts = (name: string): string[] =>
  name.split('.').map((part) => part.trim().replaceAll(/^["']|["']$/g, ''));

/** Line numbers (from 1) by formatted path. */
export type KeyLines = ReadonlyMap<string, number>;

/** Finds the lines of all tables and keys. */
export function locateKeys(text: string): KeyLines {
  const lines = new Map<string, number>();
  const counts = new Map<string, number>();
  let table: (string | number)[] = [];
  let openQuote: string | undefined;
  const note = (path: Path, line: number): void => {
    const name = formatPath(path);
    if (!lines.has(name)) lines.set(name, line);
  };
  for (const [at, line] of text.split('\n').entries()) {
    const wasOpen = openQuote;
    for (const [quote] of line.matchAll(/"""|'''/g)) {
      if (openQuote === undefined) openQuote = quote;
      else if (openQuote === quote) openQuote = undefined;
    }
    if (wasOpen !== undefined) continue;
    const [, brackets, name] = header.exec(line) ?? [];
    if (name !== undefined) {
      table = [];
      for (const part of parts(name)) {
        table.push(part);
        const count = counts.get(formatPath(table));
        if (count !== undefined) table.push(count - 1);
      }
      if (brackets === '[[') {
        if (typeof table.at(-1) === 'number') table.pop();
        const key = formatPath(table);
        const count = (counts.get(key) ?? 0) + 1;
        counts.set(key, count);
        note(table, at + 1);
        table.push(count - 1);
      }
      note(table, at + 1);
      continue;
    }
    const [, key] = assignment.exec(line) ?? [];
    if (key !== undefined) note([...table, ...parts(key)], at + 1);
  }
  return lines;
}

/** The line of a path, or of the nearest table or key around it. */
export function lineOf(lines: KeyLines, path: Path): number | undefined {
  for (let length = path.length; length > 0; length--) {
    const line = lines.get(formatPath(path.slice(0, length)));
    if (line !== undefined) return line;
  }
  return undefined;
}

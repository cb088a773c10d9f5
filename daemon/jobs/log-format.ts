// The two shapes of a job's log, JSON lines and CSV: an entry as a line, and back to the key that tells entries apart. The
// report writes with it, and recognises with it what stands there already.
import { createHash } from 'node:crypto';
import { csvRecord, CsvParser } from './csv.js';
import type { LogEntry } from './job.js';

export const LOG_FORMATS = ['jsonl', 'csv'] as const;
export type LogFormatName = (typeof LOG_FORMATS)[number];

/** Turns text, in pieces of any size, into the keys of the entries that are complete in it. */
export type KeyReader = (text: string) => string[];

export interface LogFormat {
  readonly name: LogFormatName;
  readonly contentType: string;
  /** Stands at the beginning of every part. */
  readonly header: string;
  line(entry: LogEntry, time: string): string;
  reader(): KeyReader;
}

/** A message is cut there: a line has to fit into one append. */
const MAX_TEXT_CHARS = 16_384;

/**
 * Entries with one key are the same thing said again. Time and message are no part of it: an item that is done again after a
 * restart may be told in other words.
 */
export function keyOf({ kind, code, path, action }: Omit<LogEntry, 'message'>): string {
  // What is read back has an empty text where nothing was.
  const text = JSON.stringify([kind, code, fitted(path), action ?? '']);
  return text.length <= 64 ? text : createHash('sha256').update(text).digest('base64');
}

/** Well-formed, for half a surrogate pair does not survive UTF-8, and cut where it is too long. */
function fitted(text: string): string {
  const cut = text.length > MAX_TEXT_CHARS ? `${text.slice(0, MAX_TEXT_CHARS)}…` : text;
  return Buffer.from(cut).toString();
}

function keyOfCells(cells: readonly unknown[]): string | undefined {
  const [, kind, code, path, , action] = cells;
  if (typeof kind !== 'string' || typeof code !== 'string' || typeof path !== 'string') return undefined;
  const known = kind as LogEntry['kind'];
  return keyOf({ kind: known, code, path, ...(typeof action === 'string' ? { action } : {}) });
}

const jsonl: LogFormat = {
  name: 'jsonl',
  contentType: 'application/x-ndjson',
  header: '',
  line({ kind, code, path, message, action, errno }, time) {
    const texts = { path: fitted(path), message: fitted(message) };
    return `${JSON.stringify({ time, kind, code, ...texts, action, errno })}\n`;
  },
  reader() {
    let rest = '';
    return (text) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      return lines.flatMap((line) => {
        try {
          const { kind, code, path, action } = JSON.parse(line) as Record<string, unknown>;
          return keyOfCells(['', kind, code, path, '', action]) ?? [];
        } catch {
          // Nothing of ours.
          return [];
        }
      });
    };
  },
};

const COLUMNS = ['time', 'kind', 'code', 'path', 'message', 'action', 'errno'] as const;

const csv: LogFormat = {
  name: 'csv',
  contentType: 'text/csv; charset=utf-8',
  header: csvRecord(COLUMNS),
  line({ kind, code, path, message, action = '', errno = '' }, time) {
    return csvRecord([time, kind, code, fitted(path), fitted(message), action, errno]);
  },
  reader() {
    const parser = new CsvParser();
    return (text) => parser.push(text).flatMap((cells) => keyOfCells(cells) ?? []);
  },
};

export const logFormats: Readonly<Record<LogFormatName, LogFormat>> = { jsonl, csv };

/** The blob of a part, from 1, within the job's folder. */
export function logPart(format: LogFormatName, part: number): string {
  return part === 1 ? `log.${format}` : `log-${part}.${format}`;
}

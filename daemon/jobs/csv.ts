// CSV as RFC 4180 has it, safe to open in a spreadsheet: a cell that would be a formula gets an apostrophe before it. The
// report of a job writes it, and reads its own end after a restart.

/** What spreadsheets take for the beginning of a formula (OWASP, CSV Injection); apostrophes before it so that it can be undone. */
const formula = /^'*[=+\-@\t\r\n＝＋－＠]/;
const guarded = /^'+[=+\-@\t\r\n＝＋－＠]/;

function cell(text: string): string {
  const safe = formula.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** One record with its line end. */
export function csvRecord(cells: readonly string[]): string {
  return `${cells.map(cell).join(',')}\r\n`;
}

/** Reads records from text in pieces of any size; what has no line end yet waits for more. */
export class CsvParser {
  #cells: string[] = [];
  #cell = '';
  /** `quote`: within quotes; `after`: behind a quote, which may be the first of two. */
  #state: 'start' | 'plain' | 'quote' | 'after' = 'start';
  #sawCr = false;

  /** The records that are complete with this piece, their apostrophes taken off. */
  push(text: string): string[][] {
    const records: string[][] = [];
    for (const char of text) {
      if (this.#state === 'quote') {
        if (char === '"') this.#state = 'after';
        else this.#cell += char;
        continue;
      }
      if (char === '"' && this.#state !== 'plain') {
        if (this.#state === 'after') this.#cell += '"';
        this.#state = 'quote';
      } else if (char === ',') {
        this.#endCell();
      } else if (char === '\n' && this.#sawCr) {
        this.#sawCr = false;
        this.#endCell();
        records.push(this.#cells);
        this.#cells = [];
        continue;
      } else if (char !== '\r') {
        this.#cell += char;
        this.#state = 'plain';
      }
      this.#sawCr = char === '\r';
    }
    return records;
  }

  #endCell(): void {
    this.#cells.push(guarded.test(this.#cell) ? this.#cell.slice(1) : this.#cell);
    this.#cell = '';
    this.#state = 'start';
  }
}

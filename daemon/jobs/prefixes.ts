// The prefixes that an import is asked for, checked and made ready to be listed. The import job calls it before anything is
// touched.
import { LhsmError } from '../../native-bindings/errors.js';
import { MAX_BLOB_NAME_CHARS } from '../blobs/names.js';

export interface PrefixOptions {
  /** The archive's own, which comes first; ends with `/` or is empty. */
  readonly archivePrefix: string;
  /** Prefixes are paths: slashes in a row, or at the end, say nothing. */
  readonly hierarchical: boolean;
}

/**
 * The prefixes of blob names to list. None, an empty one or `/` is everything; a leading slash says nothing. Throws LhsmError
 * PREFIX_INVALID, or PREFIXES_OVERLAP where one begins with another (`/data` and `/data2`, too: a prefix of names need not
 * end at a slash).
 */
export function listedPrefixes(given: readonly string[], options: PrefixOptions): string[] {
  const { archivePrefix, hierarchical } = options;
  const asked = given.length === 0 ? ['/'] : given;
  const prefixes = asked.map((text) => {
    const prefix = text.replace(/^\/+/, '');
    return { text, prefix: hierarchical ? prefix.replace(/\/{2,}/g, '/') : prefix };
  });
  for (const { text, prefix } of prefixes) check(text, prefix, options);
  checkOverlap(prefixes);
  // Without its slash a path is the directory itself, too, whose attributes are wanted.
  return prefixes.map(({ prefix }) => `${archivePrefix}${hierarchical ? prefix.replace(/\/$/, '') : prefix}`);
}

function check(text: string, prefix: string, { archivePrefix }: PrefixOptions): void {
  const refuse = (what: string): never => {
    const shown = JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
    throw new LhsmError(`The prefix ${shown} ${what}.`, {
      code: 'PREFIX_INVALID',
      op: 'import',
      errno: 22,
      hint: 'Write it as names of blobs begin, such as /data/project; / is everything.',
    });
  };
  if (prefix.includes('\0')) refuse('holds a NUL character');
  if (prefix.split('/').some((part) => part === '.' || part === '..')) refuse('has a component "." or ".."');
  // Half a surrogate pair is no Unicode, and cannot be put into a URL.
  if (Buffer.from(prefix).toString() !== prefix) refuse('is not well-formed Unicode');
  const length = archivePrefix.length + prefix.length;
  if (length > MAX_BLOB_NAME_CHARS)
    refuse(`is longer than a blob's name can be: ${length} characters, ${MAX_BLOB_NAME_CHARS} are allowed`);
}

function checkOverlap(prefixes: readonly { readonly text: string; readonly prefix: string }[]): void {
  // In order, all that begin with one stand right behind it.
  const sorted = [...prefixes].sort((a, b) => (a.prefix < b.prefix ? -1 : a.prefix > b.prefix ? 1 : 0));
  for (const [index, { text, prefix }] of sorted.entries()) {
    const next = sorted[index + 1];
    if (next?.prefix.startsWith(prefix) !== true) continue;
    throw new LhsmError(
      `The prefixes ${JSON.stringify(text)} and ${JSON.stringify(next.text)} overlap: one begins with the other.`,
      {
        code: 'PREFIXES_OVERLAP',
        op: 'import',
        errno: 22,
        hint: 'Import them in two jobs, or end them with a slash where they are directories.',
      },
    );
  }
}

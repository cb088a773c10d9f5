// Reads a list of paths, as `find` prints it, in bounded memory. Batch restore takes its files from it where the operator
// has one (`--files-from`).
import { createReadStream } from 'node:fs';
import { LhsmError, errnoNumber } from '../../native-bindings/errors.js';
import { MAX_PATH_BYTES, showPath } from '../blobs/names.js';
import { mapBounded } from './bounded.js';
import type { WalkBatch } from './tree-walk.js';
import { PathResolver, walkError, type WalkedEntry, type WalkProblem } from './walked-file.js';

const NUL = 0;
const NEWLINE = 0x0a;
/** Much longer than any path: whoever writes NULs has written one by then. */
const LOOK_BYTES = 64 * 1024;
const BATCH_PATHS = 64;

/**
 * The paths of a list, one a line, or one before each NUL when the list holds NULs. Empty ones are left out; one that is
 * too long to be a path comes cut, to be refused by who looks at it.
 * Rejects with LhsmError ENOENT, EACCES … when the list cannot be read.
 */
export async function* readPaths(file: string, signal: AbortSignal): AsyncGenerator<Buffer, void, undefined> {
  const stream = createReadStream(file, { highWaterMark: LOOK_BYTES, signal });
  let separator: number | undefined;
  let rest = Buffer.alloc(0);
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      let bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      separator ??= bytes.includes(NUL) ? NUL : bytes.length > MAX_PATH_BYTES ? NEWLINE : undefined;
      if (separator !== undefined) {
        for (let end = bytes.indexOf(separator); end >= 0; end = bytes.indexOf(separator)) {
          if (end > 0) yield Buffer.from(bytes.subarray(0, end));
          bytes = bytes.subarray(end + 1);
        }
        // What is longer than a path can be need not be kept to be told.
        if (bytes.length > 2 * MAX_PATH_BYTES) bytes = bytes.subarray(0, 2 * MAX_PATH_BYTES);
      }
      rest = Buffer.from(bytes);
    }
  } catch (error) {
    signal.throwIfAborted();
    throw walkError('read', Buffer.from(file), error);
  }
  for (const path of splitAt(rest, separator ?? NEWLINE)) if (path.length > 0) yield path;
}

function splitAt(bytes: Buffer, separator: number): Buffer[] {
  const parts: Buffer[] = [];
  let from = 0;
  for (let end = bytes.indexOf(separator); end >= 0; end = bytes.indexOf(separator, from)) {
    parts.push(Buffer.from(bytes.subarray(from, end)));
    from = end + 1;
  }
  return [...parts, Buffer.from(bytes.subarray(from))];
}

/**
 * What a list names, in its order: exactly that, directories are not walked. A path that is of no use is a problem, not
 * the end.
 */
export async function* walkList(
  options: { readonly mount: string; readonly file: string; readonly parallel?: number },
  signal: AbortSignal,
): AsyncGenerator<WalkBatch, void, undefined> {
  const resolver = new PathResolver(options.mount);
  const look = async (paths: readonly Buffer[]): Promise<WalkBatch> => {
    const entries: WalkedEntry[] = [];
    const problems: WalkProblem[] = [];
    const seen = await mapBounded(paths, options.parallel ?? 8, async (path) => {
      try {
        if (path.length > MAX_PATH_BYTES) throw tooLong(path);
        return await resolver.resolve(path);
      } catch (error) {
        problems.push({ path: path.subarray(0, MAX_PATH_BYTES), error: walkError('lstat', path, error) });
        return undefined;
      }
    });
    for (const entry of seen) if (entry) entries.push(entry);
    return { entries, problems };
  };
  let paths: Buffer[] = [];
  for await (const path of readPaths(options.file, signal)) {
    paths.push(path);
    if (paths.length < BATCH_PATHS) continue;
    yield await look(paths);
    signal.throwIfAborted();
    paths = [];
  }
  if (paths.length > 0) yield await look(paths);
}

function tooLong(path: Buffer): LhsmError {
  return new LhsmError(`${showPath(path)} is longer than a path can be`, {
    code: 'PATH_TOO_LONG',
    op: 'path',
    errno: errnoNumber('ENAMETOOLONG'),
    hint: 'Is this a list of paths, one a line or one before each NUL?',
  });
}

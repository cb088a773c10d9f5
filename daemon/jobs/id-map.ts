// The operator's maps of users and groups (`[jobs] user_map`, `group_map`): lines `"name" = number`, in TOML. Jobs load
// them when they begin, for attributesOf.
import { readFile } from 'node:fs/promises';
import { parse, TomlError } from 'smol-toml';
import { errnoFor, LhsmError } from '../../native-bindings/errors.js';

/** uid_t and gid_t without -1, which chown(2) reads as "leave it". */
const MAX_ID = 0xffff_fffen;

const guid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

const LINE = 'Write a line "name" = number for each, the name in quotes unless it is a GUID or a plain word.';

function invalid(file: string, what: string, hint: string, cause?: unknown): LhsmError {
  return new LhsmError(`${file}: ${what}`, { code: 'ID_MAP', op: 'read id map', errno: 22, hint, cause });
}

function idOf(file: string, name: string, value: unknown): number {
  if (typeof value === 'bigint' && value >= 0n && value <= MAX_ID) return Number(value);
  // `a.b = 1` is a table in TOML.
  const table = typeof value === 'object' && value !== null;
  throw table
    ? invalid(file, `${name} is a table, not a number`, 'A name with a dot in it needs quotes.')
    : invalid(file, `${name} is not a whole number from 0 to ${MAX_ID}`, LINE);
}

/**
 * Entra object ids, UPNs or names → uid or gid. GUIDs are in lower case, as the service writes them; other names as
 * they are. Throws LhsmError code ID_MAP that names file and key.
 */
export async function loadIdMap(file: string, signal: AbortSignal): Promise<ReadonlyMap<string, number>> {
  let text: string;
  try {
    text = await readFile(file, { encoding: 'utf8', signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new LhsmError(`the map of users or groups ${file} cannot be read`, {
      code: 'ID_MAP',
      op: 'read id map',
      errno: errnoFor(error),
      hint: 'See user_map and group_map of [jobs]. Is the file there, and readable for root?',
      cause: error,
    });
  }
  let document: Record<string, unknown>;
  try {
    document = parse(text, { integersAsBigInt: true });
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [what = 'cannot be read'] = error.message.replace('Invalid TOML document: ', '').split('\n');
    throw invalid(file, `line ${error.line}, column ${error.column}: ${what}`, LINE, error);
  }
  return new Map(
    Object.entries(document).map(([name, value]) => [
      guid.test(name) ? name.toLowerCase() : name,
      idOf(file, name, value),
    ]),
  );
}

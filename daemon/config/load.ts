// Makes the configuration from flags, environment and file, in this order of precedence, and says everything
// that is wrong with it at once. main.ts, SIGHUP and `lhsm-azblob config check` call it.
import { readFile } from 'node:fs/promises';
import { parse as parseToml, TomlError } from 'smol-toml';
import { errnoFor, LhsmError } from '../../native-bindings/errors.js';
import { crossProblems } from './checks.js';
import type { Config } from './config.js';
import { DEFAULT_CONFIG_FILE } from './defaults.js';
import { environmentName, formatPath, namesAt, settableKeys, type KeyInfo, type Path } from './keys.js';
import { lineOf, locateKeys, type KeyLines } from './locate.js';
import { nearest } from './nearest.js';
import { explainIssues, type Problem } from './problems.js';
import { archiveSchema, configSchema, type FileArchive, type FileConfig } from './schema.js';
import { toConfig } from './to-config.js';

/** A value that a flag gives, over environment and file. */
export interface Override {
  /** As in the file: `log.level`. */
  readonly key: string;
  readonly text: string;
  /** The flag, for messages: `--log-level`. */
  readonly from: string;
}

export interface LoadOptions {
  /** Else LHSM_AZBLOB_CONFIG, else DEFAULT_CONFIG_FILE. */
  readonly file?: string | undefined;
  readonly overrides?: readonly Override[];
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** Variables with our prefix that are no configuration keys. */
const OTHER_VARIABLES = new Set(['LHSM_AZBLOB_CONFIG', 'LHSM_AZBLOB_SOCKET']);

type Document = Record<string, unknown>;

const isTable = (value: unknown): value is Document =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);

/** A flag's or variable's text as what the key wants; text that does not fit stays text, and zod says so. */
function coerce(text: string, { type }: KeyInfo): unknown {
  if (type === 'number' && /^-?\d+(\.\d+)?$/.test(text)) return Number(text);
  if (type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true';
  return text;
}

function setAt(document: Document, key: string, value: unknown): void {
  const parts = key.split('.');
  const last = parts.pop() ?? key;
  let at = document;
  for (const part of parts) {
    const next = at[part];
    // Something else than a table stands there: leave it for zod to complain about.
    if (next !== undefined && !isTable(next)) return;
    at = (at[part] ??= {}) as Document;
  }
  at[last] = value;
}

/** What flags and environment say, as overrides, those of the environment first. */
function* allOverrides(options: LoadOptions, problems: Problem[]): Iterable<Override> {
  const keys = settableKeys();
  const byVariable = new Map([...keys.keys()].map((key) => [environmentName(key), key]));
  for (const [name, text] of Object.entries(options.env ?? process.env)) {
    if (!name.startsWith('LHSM_AZBLOB_') || OTHER_VARIABLES.has(name) || text === undefined) continue;
    const key = byVariable.get(name);
    if (key !== undefined) yield { key, text, from: name };
    else {
      const near = nearest(name, byVariable.keys());
      problems.push({
        path: [],
        message: `${name} is no variable of the configuration`,
        ...(near !== undefined && { hint: `Did you mean ${near}?` }),
      });
    }
  }
  for (const override of options.overrides ?? []) {
    if (keys.has(override.key)) yield override;
    else {
      const near = nearest(override.key, keys.keys());
      problems.push({
        path: [],
        message: `${override.from}: ${override.key} is not a key that a flag can set`,
        ...(near !== undefined && { hint: `Did you mean ${near}?` }),
      });
    }
  }
}

/** A table without its unknown keys, which have been complained of already. */
function onlyKnown(path: Path, table: Document, document: Document): Document {
  const known = new Set(namesAt(path, document));
  return Object.fromEntries(Object.entries(table).filter(([name]) => known.has(name)));
}

/** Every part that is well-formed, when the whole is not. */
function goodParts(document: Document): Parameters<typeof crossProblems>[0] {
  const entries = Object.entries(configSchema.shape).flatMap(([key, schema]) => {
    const value = document[key];
    const parsed = schema.safeParse(isTable(value) ? onlyKnown([key], value, document) : value);
    return key !== 'archive' && parsed.success ? [[key, parsed.data]] : [];
  });
  const list: unknown[] = Array.isArray(document['archive']) ? document['archive'] : [];
  const archives = list.flatMap((entry, at): { at: number; archive: FileArchive }[] => {
    const parsed = archiveSchema.safeParse(
      isTable(entry) ? onlyKnown(['archive', at], entry, document) : entry,
    );
    return parsed.success ? [{ at, archive: parsed.data }] : [];
  });
  return { config: Object.fromEntries(entries) as Partial<FileConfig>, archives };
}

function configError(name: string, problems: readonly Problem[], place: (path: Path) => string): LhsmError {
  const lines = problems.map(
    ({ path, message, hint }) => `${place(path)}${message}${hint === undefined ? '' : `. ${hint}`}`,
  );
  const one = lines.length === 1;
  return new LhsmError(
    one ? `${name}: ${lines[0] ?? ''}` : `${name}: ${lines.length} errors\n  ${lines.join('\n  ')}`,
    {
      code: 'CONFIG',
      op: 'load configuration',
      errno: 22,
      hint: 'See docs/configuration.md.',
      cause: new AggregateError(
        problems.map(
          ({ message, hint }) =>
            new LhsmError(message, {
              code: 'CONFIG',
              op: 'load configuration',
              errno: 22,
              ...(hint && { hint }),
            }),
        ),
      ),
    },
  );
}

/**
 * Reads a configuration from TOML text. Throws LhsmError code CONFIG that names everything wrong; its cause
 * is an AggregateError with one LhsmError each.
 */
export function parseConfig(text: string, name: string, options: LoadOptions = {}): Config {
  let document: Document;
  let lines: KeyLines;
  try {
    document = parseToml(text);
    lines = locateKeys(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [what = 'cannot be read'] = error.message.replace('Invalid TOML document: ', '').split('\n');
    // The parser's own message quotes the line, which may hold a secret: only its first line goes on.
    const problem = { path: [], message: `line ${error.line}, column ${error.column}: ${what}` };
    throw configError(name, [{ ...problem, hint: 'This is not TOML (https://toml.io).' }], () => '');
  }
  const problems: Problem[] = [];
  const origins = new Map<string, string>();
  for (const { key, text: value, from } of allOverrides(options, problems)) {
    const info = settableKeys().get(key);
    if (info) setAt(document, key, coerce(value, info));
    origins.set(key, from);
  }
  const place = (path: Path): string => {
    const origin = origins.get(formatPath(path));
    if (origin !== undefined) return `${origin}: `;
    const line = lineOf(lines, path);
    return line === undefined ? '' : `line ${line}: `;
  };

  const parsed = configSchema.safeParse(document);
  if (!parsed.success) problems.push(...explainIssues(parsed.error.issues, document));
  problems.push(...crossProblems(goodParts(document)));
  const credentialsDir = (options.env ?? process.env)['CREDENTIALS_DIRECTORY'];
  problems.push(...credentialProblems(document, credentialsDir));
  if (problems.length > 0 || !parsed.success) throw configError(name, problems, place);
  return toConfig(parsed.data, credentialsDir);
}

/** Bare names of systemd credentials need systemd's directory. */
function credentialProblems(document: Document, credentialsDir: string | undefined): Problem[] {
  if (credentialsDir !== undefined) return [];
  return goodParts(document).archives.flatMap(({ at, archive: { credential } }) =>
    'file' in credential && !credential.file.includes('/')
      ? [
          {
            path: ['archive', at, 'credential', 'file'],
            message: `archive[${at + 1}].credential.file is the name of a systemd credential, but CREDENTIALS_DIRECTORY is not set`,
            hint: 'Write an absolute path, or add LoadCredential= to the unit.',
          },
        ]
      : [],
  );
}

/** The file that loadConfig reads. */
export function configFile(options: LoadOptions): string {
  return options.file ?? (options.env ?? process.env)['LHSM_AZBLOB_CONFIG'] ?? DEFAULT_CONFIG_FILE;
}

/** Reads the configuration. Throws LhsmError code CONFIG; nothing but the one file is read. */
export async function loadConfig(options: LoadOptions = {}): Promise<Config> {
  const name = configFile(options);
  let text: string;
  try {
    text = await readFile(name, 'utf8');
  } catch (error) {
    throw new LhsmError(`the configuration ${name} cannot be read`, {
      code: 'CONFIG',
      op: 'read configuration',
      errno: errnoFor(error),
      hint: 'Name the file with --config, or begin with config/lhsm-azblob.toml from the package.',
      cause: error,
    });
  }
  return parseConfig(text, name, options);
}

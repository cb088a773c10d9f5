// What the schema says of each key, looked up by name: for messages, environment variables, `--set` and the
// generated documentation. Keys are written as in the file: `scheduler.max_actions`, `archive.id`.
import { z } from 'zod';
import { configSchema } from './schema.js';

/** The part of JSON Schema that zod emits for our schema. */
export interface JsonSchema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly examples?: readonly unknown[];
  readonly minimum?: number;
  readonly exclusiveMinimum?: number;
  readonly maximum?: number;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
  readonly oneOf?: readonly JsonSchema[];
  readonly 'x-reload'?: boolean;
}

export type Path = readonly (string | number)[];

let made: JsonSchema | undefined;

/** The schema of the configuration file as JSON Schema (draft 2020-12). */
export function jsonSchema(): JsonSchema {
  made ??= z.toJSONSchema(configSchema, { io: 'input' }) as JsonSchema;
  return made;
}

/** What may stand at a path; for a credential, every variant whose `type` is (or may be) the given one. */
function schemasAt(path: Path, value: unknown): JsonSchema[] {
  let schemas = [jsonSchema()];
  let at = value;
  for (const part of path) {
    at = typeof at === 'object' && at !== null ? (at as Record<string, unknown>)[part] : undefined;
    schemas = schemas
      .flatMap((schema) => (typeof part === 'number' ? schema.items : schema.properties?.[part]) ?? [])
      .flatMap((schema) => schema.oneOf ?? schema);
    const type = typeof at === 'object' && at !== null && 'type' in at ? at.type : undefined;
    const chosen = schemas.filter(
      (schema) => type !== undefined && schema.properties?.['type']?.const === type,
    );
    if (chosen.length) schemas = chosen;
  }
  return schemas;
}

/** The names that may stand in the table at this path of `document`. */
export function namesAt(path: Path, document: unknown): string[] {
  return [...new Set(schemasAt(path, document).flatMap((schema) => Object.keys(schema.properties ?? {})))];
}

/** A single-valued key outside of the archives: what environment variables and `--set` may name. */
export interface KeyInfo {
  readonly key: string;
  readonly type: 'string' | 'number' | 'boolean';
  readonly reload: boolean;
}

function leaves(schema: JsonSchema, prefix: string): KeyInfo[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, child]): KeyInfo[] => {
    if (child.type === 'array') return [];
    if (child.properties) return leaves(child, `${prefix}${name}.`);
    const type = child.type === 'integer' ? 'number' : child.type;
    if (type !== 'number' && type !== 'boolean' && type !== 'string') return [];
    return [{ key: prefix + name, type, reload: child['x-reload'] === true }];
  });
}

let index: ReadonlyMap<string, KeyInfo> | undefined;

/** Every key outside of the archives. */
export function settableKeys(): ReadonlyMap<string, KeyInfo> {
  index ??= new Map(leaves(jsonSchema(), '').map((info) => [info.key, info]));
  return index;
}

/** `scheduler.max_actions` → `LHSM_AZBLOB_SCHEDULER_MAX_ACTIONS`. */
export function environmentName(key: string): string {
  return `LHSM_AZBLOB_${key.replaceAll('.', '_').toUpperCase()}`;
}

/** `['archive', 0, 'id']` → `archive[1].id`: for people, so the first is 1. */
export function formatPath(path: Path): string {
  return path
    .map((part, at) => (typeof part === 'number' ? `[${part + 1}]` : at === 0 ? part : `.${part}`))
    .join('');
}

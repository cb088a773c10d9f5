// Says in plain words what is wrong with a configuration: turns zod's issues into problems with a hint.
import type { z } from 'zod';
import { formatPath, namesAt, settableKeys, type Path } from './keys.js';
import { nearest } from './nearest.js';

/** One thing that is wrong. */
export interface Problem {
  /** Where: keys of the document, list positions from 0. */
  readonly path: Path;
  /** What is wrong, beginning with the key's name. */
  readonly message: string;
  /** How to mend it. */
  readonly hint?: string;
}

type Issue = z.core.$ZodIssue;

function valueAt(document: unknown, path: Path): unknown {
  let at = document;
  for (const part of path) {
    at = typeof at === 'object' && at !== null ? (at as Record<string | number, unknown>)[part] : undefined;
  }
  return at;
}

function typeName(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (value instanceof Date) return 'a date';
  switch (typeof value) {
    case 'object':
      return 'a table';
    case 'bigint':
    case 'number':
      return `the number ${String(value)}`;
    case 'boolean':
      return `the boolean ${String(value)}`;
    default:
      return `a ${typeof value}`;
  }
}

const expectedNames: Readonly<Record<string, string>> = {
  object: 'a table',
  array: 'a list of tables',
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
};

/** What stands there, in words; a text only when it is short and harmless: never what might be a secret. */
function actual(value: unknown): string {
  if (typeof value !== 'string') return typeName(value);
  return value.length <= 40 && /^[\w./:-]*$/.test(value) ? JSON.stringify(value) : 'another text';
}

function unknownKey(table: Path, key: string, document: unknown): Problem {
  const path = [...table, key];
  const message = `${formatPath(path)} is not a key`;
  const here = namesAt(table, document);
  const elsewhere = [...settableKeys().keys()].find((known) => known.split('.').at(-1) === key);
  const near = nearest(key, here);
  if (elsewhere !== undefined && elsewhere !== key && near === undefined) {
    const section = elsewhere.slice(0, elsewhere.lastIndexOf('.'));
    return { path, message, hint: `It belongs into the table [${section}].` };
  }
  if (near !== undefined) return { path, message, hint: `Did you mean ${formatPath([...table, near])}?` };
  return { path, message, hint: `Known here: ${here.join(', ')}.` };
}

function badChoice(path: Path, value: unknown, options: readonly unknown[]): Problem {
  const names = options.map(String);
  const near = typeof value === 'string' ? nearest(value, names) : undefined;
  if (value === undefined) return missing(path, `One of ${names.join(', ')}.`);
  return {
    path,
    message: `${formatPath(path)} must be one of ${names.join(', ')}; it is ${actual(value)}`,
    ...(near !== undefined && { hint: `Did you mean "${near}"?` }),
  };
}

function missing(path: Path, hint?: string): Problem {
  return { path, message: `${formatPath(path)} is missing`, ...(hint !== undefined && { hint }) };
}

const missingHints: Readonly<Record<string, string>> = {
  mount: 'Say where Lustre is mounted: mount = "/mnt/lustre", or the flag --mount.',
  archive: 'Add an [[archive]] with id, container and credential.',
  credential: 'Add credential = { type = "managed-identity" }, or another type.',
};

/** The problems behind one issue of zod. */
function explain(issue: Issue, document: unknown): Problem[] {
  const path = issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part));
  const value = valueAt(document, path);
  const name = formatPath(path);
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => unknownKey(path, key, document));
    case 'invalid_type': {
      if (value === undefined) return [missing(path, missingHints[String(path.at(-1))])];
      const expected = expectedNames[issue.expected] ?? issue.expected;
      return [
        {
          path,
          message: `${name} must be ${expected}; it is ${typeof value === 'string' ? 'the text ' : ''}${actual(value)}`,
        },
      ];
    }
    case 'invalid_value':
      return [badChoice(path, value, issue.values)];
    case 'invalid_union':
      return [badChoice(path, value, 'options' in issue ? issue.options : [])];
    case 'too_small':
    case 'too_big': {
      const bound = issue.code === 'too_small' ? issue.minimum : issue.maximum;
      if (issue.origin === 'array') return [missing(path, missingHints[name])];
      if (issue.origin === 'string') {
        return [
          {
            path,
            message: value === '' ? `${name} is empty` : `${name} is longer than ${String(bound)} characters`,
          },
        ];
      }
      const word = issue.code === 'too_small' ? (issue.inclusive ? 'at least' : 'more than') : 'at most';
      return [{ path, message: `${name} must be ${word} ${String(bound)}; it is ${String(value)}` }];
    }
    default:
      return [{ path, message: `${name} ${issue.message}` }];
  }
}

/** Everything that zod found, in words. */
export function explainIssues(issues: readonly Issue[], document: unknown): Problem[] {
  return issues.flatMap((issue) => explain(issue, document));
}

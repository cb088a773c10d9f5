// A secret that no log, error or dump can show, and the reading of secrets from files. credentials.ts uses it.
import { readFileSync, statSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import { inspect } from 'node:util';
import { LhsmError } from '../../native-bindings/errors.js';
import type { Secret as SecretText } from '../config/config.js';

const SHOWN = '[secret]';

/** Holds a secret; prints as `[secret]` however it is printed. */
export class Secret implements SecretText {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The secret itself; call it only where it is used. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return SHOWN;
  }

  toJSON(): string {
    return SHOWN;
  }

  [inspect.custom](): string {
    return SHOWN;
  }
}

/** Larger than any SAS, key or connection string. */
const MAX_SECRET_BYTES = 64 * 1024;

/**
 * Where a secret's file is: as given when absolute, else in systemd's `$CREDENTIALS_DIRECTORY`, else relative to the
 * working directory.
 */
export function secretPath(file: string, env: NodeJS.ProcessEnv = process.env): string {
  const directory = env['CREDENTIALS_DIRECTORY'];
  if (isAbsolute(file)) return file;
  return directory === undefined || directory === '' ? resolve(file) : join(directory, file);
}

/** Reads a secret, white space around it cut off. Throws LhsmError naming the file and the mend, never the content. */
export function readSecret(path: string): Secret {
  let text: string;
  try {
    const { size } = statSync(path);
    if (size > MAX_SECRET_BYTES) throw Object.assign(new Error('too large'), { code: 'EFBIG' });
    text = readFileSync(path, 'utf8').trim();
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'EIO';
    throw new LhsmError(`The secret file ${path} cannot be read (${code}).`, {
      code: 'SECRET_UNREADABLE',
      op: 'read',
      errno: 13,
      hint: 'Make it a file that the daemon may read, or mend its name in the configuration.',
      cause,
    });
  }
  if (text === '') throw badSecret(path, 'is empty', 'Write the secret into it.');
  return new Secret(text);
}

/** The error of a secret that was read and is of no use. `what` must not quote it. */
export function badSecret(path: string, what: string, hint: string): LhsmError {
  return new LhsmError(`The secret file ${path} ${what}.`, {
    code: 'SECRET_INVALID',
    op: 'read',
    errno: 22,
    hint,
  });
}

/**
 * A secret that is read again whenever its file changes (by mtime, size and inode, so that a rename over it counts), which is
 * looked at once a turn of the event loop: a burst of requests costs one look.
 * A new content that cannot be read or checked leaves the last good one in force, and is told once to `onBad`.
 */
export class RotatingSecret {
  readonly #path: string;
  readonly #check: (secret: Secret) => Secret;
  readonly #onBad: (error: unknown) => void;
  #current: Secret;
  #seen: string;
  #isFresh = false;

  /** Throws LhsmError when the first reading fails. */
  constructor(
    path: string,
    check: (secret: Secret) => Secret,
    onBad: (error: unknown) => void = () => undefined,
  ) {
    this.#path = path;
    this.#check = check;
    this.#onBad = onBad;
    // The stamp before the content: a change between the two is then seen at the next call.
    this.#seen = this.#stamp();
    this.#current = check(readSecret(path));
  }

  reveal(): string {
    if (!this.#isFresh) this.#look();
    return this.#current.reveal();
  }

  #look(): void {
    this.#isFresh = true;
    setImmediate(() => {
      this.#isFresh = false;
    }).unref();
    const stamp = this.#stamp();
    if (stamp !== this.#seen) {
      this.#seen = stamp;
      try {
        this.#current = this.#check(readSecret(this.#path));
      } catch (error) {
        this.#onBad(error);
      }
    }
  }

  #stamp(): string {
    const stat = statSync(this.#path, { bigint: true, throwIfNoEntry: false });
    return stat === undefined ? 'missing' : `${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}`;
  }
}

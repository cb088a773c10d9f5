// Loads the addon of the transfer plane's wire, wire.node: TLS sessions, and threads that take bodies. build-addon.mjs makes
// it where it can; tls-session.ts and body-threads.ts say what is in it.
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { BodyFunctions } from './body-threads.js';
import type { TlsFunctions } from './tls-session.js';

const FILE = new URL('wire.node', import.meta.url);

let loaded: (TlsFunctions & BodyFunctions) | false | undefined;

/**
 * The addon; undefined where it was not built, or where this Node does not let addons use its OpenSSL. All it does is also
 * done without it, for more CPU.
 */
export function wireAddon(): (TlsFunctions & BodyFunctions) | undefined {
  if (loaded === undefined) {
    try {
      loaded = createRequire(import.meta.url)(fileURLToPath(FILE)) as TlsFunctions & BodyFunctions;
    } catch {
      loaded = false;
    }
  }
  return loaded === false ? undefined : loaded;
}

// Loads the addon of the transfer plane's wire, wire.node: TLS sessions, and threads that take bodies and get small blobs.
// build-addon.mjs makes it where it can; tls-session.ts, body-threads.ts and get-threads.ts say what is in it.
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { BodyFunctions } from './body-threads.js';
import type { GetFunctions } from './get-threads.js';
import type { TlsFunctions } from './tls-session.js';

const FILE = new URL('wire.node', import.meta.url);

type WireAddon = TlsFunctions & BodyFunctions & GetFunctions;

let loaded: { readonly addon: WireAddon } | { readonly problem: Error } | undefined;

function load(): NonNullable<typeof loaded> {
  try {
    return { addon: createRequire(import.meta.url)(fileURLToPath(FILE)) as WireAddon };
  } catch (error) {
    return { problem: error as Error };
  }
}

/** The addon; undefined where it cannot be had. All it does is also done without it, for more CPU. */
export function wireAddon(): WireAddon | undefined {
  loaded ??= load();
  return 'addon' in loaded ? loaded.addon : undefined;
}

/** Why it cannot be had: it was not built, or this Node does not let addons use its OpenSSL. */
export function wireProblem(): Error | undefined {
  loaded ??= load();
  return 'problem' in loaded ? loaded.problem : undefined;
}

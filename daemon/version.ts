// The package's version, from its package.json: for --version, status, metrics and requests.
import { readFileSync } from 'node:fs';

function read(): string {
  // dist/daemon/version.js and daemon/version.ts are not equally deep below the package's root.
  for (const up of ['../../package.json', '../package.json']) {
    try {
      const found = JSON.parse(readFileSync(new URL(up, import.meta.url), 'utf8')) as {
        name?: unknown;
        version?: unknown;
      };
      if (found.name === 'lhsm-azblob' && typeof found.version === 'string') return found.version;
    } catch {
      // Not there: the next one.
    }
  }
  return 'unknown';
}

/** `0.1.0`, say; `unknown` when package.json is gone. */
export const VERSION = read();

/** `lhsm-azblob/<version>`, which stands before the SDK's own in the service's logs. */
export const USER_AGENT = `lhsm-azblob/${VERSION}`;

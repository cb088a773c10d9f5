// Which archive's account the jobs' logging container is in, as far as a configuration says that without its secrets:
// checks.ts calls it. Whoever opens the container knows the secrets, and asks them.
import { mostSegments } from '../blobs/container-url.js';

interface Archive {
  /** URL, or a bare name beside a connection string. */
  readonly container: string;
  readonly prefix: string;
}

const trimmed = (container: string): string => container.replace(/\/+$/, '');

function parsed(container: string): URL | undefined {
  return URL.canParse(container) ? new URL(container) : undefined;
}

/** What stands before the container's name; the same text, the same account. */
function accountOf(url: URL): string {
  const path = url.pathname.split('/').filter(Boolean);
  // Emulators have the account in the path; a single segment is the container.
  const account = path.length > 1 && mostSegments(url) > 1 ? `/${path[0] ?? ''}` : '';
  return `${url.origin}${account}/`;
}

/**
 * `logging` as if it were an archive: the archive whose account it is in, with the logging container's address and no
 * prefix. A bare name is in the first archive's account. undefined when no archive is in the account of its URL.
 */
export function loggingArchive<A extends Archive>(logging: string, archives: readonly A[]): A | undefined {
  const own = trimmed(logging);
  const [first] = archives;
  if (!first) return undefined;
  const url = own.includes('://') ? parsed(own) : undefined;
  if (!url) {
    const base = first.container.includes('://') ? parsed(first.container) : undefined;
    return { ...first, container: base ? `${accountOf(base)}${own}` : own, prefix: '' };
  }
  const sameAccount = archives.find(({ container }) => {
    const other = container.includes('://') ? parsed(container) : undefined;
    return other !== undefined && accountOf(other) === accountOf(url);
  });
  // The account of a bare name stands in its connection string only: the service will say if it is another.
  const lender = sameAccount ?? archives.find(({ container }) => !container.includes('://'));
  return lender && { ...lender, container: own, prefix: '' };
}

// Reads the configuration's `container`: a URL, or a bare name beside a connection string. azure-container.ts uses it.
import { LhsmError } from '../../native-bindings/errors.js';
import { isContainerName } from './names.js';

export interface ContainerAddress {
  /** Without a slash at the end, and without any query. */
  readonly url: string;
  readonly container: string;
  /** undefined where the host does not show it. */
  readonly account: string | undefined;
}

const HINT = 'Write container = "https://<account>.blob.core.windows.net/<container>".';

function invalid(what: string, hint = HINT): LhsmError {
  return new LhsmError(`The container ${what}.`, {
    code: 'CONTAINER_INVALID',
    op: 'config',
    errno: 22,
    hint,
  });
}

/** `serviceUrl` comes from a connection string. Throws LhsmError CONTAINER_INVALID. */
export function containerAddress(container: string, serviceUrl?: string): ContainerAddress {
  const isUrl = /^https?:\/\//i.test(container);
  if (!isUrl && serviceUrl === undefined) throw invalid(`"${container}" is not a URL`);
  let url: URL;
  try {
    url = new URL(isUrl ? container : `${serviceUrl ?? ''}/${container}`);
  } catch {
    throw invalid('is not a URL that can be read');
  }
  // A SAS does not belong here: it would be shown in logs and lost at its rotation.
  if (url.search !== '') throw invalid('has a query in its URL: a SAS belongs into the file of a credential');
  if (url.username !== '' || url.password !== '') throw invalid('has a password in its URL');
  const path = url.pathname.split('/').filter((part) => part !== '');
  if (path.length > mostSegments(url)) {
    throw invalid(
      'has more than a container in its URL',
      'Folders within the container go into prefix = "…".',
    );
  }
  const name = path.at(-1);
  if (name === undefined || !isContainerName(name))
    throw invalid(`"${name ?? ''}" is not a container's name`);
  return { url: `${url.origin}/${path.join('/')}`, container: name, account: accountOf(url, path) };
}

/** Hosts that show the account; with zones it is `<account>.z01.blob.…`. */
const accountHost = /^([a-z0-9]{3,24}?)(?:-secondary)?\.(?:z\d+\.)?blob\./;

/** Most segments of a container's URL: the container, behind the account where the host does not show that. */
export function mostSegments(url: URL): number {
  return accountHost.test(url.hostname) ? 1 : 2;
}

/** From `<account>.blob.…`, or from the first segment where there are two, as emulators have it. */
function accountOf(url: URL, path: readonly string[]): string | undefined {
  if (path.length > 1) return path[0];
  return accountHost.exec(url.hostname)?.[1];
}

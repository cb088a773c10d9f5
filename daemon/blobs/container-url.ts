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

function invalid(what: string): LhsmError {
  return new LhsmError(`The container ${what}.`, {
    code: 'CONTAINER_INVALID',
    op: 'config',
    errno: 22,
    hint: 'Write container = "https://<account>.blob.core.windows.net/<container>".',
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
  const name = path.at(-1);
  if (name === undefined || !isContainerName(name))
    throw invalid(`"${name ?? ''}" is not a container's name`);
  return { url: `${url.origin}/${path.join('/')}`, container: name, account: accountOf(url, path) };
}

/** From `<account>.blob.…`, or from the first segment where there are two, as emulators have it. */
function accountOf(url: URL, path: readonly string[]): string | undefined {
  if (path.length > 1) return path[0];
  return /^([a-z0-9]{3,24})(?:-secondary)?\.blob\./.exec(url.hostname)?.[1];
}

// Where the container of an archive is, and how one is let in: from the archive's configuration. The archive's container
// and the logging container, which shares its account, are both made from it.
import type { BlobAuth } from '../blob.js';
import type { ArchiveConfig } from '../config/config.js';
import { containerAddress, type ContainerAddress } from './container-url.js';
import { resolveCredential, type CredentialOptions } from './credentials.js';

export interface ArchiveAccess {
  readonly address: ContainerAddress;
  readonly auth: BlobAuth;
}

/** Asks nothing of the network. Throws LhsmError for a secret or a container's name that is of no use. */
export function archiveAccess(
  config: Pick<ArchiveConfig, 'container' | 'credential'>,
  options: CredentialOptions = {},
): ArchiveAccess {
  const account = /^https?:/i.test(config.container) ? containerAddress(config.container).account : undefined;
  const { auth, serviceUrl } = resolveCredential(config.credential, { ...options, account });
  return { address: containerAddress(config.container, serviceUrl), auth };
}

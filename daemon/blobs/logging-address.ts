// Opens the container that `[jobs] logging_container` means, with the credential of one of the archives. Whoever runs or
// asks for jobs makes it here.
import { LhsmError } from '../../native-bindings/errors.js';
import type { ArchiveConfig } from '../config/config.js';
import { archiveAccess } from './archive-access.js';
import type { ContainerOptions } from './azure-container.js';
import { LoggingContainer } from './logging-container.js';
import { loggingPlace } from './logging-place.js';

/**
 * The logging container: a URL in the account of one of the archives, whose credential it gets (the first's), or a bare
 * name in the account of the first archive. Asks nothing of the network. Throws LhsmError LOGGING_CONTAINER_ACCOUNT when no
 * archive is in that account, LOGGING_CONTAINER_IS_DATA when it is an archive's own container, and what archives throw
 * for a secret or name that is of no use.
 */
export function loggingContainerOf(
  archives: readonly Pick<ArchiveConfig, 'container' | 'credential'>[],
  loggingContainer: string,
  options: ContainerOptions = {},
): LoggingContainer {
  const accesses = archives.map(({ container, credential }) => ({
    container,
    credential,
    ...archiveAccess({ container, credential }, options),
  }));
  const place = loggingPlace(loggingContainer, accesses);
  if (place === undefined) {
    throw new LhsmError(`No archive is in the account of the logging container ${loggingContainer}.`, {
      code: 'LOGGING_CONTAINER_ACCOUNT',
      op: 'config',
      errno: 22,
      hint: "Name a container in an archive's account as jobs.logging_container, written as the archive's is.",
    });
  }
  const { address, lender, isData } = place;
  if (isData) {
    throw new LhsmError(`The logging container ${address.container} is that of an archive.`, {
      code: 'LOGGING_CONTAINER_IS_DATA',
      op: 'config',
      errno: 22,
      hint: 'Name another container of the account as jobs.logging_container: an import would take the logs for files.',
    });
  }
  return new LoggingContainer({ address, auth: lender.auth }, options);
}

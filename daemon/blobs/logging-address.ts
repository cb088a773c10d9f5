// Which account and credential `[jobs] logging_container` means: that of one of the archives. Whoever runs or asks for jobs
// makes the container here.
import { LhsmError } from '../../native-bindings/errors.js';
import type { ArchiveConfig } from '../config/config.js';
import { archiveAccess } from './archive-access.js';
import { containerAddress, type ContainerAddress } from './container-url.js';
import { LoggingContainer, type LoggingOptions } from './logging-container.js';

/**
 * The logging container: a URL in the account of one of the archives, whose credential it gets (the first's), or a bare
 * name in the account of the first archive. Asks nothing of the network. Throws LhsmError LOGGING_CONTAINER_ACCOUNT when no
 * archive is in that account, LOGGING_CONTAINER_IS_DATA when it is an archive's own container, and what archives throw
 * for a secret or name that is of no use.
 */
export function loggingContainerOf(
  archives: readonly Pick<ArchiveConfig, 'container' | 'credential'>[],
  loggingContainer: string,
  options: LoggingOptions = {},
): LoggingContainer {
  const accesses = archives.map((archive) => archiveAccess(archive, options));
  const isUrl = /^https?:\/\//i.test(loggingContainer);
  const first = accesses[0];
  const address =
    isUrl || first === undefined
      ? containerAddress(loggingContainer)
      : containerAddress(loggingContainer, serviceOf(first.address));
  const access = accesses.find((each) => placeOf(each.address) === placeOf(address));
  if (access === undefined) {
    throw new LhsmError(`No archive is in the account of the logging container ${address.url}.`, {
      code: 'LOGGING_CONTAINER_ACCOUNT',
      op: 'config',
      errno: 22,
      hint: "Name a container in an archive's account as jobs.logging_container, written as the archive's is.",
    });
  }
  const isData = accesses.some(
    (each) => placeOf(each.address) === placeOf(address) && each.address.container === address.container,
  );
  if (isData) {
    throw new LhsmError(`The logging container ${address.container} is that of an archive.`, {
      code: 'LOGGING_CONTAINER_IS_DATA',
      op: 'config',
      errno: 22,
      hint: 'Name another container of the account as jobs.logging_container: an import would take the logs for files.',
    });
  }
  return new LoggingContainer({ address, auth: access.auth }, options);
}

function serviceOf({ url, container }: ContainerAddress): string {
  return url.slice(0, -container.length - 1);
}

/** The account's host, and its path where an emulator has one; http and https lead to the same. */
function placeOf(address: ContainerAddress): string {
  const { host, pathname } = new URL(serviceOf(address));
  return `${host}${pathname}`;
}

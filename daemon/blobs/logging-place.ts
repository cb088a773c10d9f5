// Which archive's account `[jobs] logging_container` is in, from addresses alone. config/checks.ts asks with what the
// configuration says, logging-address.ts with what its secrets add to that.
import { isDeepStrictEqual } from 'node:util';
import { containerAddress, type ContainerAddress } from './container-url.js';

/** An archive, and where its container is as far as that is known. */
export interface PlacedArchive {
  /** As configured: a URL or a bare name. */
  readonly container: string;
  /** Which secret it is; equal ones are the same. */
  readonly credential: unknown;
  /** undefined for a bare name whose connection string has not been read. */
  readonly address: ContainerAddress | undefined;
}

export interface LoggingPlace<A extends PlacedArchive> {
  /** The archive whose account it is in, and whose credential it gets. */
  readonly lender: A;
  /** undefined only where nobody knows the lender's. */
  readonly address: ContainerAddress | A['address'];
  /** It is an archive's own container. */
  readonly isData: boolean;
}

/**
 * A bare name is in the account of the first archive, a URL in that of the first whose account it names; where there is none, in
 * that of an archive whose account is not known: the service will say if it is another. undefined where no archive will do.
 * Throws LhsmError CONTAINER_INVALID.
 */
export function loggingPlace<A extends PlacedArchive>(
  logging: string,
  archives: readonly A[],
): LoggingPlace<A> | undefined {
  const [first] = archives;
  if (!first) return undefined;
  if (!logging.includes('://')) {
    const address = first.address && containerAddress(logging, serviceOf(first.address));
    return { lender: first, address, isData: isData(logging, address, first, archives) };
  }
  const address = containerAddress(logging);
  const lender =
    archives.find((archive) => archive.address && placeOf(archive.address) === placeOf(address)) ??
    archives.find((archive) => !archive.address);
  return lender && { lender, address, isData: isData(address.container, address, lender, archives) };
}

function isData(
  name: string,
  address: ContainerAddress | undefined,
  lender: PlacedArchive,
  archives: readonly PlacedArchive[],
): boolean {
  // The same secret, the same account.
  const isOfLender = (archive: PlacedArchive): boolean =>
    isDeepStrictEqual(archive.credential, lender.credential);
  // The lender's account is a guess where another one's may be it.
  const isGuess =
    lender.address === undefined &&
    address !== undefined &&
    !archives.every((archive) => archive.address !== undefined || isOfLender(archive));
  return archives.some((archive) => {
    if ((archive.address?.container ?? archive.container) !== name) return false;
    if (archive.address) return address !== undefined && placeOf(archive.address) === placeOf(address);
    return !isGuess && isOfLender(archive);
  });
}

function serviceOf({ url, container }: ContainerAddress): string {
  return url.slice(0, -container.length - 1);
}

/** The account's host, and its path where an emulator has one; http and https lead to the same. */
function placeOf(address: ContainerAddress): string {
  const { host, pathname } = new URL(serviceOf(address));
  return `${host}${pathname}`;
}

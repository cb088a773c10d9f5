// What file system a mount is, and whether it still is that one: agent-parts.ts asks at the start and for the
// registration, check.ts for `--check`.
import type { Logger } from 'pino';
import { hasCode, LhsmError } from '../native-bindings/errors.js';
import type { Lustre } from '../native-bindings/lustre.js';
import { deviceOf } from './mount-lock.js';

/** The file system's name. Throws LhsmError NOT_LUSTRE. */
export function fsnameOf(lustre: Pick<Lustre, 'fsname'>, mount: string): string {
  try {
    return lustre.fsname(mount);
  } catch (error) {
    if (error instanceof LhsmError && !['ENODEV', 'ENOENT', 'ENOTTY', 'EINVAL'].includes(error.code))
      throw error;
    throw new LhsmError(`${mount} is not in a Lustre file system`, {
      code: 'NOT_LUSTRE',
      op: 'llapi_search_fsname',
      errno: 19,
      hint: 'Set "mount" to the mount point of a Lustre client; is it mounted?',
      cause: error,
    });
  }
}

export interface MountedOptions {
  readonly lustre: Pick<Lustre, 'fsname'>;
  readonly mount: string;
  /** The st_dev that the mount had. */
  readonly device: number;
  readonly log: Logger;
  /** For tests; asks the kernel otherwise. */
  readonly lookAt?: (mount: string) => Promise<number>;
}

/** Errors that say that nothing of the file system is left; ENOTCONN is what a dead FUSE mount answers. */
const GONE = ['ENOENT', 'ENOTDIR', 'ENOTCONN', 'NOT_LUSTRE'];

/**
 * Whether the mount is still the file system that it was. In doubt it is: a client that was evicted answers with EIO or
 * ESHUTDOWN for a while, and who waits for it in vain does no harm. Never rejects.
 */
export async function stillMounted(options: MountedOptions): Promise<boolean> {
  const { lustre, mount, device, log, lookAt = deviceOf } = options;
  try {
    if ((await lookAt(mount)) !== device) return false;
    fsnameOf(lustre, mount);
    return true;
  } catch (error) {
    if (GONE.some((code) => hasCode(error, code))) return false;
    log.warn({ mount, err: error }, 'the mount cannot be looked at now; it is taken to be there still');
    return true;
  }
}

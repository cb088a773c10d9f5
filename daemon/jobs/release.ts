// Releases files whose copy was looked at first: the blob is there, in the version that the file remembers, and of the
// file's size. The admin API runs it for `lhsm-azblob release`.
import { HsmStateFlag, MAX_REQUEST_FIDS, UserAction } from '../../native-bindings/constants.js';
import { LhsmError, describeError, errnoNumber, hasCode } from '../../native-bindings/errors.js';
import { fidPath, formatFid, type Fid } from '../../native-bindings/lustre.js';
import { saysGone } from '../movers/descriptors.js';
import { showPath } from '../blobs/names.js';
import { checkCopy, type CopyTools } from './copy-check.js';
import { findingOf, type Finding } from './finding.js';
import { forEachFile } from './tree-files.js';
import { withWalkedFile, type WalkedEntry } from './walked-file.js';

export interface ReleaseOptions {
  /** Absolute, or relative to the mount. */
  readonly paths: readonly (string | Buffer)[];
  /** Only files neither read nor written for so long. */
  readonly olderThanMs?: number;
  readonly minSizeBytes?: bigint;
  /** Only tell. */
  readonly dryRun: boolean;
  readonly parallel?: number;
}

export interface ReleaseNumbers {
  /** Regular files seen. */
  files: number;
  /** In a dry run: that would be released. */
  released: number;
  releasedBytes: bigint;
  /** Not released, with a finding each. */
  refused: number;
  /** Not released because there is nothing to release, or it was not asked for. */
  skipped: number;
}

export interface ReleaseHooks {
  readonly onFinding?: (finding: Finding) => void;
  /** A file was, or would be, released. */
  readonly onReleased?: (path: Buffer, sizeBytes: bigint) => void;
  readonly onProgress?: (numbers: Readonly<ReleaseNumbers>) => void;
}

interface Verified {
  readonly fid: Fid;
  readonly path: Buffer;
  readonly sizeBytes: bigint;
}

/**
 * Resolves with the numbers when the trees are walked. Rejects with LhsmError for a path of no use, for a container that cannot
 * be asked; with the signal's reason when it aborts: what was released stays so.
 */
export async function release(
  options: ReleaseOptions,
  tools: CopyTools,
  hooks: ReleaseHooks,
  signal: AbortSignal,
): Promise<ReleaseNumbers> {
  return new Releasing(options, tools, hooks).run(signal);
}

class Releasing {
  readonly #options: ReleaseOptions;
  readonly #tools: CopyTools;
  readonly #hooks: ReleaseHooks;
  readonly #numbers: ReleaseNumbers = { files: 0, released: 0, releasedBytes: 0n, refused: 0, skipped: 0 };
  /** Looked at, to be released together; by FID, for a file may have several names. */
  #verified = new Map<string, Verified>();

  constructor(options: ReleaseOptions, tools: CopyTools, hooks: ReleaseHooks) {
    this.#options = options;
    this.#tools = tools;
    this.#hooks = hooks;
  }

  async run(signal: AbortSignal): Promise<ReleaseNumbers> {
    const { paths, parallel } = this.#options;
    const { mount, lustre } = this.#tools;
    const walk = { mount, lustre, paths, ...(parallel === undefined ? {} : { parallel }) };
    const onFinding = (finding: Finding): void => {
      this.#refuse(finding);
    };
    await forEachFile({ ...walk, onFinding }, (file) => this.#file(file, signal), signal);
    await this.#release();
    return this.#numbers;
  }

  #refuse(finding: Finding): void {
    this.#numbers.refused += 1;
    this.#hooks.onFinding?.(finding);
  }

  async #file(file: WalkedEntry, signal: AbortSignal): Promise<void> {
    this.#numbers.files += 1;
    this.#hooks.onProgress?.(this.#numbers);
    const verified = this.#isWanted(file) ? await this.#verify(file, signal) : undefined;
    if (!verified) return;
    // Only now is our own descriptor closed: the MDT releases no file that somebody has open.
    this.#verified.set(formatFid(verified.fid), verified);
    if (this.#verified.size >= MAX_REQUEST_FIDS) await this.#release();
  }

  #isWanted({ stat }: WalkedEntry): boolean {
    const { olderThanMs, minSizeBytes = 0n } = this.#options;
    const usedNs = stat.atimeNs > stat.mtimeNs ? stat.atimeNs : stat.mtimeNs;
    const isOld = olderThanMs === undefined || usedNs <= BigInt(Date.now() - olderThanMs) * 1_000_000n;
    if (isOld && stat.size >= minSizeBytes) return true;
    this.#numbers.skipped += 1;
    return false;
  }

  async #verify(file: WalkedEntry, signal: AbortSignal): Promise<Verified | undefined> {
    const { lustre, mount } = this.#tools;
    return withWalkedFile(mount, file, async (fd) => {
      const state = await lustre.hsmStateFd(fd);
      if (!isReleasable(state.states)) {
        this.#numbers.skipped += 1;
        return undefined;
      }
      const fid = await lustre.fdToFid(fd);
      const copy = await checkCopy(this.#tools, { fd, fid, path: file.path, state }, signal);
      if (copy.error) {
        this.#refuse(findingOf(file.path, copy.error));
        return undefined;
      }
      return { fid, path: file.path, sizeBytes: file.stat.size };
    });
  }

  async #release(): Promise<void> {
    const some = [...this.#verified.values()];
    this.#verified = new Map();
    if (some.length === 0) return;
    if (this.#options.dryRun) {
      for (const file of some) this.#released(file);
      return;
    }
    try {
      await this.#request(some);
      for (const file of some) this.#released(file);
    } catch {
      // The client releases one after the other and stops at the first that is refused (llite/dir.c), whichever it was.
      for (const file of some) await this.#releaseOne(file);
    }
  }

  async #releaseOne(file: Verified): Promise<void> {
    const { lustre, mount } = this.#tools;
    try {
      const { states } = await lustre.hsmState(fidPath(mount, file.fid));
      // The content may have changed since it was looked at; the MDT would refuse it as well.
      if ((states & HsmStateFlag.RELEASED) === 0) await this.#request([file]);
      this.#released(file);
    } catch (error) {
      if (!saysGone(error) || hasCode(error, 'EINVAL'))
        this.#refuse(findingOf(file.path, refused(file, error)));
    }
  }

  #request(files: readonly Verified[]): Promise<void> {
    const { lustre, mount } = this.#tools;
    return lustre.request(mount, {
      action: UserAction.RELEASE,
      archiveId: 0,
      fids: files.map(({ fid }) => fid),
    });
  }

  #released({ path, sizeBytes }: Verified): void {
    this.#numbers.released += 1;
    this.#numbers.releasedBytes += sizeBytes;
    this.#hooks.onReleased?.(path, sizeBytes);
    this.#hooks.onProgress?.(this.#numbers);
  }
}

/** As the MDT has it: archived, not changed since, not to be kept, and content to release. */
function isReleasable(states: number): boolean {
  const needed = HsmStateFlag.EXISTS | HsmStateFlag.ARCHIVED;
  const forbidden = HsmStateFlag.DIRTY | HsmStateFlag.RELEASED | HsmStateFlag.NORELEASE | HsmStateFlag.LOST;
  return (states & needed) === needed && (states & forbidden) === 0;
}

function refused({ path }: Verified, cause: unknown): LhsmError {
  const errno = cause instanceof LhsmError ? cause.errno : errnoNumber('EIO');
  return new LhsmError(`${showPath(path)} was not released: ${describeError(cause)}`, {
    code: 'RELEASE_REFUSED',
    op: 'release',
    errno,
    retryable: true,
    hint: 'EBUSY: somebody has it open. EPERM: it was written meanwhile; archive it again.',
    cause,
  });
}

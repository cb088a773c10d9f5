// Compares every archived file of some trees with its copy, and with `repair` marks what is to be archived again or is lost. The
// admin API runs it for `lhsm-azblob verify`.
import { HsmStateFlag, ProgressState } from '../../native-bindings/constants.js';
import { LhsmError, errnoNumber } from '../../native-bindings/errors.js';
import { fidPath } from '../../native-bindings/lustre.js';
import { showPath } from '../blobs/names.js';
import { statDescriptor } from '../movers/descriptors.js';
import { FileRecord } from '../movers/file-record.js';
import { Share } from '../share.js';
import type { TransferEngine } from '../transfer/transfer.js';
import { crcOfFile, isBlobWhole, storedCrc, type BlobContent } from './content-check.js';
import { checkCopy, type ArchivedFile, type CheckedCopy, type CopyTools } from './copy-check.js';
import { findingOf, type Finding } from './finding.js';
import { forEachFile } from './tree-files.js';
import { withWalkedFile, type WalkedEntry } from './walked-file.js';

export interface VerifyOptions {
  /** Absolute, or relative to the mount. */
  readonly paths: readonly (string | Buffer)[];
  /** Read and compare content, too: of present files theirs, of released ones the blob's. */
  readonly content: boolean;
  /** Mark present files without a good copy as dirty, and as lost those whose copy is gone, or released and for certain damaged. */
  readonly repair: boolean;
  readonly parallel?: number;
}

export interface VerifyTools extends CopyTools {
  /** For `content`. */
  readonly transfer: Pick<TransferEngine, 'download'>;
}

export interface VerifyNumbers {
  /** Regular files seen. */
  files: number;
  /** Of these, archived ones, which were compared. */
  checked: number;
  /** Never archived: nothing to compare with. */
  notArchived: number;
  contentChecked: number;
  contentBytes: bigint;
  /** Their blob tells no CRC64. */
  withoutChecksum: number;
  /** Written while they were read. */
  changedMeanwhile: number;
  errors: number;
  warnings: number;
  repaired: number;
}

export interface VerifyHooks {
  readonly onFinding?: (finding: Finding) => void;
  readonly onProgress?: (numbers: Readonly<VerifyNumbers>) => void;
}

/** Files read at once: each takes a buffer, and threads that wait for OSTs. */
const READS_AT_ONCE = 2;

/**
 * Resolves with the numbers when the trees are walked. Rejects with LhsmError for a path of no use, for a container that cannot
 * be asked; with the signal's reason when it aborts.
 */
export async function verify(
  options: VerifyOptions,
  tools: VerifyTools,
  hooks: VerifyHooks,
  signal: AbortSignal,
): Promise<VerifyNumbers> {
  return new Verifying(options, tools, hooks).run(signal);
}

class Verifying {
  readonly #options: VerifyOptions;
  readonly #tools: VerifyTools;
  readonly #hooks: VerifyHooks;
  readonly #reads = new Share(READS_AT_ONCE);
  readonly #contents = new Share(READS_AT_ONCE);
  readonly #numbers: VerifyNumbers = {
    files: 0,
    checked: 0,
    notArchived: 0,
    contentChecked: 0,
    contentBytes: 0n,
    withoutChecksum: 0,
    changedMeanwhile: 0,
    errors: 0,
    warnings: 0,
    repaired: 0,
  };

  constructor(options: VerifyOptions, tools: VerifyTools, hooks: VerifyHooks) {
    this.#options = options;
    this.#tools = tools;
    this.#hooks = hooks;
  }

  async run(signal: AbortSignal): Promise<VerifyNumbers> {
    const { paths, parallel } = this.#options;
    const { mount, lustre } = this.#tools;
    const walk = { mount, lustre, paths, ...(parallel === undefined ? {} : { parallel }) };
    const onFinding = (finding: Finding): void => {
      this.#tell(finding);
    };
    await forEachFile({ ...walk, onFinding }, (file) => this.#file(file, signal), signal);
    return this.#numbers;
  }

  #tell(finding: Finding): void {
    if (finding.severity === 'error') this.#numbers.errors += 1;
    else this.#numbers.warnings += 1;
    if (finding.repaired !== undefined) this.#numbers.repaired += 1;
    this.#hooks.onFinding?.(finding);
  }

  async #file(walked: WalkedEntry, signal: AbortSignal): Promise<void> {
    const { lustre, mount } = this.#tools;
    this.#numbers.files += 1;
    this.#hooks.onProgress?.(this.#numbers);
    await withWalkedFile(mount, walked, async (fd) => {
      const state = await lustre.hsmStateFd(fd);
      if ((state.states & HsmStateFlag.ARCHIVED) === 0) {
        this.#numbers.notArchived += 1;
        return;
      }
      const file: ArchivedFile = { fd, fid: await lustre.fdToFid(fd), path: walked.path, state };
      this.#numbers.checked += 1;
      let copy = await checkCopy(this.#tools, file, signal);
      if (this.#options.content && copy.verdict === 'good') copy = await this.#content(file, copy, signal);
      await this.#conclude(file, copy, signal);
    });
  }

  async #conclude(file: ArchivedFile, copy: CheckedCopy, signal: AbortSignal): Promise<void> {
    const isLost = (file.state.states & HsmStateFlag.LOST) !== 0;
    if (!copy.error) {
      if (isLost) this.#tell(findingOf(file.path, lostAndFound(file), 'warning'));
      return;
    }
    // What was archived, or written, while we looked is to be judged as it is then: the next time.
    if (await this.#hasChanged(file)) {
      this.#numbers.changedMeanwhile += 1;
      return;
    }
    const finding = findingOf(file.path, copy.error, copy.verdict === 'doubtful' ? 'warning' : 'error');
    const repaired = this.#options.repair ? await this.#repair(file, copy, signal) : undefined;
    this.#tell(repaired === undefined ? finding : { ...finding, repaired });
  }

  async #hasChanged({ fd, state }: ArchivedFile): Promise<boolean> {
    const now = await this.#tools.lustre.hsmStateFd(fd);
    return now.states !== state.states || now.archiveId !== state.archiveId;
  }

  async #content(file: ArchivedFile, copy: CheckedCopy, signal: AbortSignal): Promise<CheckedCopy> {
    const { container, name, headers } = copy;
    if (!container || name === undefined || !headers || (file.state.states & HsmStateFlag.DIRTY) !== 0) {
      return copy;
    }
    const stored = storedCrc(headers);
    if (stored === undefined) {
      this.#numbers.withoutChecksum += 1;
      return copy;
    }
    const blob = { container, name, headers };
    const isReleased = (file.state.states & HsmStateFlag.RELEASED) !== 0;
    return this.#contents.run(async () => {
      if (!isReleased) {
        const crc = await crcOfFile(this.#tools.lustre, file.fd, this.#reads, signal);
        if (crc === undefined) {
          this.#numbers.changedMeanwhile += 1;
          return copy;
        }
        this.#countContent(headers.sizeBytes);
        if (crc === stored) return copy;
      }
      return this.#blobContent(file, copy, blob, isReleased, signal);
    }, signal);
  }

  /** Reads the blob: of a released file it is the content, of a present one it tells which of the two is wrong. */
  async #blobContent(
    file: ArchivedFile,
    copy: CheckedCopy,
    blob: BlobContent,
    isReleased: boolean,
    signal: AbortSignal,
  ): Promise<CheckedCopy> {
    const isWhole = await isBlobWhole(this.#tools.transfer, blob, signal);
    if (isReleased) this.#countContent(blob.headers.sizeBytes);
    if (!isWhole) return { ...copy, verdict: 'damaged', error: blobDamaged(file, blob.name) };
    return isReleased ? copy : { ...copy, verdict: 'differs', error: fileDiffers(file, blob.name) };
  }

  #countContent(bytes: number): void {
    this.#numbers.contentChecked += 1;
    this.#numbers.contentBytes += BigInt(bytes);
  }

  /** Marks the file; answers how. Content, and what the file remembers, stay as they are. */
  async #repair(file: ArchivedFile, copy: CheckedCopy, signal: AbortSignal): Promise<string | undefined> {
    const { verdict, container, memory } = copy;
    if (verdict === 'good' || verdict === 'doubtful' || !container || !memory) return undefined;
    const states = marksFor(file.state.states, verdict);
    if ((file.state.states & states) === states) return undefined;
    // A mark that keeps a file from its readers is not set for one answer that was not to be trusted.
    if ((states & HsmStateFlag.LOST) !== 0 && !(await this.#isStillBad(copy, signal))) return undefined;
    const { lustre, mount } = this.#tools;
    const before = await statDescriptor(file.fd);
    const record = new FileRecord(lustre, file.fd, container, memory, before);
    await record.change(() => lustre.setHsmStateFd(file.fd, { set: states, clear: 0 }));
    // Times of a file that is being restored are not to be set: that waits for the restore.
    const { state } = await lustre.currentAction(fidPath(mount, file.fid));
    if (state === ProgressState.NONE) await record.putTimesBack();
    if ((states & HsmStateFlag.DIRTY) === 0) return 'marked lost';
    return verdict === 'differs'
      ? 'marked dirty: the next archive replaces the copy by what the file holds now'
      : 'marked dirty: the next archive copies it anew';
  }

  /** A second look at a copy that was gone or damaged. */
  async #isStillBad(
    { verdict, container, name, headers, error }: CheckedCopy,
    signal: AbortSignal,
  ): Promise<boolean> {
    if (!container || name === undefined) return false;
    const now = name === '' ? undefined : await container.properties(name, signal);
    if (verdict === 'gone') return !now;
    // Another version by now: that is to be judged the next time.
    if (!now || now.etag !== headers?.etag) return false;
    if (error?.code === 'SIZE_MISMATCH') return now.sizeBytes === headers.sizeBytes;
    return !(await isBlobWhole(this.#tools.transfer, { container, name, headers: now }, signal));
  }
}

/**
 * DIRTY has the file archived again, LOST says that there is no copy; the archive takes both away (mdt_coordinator.c,
 * hsm_cdt_request_completed). A released file is never dirty: the MDT refuses that, for its content is gone. If somebody else
 * wrote its blob, the version that it remembers may come back.
 */
function marksFor(states: number, verdict: 'gone' | 'wrong' | 'damaged' | 'differs'): number {
  if ((states & HsmStateFlag.RELEASED) !== 0) return verdict === 'wrong' ? 0 : HsmStateFlag.LOST;
  return verdict === 'gone' ? HsmStateFlag.DIRTY | HsmStateFlag.LOST : HsmStateFlag.DIRTY;
}

function lostAndFound({ path }: ArchivedFile): LhsmError {
  return new LhsmError(`${showPath(path)} is marked as lost, and a copy of its version and size is there.`, {
    code: 'FILE_LOST',
    op: 'verify',
    errno: errnoNumber('ENODATA'),
    hint: 'When verify --content finds nothing wrong with it, lfs hsm_clear --lost takes the mark away; then it can be restored.',
  });
}

function blobDamaged({ path }: ArchivedFile, name: string): LhsmError {
  return new LhsmError(
    `The bytes of the blob ${name} of ${showPath(path)} are not those that were archived.`,
    {
      code: 'CHECKSUM_MISMATCH',
      op: 'verify',
      errno: errnoNumber('EIO'),
      hint: 'Archive the file again if it is present: verify --content --repair marks it. Otherwise bring a good version of the blob back.',
    },
  );
}

function fileDiffers({ path }: ArchivedFile, name: string): LhsmError {
  return new LhsmError(
    `The content of ${showPath(path)} is not what was archived, though nothing wrote it; its blob ${name} is whole.`,
    {
      code: 'CHECKSUM_MISMATCH',
      op: 'verify',
      errno: errnoNumber('EIO'),
      hint: 'Look at the OSTs: which of the two is right? To keep the content, verify --content --repair and archive it. To take the copy, release and restore the file; if it is marked dirty by now, lfs hsm_clear --dirty before that.',
    },
  );
}

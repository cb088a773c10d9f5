// What an archive does about the blob it finds at its name: which version it may replace, or why not.
// archive.ts calls it; collision.ts judges, this file applies the policy.
import { LhsmError, errnoNumber } from '../../native-bindings/errors.js';
import { formatFid } from '../../native-bindings/lustre.js';
import { judge, type Claimant, type OwnersWord } from './collision.js';
import type { MoverPolicy } from './mover.js';
import type { BlobHeaders, ExpectedVersion } from '../blob.js';
import type { Fid } from '../../native-bindings/lustre.js';

export type WritePlan =
  | { readonly kind: 'write'; readonly expected: ExpectedVersion; readonly note?: string }
  /** The name is another living file's: archive under the alternative one. */
  | { readonly kind: 'use-alternative'; readonly note: string };

/** What only the file system knows. */
export interface Questions {
  readonly askOwner: (fid: Fid) => Promise<OwnersWord>;
  /** Whether a directory stands at the path that makes the name. */
  readonly isDirectory: () => Promise<boolean>;
}

/** Rejects with LhsmError (codes below) for a blob that must not be replaced, and as the questions reject. */
export async function planWrite(
  name: string,
  blob: BlobHeaders | undefined,
  claimant: Claimant,
  policy: Pick<MoverPolicy, 'archiveChanged'>,
  ask: Questions,
): Promise<WritePlan> {
  const verdict = await judge(blob, claimant, ask.askOwner);
  const overwrite = policy.archiveChanged === 'overwrite';
  switch (verdict.kind) {
    case 'free':
      return { kind: 'write', expected: 'absent', ...noteIf(claimant, 'its former copy was missing') };
    case 'ours':
      return {
        kind: 'write',
        expected: { etag: verdict.etag },
        ...(verdict.note === undefined ? {} : { note: verdict.note }),
      };
    case 'orphan':
      return {
        kind: 'write',
        expected: { etag: verdict.etag },
        note: `replaced the copy of ${formatFid(verdict.fid)}, which is gone or elsewhere`,
      };
    case 'other-file':
      return { kind: 'use-alternative', note: `${name} holds the copy of ${formatFid(verdict.fid)}` };
    case 'changed':
      if (overwrite)
        return { kind: 'write', expected: { etag: verdict.etag }, note: 'overwrote a changed blob' };
      throw refusal(
        `The blob ${name} has changed since it was archived: somebody else wrote it.`,
        'BLOB_CHANGED',
        'ESTALE',
        'Look at the blob; then move it away, or set policy archive_changed = "overwrite".',
      );
    case 'foreign':
      if (overwrite)
        return { kind: 'write', expected: { etag: verdict.etag }, note: 'overwrote a foreign blob' };
      if (claimant.remembersIt) {
        throw refusal(
          `The file remembers the blob ${name}, but not which version of it: it may hold anything by now.`,
          'BLOB_NOT_OURS',
          'EEXIST',
          `If it is the file's copy, set the file's xattr trusted.lhsm_etag to ${verdict.etag}; otherwise move it away, or set policy archive_changed = "overwrite".`,
        );
      }
      throw refusal(
        `The blob ${name} is there already, and this file system did not write it.`,
        'BLOB_NOT_OURS',
        'EEXIST',
        'Import it, move it away, use another prefix, or set policy archive_changed = "overwrite".',
      );
    case 'directory':
      // Blobs may still stand below it; the stub alone says nothing of them.
      if (!(await ask.isDirectory())) {
        return { kind: 'use-alternative', note: `${name} still stands for a directory that is gone` };
      }
      throw refusal(
        `The blob ${name} stands for a directory, and a file of that name is to be archived.`,
        'BLOB_IS_DIRECTORY',
        'EISDIR',
        'Delete the directory stub when the container holds nothing below it, then archive again.',
      );
    case 'other-type':
      throw refusal(
        `The blob ${name} is a ${verdict.what}; only block blobs can hold a file.`,
        'NOT_BLOCK_BLOB',
        'EEXIST',
        'Move it away, or use another prefix.',
      );
  }
}

function noteIf(claimant: Claimant, note: string): { note?: string } {
  return claimant.remembersIt && claimant.pin !== undefined ? { note } : {};
}

function refusal(message: string, code: string, errno: string, hint: string): LhsmError {
  return new LhsmError(message, { code, op: 'archive', errno: errnoNumber(errno), hint });
}

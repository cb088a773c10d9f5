// The table of collision.test.ts: what stands at a name, whose it is judged to be, and what an archive then does.
import type { OwnersWord } from '../../../daemon/movers/collision.js';
import type { Fid } from '../../../native-bindings/lustre.js';

export const HERE = 'lustre@1700000000';
export const OURS: Fid = { seq: 0x200000401n, oid: 1, ver: 0 };
export const OTHER = '[0x200000401:0x2:0x0]';
const own = { lustre_fid: '[0x200000401:0x1:0x0]', lustre_fs: HERE };

export interface Row {
  readonly rule: string;
  /** undefined: no blob. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly blobType?: string;
  /** The blob's ETag is "0xB". */
  readonly remembersIt?: boolean;
  readonly pin?: string;
  readonly word?: OwnersWord;
  /** Whether a directory is at the path that makes the name; by default it is. */
  readonly isDirectory?: boolean;
  readonly verdict: string;
  readonly asked?: boolean;
  /** What is written under policy refuse: `absent`, `match` (this version), `alternative`, or an error code. */
  readonly refuse: string;
  /** The same under policy overwrite, when it differs. */
  readonly overwrite?: string;
}

export const rows: readonly Row[] = [
  { rule: 'a free name is written only while it is free', verdict: 'free', refuse: 'absent' },
  {
    rule: 'a pinned copy that is missing is written anew',
    remembersIt: true,
    pin: '"0xA"',
    verdict: 'free',
    refuse: 'absent',
  },
  {
    rule: 'the pinned version is ours',
    metadata: own,
    remembersIt: true,
    pin: '"0xB"',
    verdict: 'ours',
    refuse: 'match',
  },
  {
    rule: 'a pin without quotes is the same version',
    metadata: own,
    remembersIt: true,
    pin: '0xB',
    verdict: 'ours',
    refuse: 'match',
  },
  {
    rule: 'an imported blob without lustre_fid is ours by its pin',
    metadata: {},
    remembersIt: true,
    pin: '"0xB"',
    verdict: 'ours',
    refuse: 'match',
  },
  {
    rule: 'an imported blob that another file system wrote is ours by its pin, and its FID is not looked up',
    metadata: { lustre_fid: OTHER, lustre_fs: 'lustre@1600000000' },
    remembersIt: true,
    pin: '"0xB"',
    word: 'claims-it',
    verdict: 'ours',
    asked: false,
    refuse: 'match',
  },
  {
    rule: 'a pin copied with the xattrs of another living file does not make its blob ours',
    metadata: { lustre_fid: OTHER, lustre_fs: HERE },
    remembersIt: true,
    pin: '"0xB"',
    word: 'claims-it',
    verdict: 'other-file',
    asked: true,
    refuse: 'alternative',
  },
  {
    rule: 'an upload whose daemon died before it pinned it is taken up: no pin yet',
    metadata: own,
    verdict: 'ours',
    refuse: 'match',
  },
  {
    rule: 'an upload whose daemon died after it claimed the name is taken up',
    metadata: own,
    remembersIt: true,
    verdict: 'ours',
    refuse: 'match',
  },
  {
    rule: 'an upload over the pinned version whose daemon died before it pinned it is taken up',
    metadata: { ...own, lhsm_previous: '0xA' },
    remembersIt: true,
    pin: '"0xA"',
    verdict: 'ours',
    refuse: 'match',
  },
  {
    rule: 'a version that somebody made from ours, metadata kept, is not overwritten',
    metadata: { ...own, lhsm_previous: '0x9' },
    remembersIt: true,
    pin: '"0xA"',
    verdict: 'changed',
    refuse: 'BLOB_CHANGED',
    overwrite: 'match',
  },
  {
    rule: 'a changed first version is not overwritten either',
    metadata: own,
    remembersIt: true,
    pin: '"0xA"',
    verdict: 'changed',
    refuse: 'BLOB_CHANGED',
    overwrite: 'match',
  },
  {
    rule: 'a blob that somebody replaced, metadata gone, is not overwritten',
    metadata: {},
    remembersIt: true,
    pin: '"0xA"',
    verdict: 'changed',
    refuse: 'BLOB_CHANGED',
    overwrite: 'match',
  },
  {
    rule: 'our own former copy at a name that the file comes back to is replaced, whatever is pinned elsewhere',
    metadata: own,
    remembersIt: false,
    pin: '"0xC"',
    verdict: 'ours',
    refuse: 'match',
  },
  {
    rule: 'the blob of another living file is left to it',
    metadata: { lustre_fid: OTHER, lustre_fs: HERE },
    word: 'claims-it',
    verdict: 'other-file',
    asked: true,
    refuse: 'alternative',
    overwrite: 'alternative',
  },
  {
    rule: 'the blob of a living file that remembers nothing is left to it',
    metadata: { lustre_fid: OTHER, lustre_fs: HERE },
    word: 'silent',
    verdict: 'other-file',
    asked: true,
    refuse: 'alternative',
  },
  {
    rule: 'the blob of a removed file is an orphan and is replaced',
    metadata: { lustre_fid: OTHER, lustre_fs: HERE },
    word: 'no',
    verdict: 'orphan',
    asked: true,
    refuse: 'match',
  },
  {
    rule: 'a client too old to tell when the file system was made still knows its orphans',
    metadata: { lustre_fid: OTHER, lustre_fs: 'lustre' },
    word: 'no',
    verdict: 'orphan',
    refuse: 'match',
  },
  {
    rule: 'the blob of another file system is not overwritten, though its FID is of no file here',
    metadata: { lustre_fid: OTHER, lustre_fs: 'scratch@1700000000' },
    word: 'no',
    verdict: 'foreign',
    asked: false,
    refuse: 'BLOB_NOT_OURS',
    overwrite: 'match',
  },
  {
    rule: 'the blob of another file system is not ours, though it has the very FID',
    metadata: { ...own, lustre_fs: 'lustre@1600000000' },
    verdict: 'foreign',
    refuse: 'BLOB_NOT_OURS',
    overwrite: 'match',
  },
  {
    rule: 'a FID without a file system proves nothing for us',
    metadata: { lustre_fid: '[0x200000401:0x1:0x0]' },
    verdict: 'foreign',
    refuse: 'BLOB_NOT_OURS',
    overwrite: 'match',
  },
  {
    rule: 'a FID without a file system is no orphan',
    metadata: { lustre_fid: OTHER },
    word: 'no',
    verdict: 'foreign',
    asked: true,
    refuse: 'BLOB_NOT_OURS',
    overwrite: 'match',
  },
  {
    rule: 'a FID without a file system of a living file that claims the blob is believed',
    metadata: { lustre_fid: OTHER },
    word: 'claims-it',
    verdict: 'other-file',
    refuse: 'alternative',
  },
  {
    rule: 'a FID without a file system of a silent file is not',
    metadata: { lustre_fid: OTHER },
    word: 'silent',
    verdict: 'foreign',
    refuse: 'BLOB_NOT_OURS',
    overwrite: 'match',
  },
  {
    rule: 'a blob that AzCopy wrote is not overwritten',
    metadata: { posix_owner: '0' },
    verdict: 'foreign',
    refuse: 'BLOB_NOT_OURS',
    overwrite: 'match',
  },
  {
    rule: 'a blob named by the xattr without a version is not overwritten: nobody knows what it holds',
    metadata: {},
    remembersIt: true,
    verdict: 'foreign',
    refuse: 'BLOB_NOT_OURS',
    overwrite: 'match',
  },
  {
    rule: 'a lustre_fid that is none counts as none',
    metadata: { lustre_fid: 'garbage', lustre_fs: HERE },
    verdict: 'foreign',
    asked: false,
    refuse: 'BLOB_NOT_OURS',
    overwrite: 'match',
  },
  {
    rule: 'a directory stub is never overwritten by a file',
    metadata: { ...own, hdi_isfolder: 'True' },
    verdict: 'directory',
    refuse: 'BLOB_IS_DIRECTORY',
    overwrite: 'BLOB_IS_DIRECTORY',
  },
  {
    rule: 'the stub of a directory that is gone leaves the file another name',
    metadata: { hdi_isfolder: 'true' },
    isDirectory: false,
    verdict: 'directory',
    refuse: 'alternative',
    overwrite: 'alternative',
  },
  {
    rule: 'a page blob is never overwritten',
    metadata: own,
    blobType: 'PageBlob',
    verdict: 'other-type',
    refuse: 'NOT_BLOCK_BLOB',
    overwrite: 'NOT_BLOCK_BLOB',
  },
  {
    rule: 'an append blob is never overwritten',
    metadata: own,
    blobType: 'AppendBlob',
    verdict: 'other-type',
    refuse: 'NOT_BLOCK_BLOB',
    overwrite: 'NOT_BLOCK_BLOB',
  },
];

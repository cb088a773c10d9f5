// The decision table of collision.ts and what an archive and its policy make of each verdict.
import t from 'tap';
import { judge, type Claimant } from '../../../daemon/movers/collision.js';
import { planWrite } from '../../../daemon/movers/write-plan.js';
import { LhsmError } from '../../../native-bindings/errors.js';
import type { BlobHeaders } from '../../../daemon/blob.js';
import { HERE, OTHER, OURS, rows, type Row } from './collision-table.js';

function blobOf(row: Row): BlobHeaders | undefined {
  if (!row.metadata) return undefined;
  return {
    sizeBytes: 1,
    etag: '"0xB"',
    blobType: row.blobType ?? 'BlockBlob',
    accessTier: 'Hot',
    metadata: row.metadata,
    lastModified: undefined,
  };
}

async function planned(row: Row, archiveChanged: 'refuse' | 'overwrite'): Promise<string> {
  const claimant = claimantOf(row);
  try {
    const plan = await planWrite(
      'p',
      blobOf(row),
      claimant,
      { archiveChanged },
      {
        askOwner: () => Promise.resolve(row.word ?? 'no'),
        isDirectory: () => Promise.resolve(row.isDirectory ?? true),
      },
    );
    if (plan.kind === 'use-alternative') return 'alternative';
    if (plan.expected === 'absent') return 'absent';
    return plan.expected?.etag === '"0xB"' ? 'match' : 'anything';
  } catch (error) {
    if (error instanceof LhsmError) return error.code;
    throw error;
  }
}

function claimantOf(row: Row): Claimant {
  return { fid: OURS, fileSystem: HERE, remembersIt: row.remembersIt ?? false, pin: row.pin };
}

for (const row of rows) {
  t.test(row.rule, async (t) => {
    let asked = false;
    const verdict = await judge(blobOf(row), claimantOf(row), () => {
      t.notOk(asked, 'the owner is asked once at most');
      asked = true;
      return Promise.resolve(row.word ?? 'no');
    });
    t.equal(verdict.kind, row.verdict);
    if (row.asked !== undefined) t.equal(asked, row.asked, 'whether the owner is asked');
    t.equal(await planned(row, 'refuse'), row.refuse, 'policy refuse');
    t.equal(await planned(row, 'overwrite'), row.overwrite ?? row.refuse, 'policy overwrite');
  });
}

t.test('an owner that cannot be looked at leaves the blob alone', async (t) => {
  const row: Row = { rule: '', metadata: { lustre_fid: OTHER, lustre_fs: HERE }, verdict: '', refuse: '' };
  const unknown = new LhsmError('no answer', { code: 'ETIMEDOUT', op: 'llapi_open_by_fid' });
  await t.rejects(
    judge(blobOf(row), claimantOf(row), () => Promise.reject(unknown)),
    { code: 'ETIMEDOUT' },
  );
});

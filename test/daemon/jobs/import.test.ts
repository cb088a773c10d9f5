// What the maker of imports checks before anything is touched, and that what it refuses leaves nothing open.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { LhsmError } from '../../../native-bindings/errors.js';
import type { Lustre } from '../../../native-bindings/lustre.js';
import type { ArchiveContainer } from '../../../daemon/blobs/archive-container.js';
import { importWork, type ImportTools } from '../../../daemon/jobs/import.js';
import type { WorkContext } from '../../../daemon/jobs/job-work.js';
import type { JobReport } from '../../../daemon/jobs/report.js';
import { FakeListing } from './fake-listing.js';
import { openDescriptors } from './import-bench.js';
import { documentOf, never } from './logs.js';

t.test('an import that cannot be made holds nothing open, however often it is tried', async (t) => {
  const scratch = join(t.testdir({}), 'scratch');
  mkdirSync(scratch);
  const container = {
    prefix: '',
    naming: 'path',
    listing: () => Promise.resolve(new FakeListing([])),
  } as unknown as ArchiveContainer;
  const tools: ImportTools = {
    mount: t.testdirName,
    lustre: {} as unknown as Lustre,
    container: (id) => (id === 1 ? container : undefined),
    attributes: () => Promise.resolve({}),
    stubsAtOnce: () => 1,
    listingStreams: () => 1,
    pageSize: () => 10,
  };
  const document = documentOf('job');
  const context: WorkContext = {
    document,
    report: {} as unknown as JobReport,
    snapshot: undefined,
    startedNs: 0n,
    scratch,
    log: pino({ level: 'silent' }),
  };
  const gone = new LhsmError('no such file', { code: 'ID_MAP', op: 'id map' });
  // The walker's state of a former process is no state.
  const damaged = { ...context, snapshot: { walk: 7 } };
  const other = { ...context, document: { ...document, spec: { ...document.spec, archiveId: 2 } } };
  const before = openDescriptors();
  for (let times = 0; times < 3; times += 1) {
    const unreadable = { ...tools, attributes: () => Promise.reject(gone) };
    await t.rejects(importWork(unreadable)(context, never), gone);
    await t.rejects(importWork(tools)(damaged, never), { code: 'WALK_STATE_INVALID' });
    await t.rejects(importWork(tools)(other, never), { code: 'ARCHIVE_UNKNOWN' });
  }
  t.equal(openDescriptors(), before);
  await (await importWork(tools)(context, never)).close();
});

// The file that users see in the root of the file system.
import { readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { compactTime, isStatusFile, StatusFile } from '../../../daemon/jobs/status-file.js';
import type { JobDocument } from '../../../daemon/jobs/job.js';

const document = {
  kind: 'import',
  name: 'nightly',
  state: 'InProgress',
  statusMessage: 'Importing.',
  lastStartedTime: '2026-11-27T22:15:00.000Z',
  holder: { host: 'node1', mount: '/mnt', pid: 1 },
} as JobDocument;

t.test('is renamed as the state changes, and goes', async (t) => {
  const mount = t.testdir({ 'IMPORT_Failed.20200101T000000Z': 'an older job', data: 'x' });
  const file = new StatusFile(mount, document);
  await file.show(document);
  const names = (): string[] => readdirSync(mount).sort();
  const older = 'IMPORT_Failed.20200101T000000Z';
  t.strictSame(names(), [older, 'IMPORT_InProgress.20261127T221500Z', 'data']);

  const failed = {
    ...document,
    state: 'Failed',
    statusMessage: 'It failed.',
    errorCode: 'MDT_FULL',
    errorMessage: 'full',
  } as const;
  // Another process, after a kill: it finds the file whatever its state was.
  await new StatusFile(mount, document).show(failed);
  t.strictSame(names(), [older, 'IMPORT_Failed.20261127T221500Z', 'data'].sort());
  const text = readFileSync(join(mount, 'IMPORT_Failed.20261127T221500Z'), 'utf8');
  t.match(text, /It failed\.\nMDT_FULL: full/);
  t.match(text, /lhsm-azblob jobs show nightly/);

  await file.remove();
  await file.remove();
  t.strictSame(names(), [older, 'data']);
});

t.test('a link that somebody has put there is not followed', async (t) => {
  const dir = t.testdir({ mount: {}, precious: 'precious' });
  const mount = join(dir, 'mount');
  symlinkSync(join(dir, 'precious'), join(mount, 'IMPORT_InProgress.20261127T221500Z'));
  await t.rejects(new StatusFile(mount, document).show(document), { code: 'ELOOP' });
  t.equal(readFileSync(join(dir, 'precious'), 'utf8'), 'precious');
});

t.test('its names are told from users’ files', (t) => {
  t.equal(compactTime('2026-11-27T22:15:00.123Z'), '20261127T221500Z');
  t.ok(isStatusFile('IMPORT_InProgress.20261127T221500Z'));
  t.ok(isStatusFile('EXPORT_Failed.20261127T221500Z'));
  t.notOk(isStatusFile('IMPORT_notes.txt'));
  t.notOk(isStatusFile('IMPORT_x.20261127'));
  t.end();
});

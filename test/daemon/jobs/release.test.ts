import { mkdir, open, readFile, rename, utimes, writeFile } from 'node:fs/promises';
import t from 'tap';
import type { Finding } from '../../../daemon/jobs/finding.js';
import { release, type ReleaseNumbers, type ReleaseOptions } from '../../../daemon/jobs/release.js';
import { HsmStateFlag } from '../../../native-bindings/constants.js';
import { startCopiesSite } from './copies-site.js';

const copies = await startCopiesSite();
const { site, lustre, tools, container, path } = copies;
t.teardown(() => copies.stop());
const noSignal = new AbortController().signal;

interface Ran extends ReleaseNumbers {
  readonly findings: Finding[];
  readonly released_: string[];
}

async function run(options: Partial<ReleaseOptions>): Promise<Ran> {
  const findings: Finding[] = [];
  const released: string[] = [];
  const numbers = await release(
    { paths: [], dryRun: false, ...options },
    tools,
    {
      onFinding: (finding) => findings.push(finding),
      onReleased: (name) => released.push(name.toString()),
    },
    noSignal,
  );
  return { ...numbers, findings, released_: released };
}

const isReleased = async (name: string): Promise<boolean> =>
  ((await lustre.hsmState(path(name))).states & HsmStateFlag.RELEASED) !== 0;

/** Archived files in a directory of their own. */
async function archived(dir: string, ...names: string[]): Promise<void> {
  await mkdir(path(dir), { recursive: true });
  for (const name of names) await writeFile(path(dir, name), `content of ${name}`);
  await site.hsm('archive', ...names.map((name) => path(dir, name)));
}

t.test('files whose copy is as it should be are released, others are not', async (t) => {
  const names = Array.from({ length: 60 }, (_, at) => `f${at}`);
  await archived('good', ...names);
  await writeFile(path('good/never'), 'never archived');
  await rename(path('good/f0'), path('good/renamed'));
  await writeFile(path('good/f1'), 'written since');
  await lustre.setHsmState(path('good/f2'), { set: HsmStateFlag.NORELEASE, clear: 0 });
  const dry = await run({ paths: ['good'], dryRun: true });
  t.match(dry, { files: 61, released: 58, refused: 0, skipped: 3 });
  t.notOk(await isReleased('good/f5'), 'a dry run releases nothing');
  const ran = await run({ paths: ['good'] });
  t.match(ran, { files: 61, released: 58, refused: 0, skipped: 3, findings: [] });
  t.equal(ran.released_.length, 58);
  for (const name of ['renamed', 'f5', 'f59']) t.ok(await isReleased(`good/${name}`), name);
  for (const name of ['never', 'f1', 'f2']) t.notOk(await isReleased(`good/${name}`), name);
  t.equal((await site.read('good/renamed')).toString(), 'content of f0');
  t.match(await run({ paths: ['good'] }), { released: 1, skipped: 60 });
});

t.test('nothing is released whose copy is not the one that the file remembers', async (t) => {
  await archived('bad', 'gone', 'changed', 'cut', 'unpinned', 'good', 'tier');
  await container.deleteBlob('bad/gone');
  await container.getBlockBlobClient('bad/changed').upload('content of changed', 18);
  await container.getBlockBlobClient('bad/cut').upload('short', 5);
  const file = await open(path('bad/unpinned'));
  await lustre.changeXattrs(file.fd, [{ name: 'trusted.lhsm_etag', value: undefined }]);
  await file.close();
  await container.getBlobClient('bad/tier').setAccessTier('Archive');
  const ran = await run({ paths: ['bad'] });
  t.match(ran, { files: 6, released: 1, refused: 5 });
  t.same(ran.findings.map(({ code, path: at }) => `${at?.toString() ?? ''} ${code}`).sort(), [
    'bad/changed BLOB_CHANGED',
    'bad/cut BLOB_CHANGED',
    'bad/gone BLOB_MISSING',
    'bad/tier BLOB_ARCHIVED',
    'bad/unpinned NOT_PINNED',
  ]);
  for (const name of ['gone', 'changed', 'cut', 'unpinned', 'tier'])
    t.notOk(await isReleased(`bad/${name}`), name);
  t.ok(await isReleased('bad/good'));
  t.equal(await readFile(path('bad/gone'), 'utf8'), 'content of gone');
});

t.test('only what is old and large enough', async (t) => {
  await archived('picked', 'old', 'new', 'read');
  const past = Date.now() / 1000 - 3600;
  await utimes(path('picked/old'), past, past);
  await utimes(path('picked/read'), Date.now() / 1000, past);
  t.match(await run({ paths: ['picked'], minSizeBytes: 1000n }), { released: 0, skipped: 3 });
  const ran = await run({ paths: ['picked'], olderThanMs: 600_000 });
  t.same(ran.released_, ['picked/old']);
});

t.test('a file that somebody has open is refused, its neighbours are released', async (t) => {
  await archived('held', 'a', 'b', 'c');
  const file = await open(path('held/b'));
  try {
    const ran = await run({ paths: ['held'] });
    t.match(ran, { released: 2, refused: 1 });
    t.match(ran.findings, [{ code: 'RELEASE_REFUSED', errno: 'EBUSY', path: Buffer.from('held/b') }]);
  } finally {
    await file.close();
  }
  t.notOk(await isReleased('held/b'));
});

t.test('an archive id that is not configured is a finding', async (t) => {
  await archived('closed', 'a');
  const other = { ...tools, container: () => undefined };
  const findings: Finding[] = [];
  const onFinding = (finding: Finding): void => void findings.push(finding);
  await release({ paths: ['closed'], dryRun: false }, other, { onFinding }, noSignal);
  t.match(findings, [{ code: 'UNKNOWN_ARCHIVE' }]);
  t.notOk(await isReleased('closed/a'));
});

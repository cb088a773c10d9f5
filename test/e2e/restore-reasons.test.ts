// Why a batch restore could not bring a file back stands in its report, whichever node's agent has failed.
import { mkdirSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import type { OperationDocument } from '../../daemon/jobs/operation.js';
import type { Daemon } from '../helpers/daemon.js';
import { JobSite } from '../helpers/job-site.js';

interface SetUp {
  readonly site: JobSite;
  readonly tree: string;
  /** Of the node that is not asked. */
  readonly other: Daemon;
}

/** Two nodes and a released tree; the blobs of the first files are gone. `alone`: only the other node serves their archive id. */
async function setUp(t: Test, files: number, gone: number, alone: boolean): Promise<SetUp> {
  const site = await JobSite.start(t, { nodes: 2 });
  const [archive] = site.settings().archives;
  if (!archive) throw new Error('no archive');
  await site.site.azurite.container('second');
  await site.daemon(0, alone ? { archives: [{ ...archive, id: 2, container: 'second' }] } : {});
  const other = await site.daemon(1);
  mkdirSync(site.path('tree'));
  const paths = Array.from({ length: files }, (_, at) => site.path('tree', `f${at}`));
  for (const path of paths) writeFileSync(path, 'content');
  await site.site.hsm('archive', ...paths);
  await site.site.lfs('hsm_release', ...paths);
  for (let at = 0; at < gone; at += 1) await site.site.container.deleteBlob(`tree/f${at}`);
  return { site, tree: site.path('tree'), other };
}

async function notesLeft({ logs }: JobSite): Promise<string[]> {
  const left: string[] = [];
  for await (const { name } of logs.listBlobsFlat()) if (name.includes('/failures/')) left.push(name);
  return left;
}

const named = ({ findings }: OperationDocument): string[] =>
  findings.map(({ code, errno, path }) => `${code} ${errno ?? ''} ${path ?? ''}`).sort();
const missing = (count: number): string[] =>
  Array.from({ length: count }, (_, at) => `BLOB_MISSING ENOENT tree/f${at}`).sort();

t.test('two agents share a restore, and what either could not restore is named', async (t) => {
  const { site, tree, other } = await setUp(t, 40, 16, false);
  const { code, stdout, stderr } = await site.cli('restore', tree, '--wait', '--json');
  t.equal(code, 3, stderr);
  const end = JSON.parse(stdout) as OperationDocument;
  t.match(end, { state: 'partial', counts: { asked: 40, done: 24, failed: 16, outstanding: 0 } });
  t.strictSame(named(end), missing(16));
  const failed = other.lines.filter(({ msg }) => msg.startsWith('restore failed')).length;
  t.ok(failed > 0 && failed < 16, `${failed} of them on the other node`);
  t.strictSame(await notesLeft(site), [], 'what agents had left is gone');
});

t.test('also when a reader had asked for the file before, and on a node that serves it not', async (t) => {
  const { site, tree } = await setUp(t, 4, 2, true);
  site.holdData();
  const reader = site.read('tree/f0');
  await site.proxy.held(1);
  const begun = site.cli('restore', tree, '--wait', '--json');
  for (let asked = 0; asked < 4;) {
    const { stdout } = await site.cli('operations', 'show', 'restore-1', '--json');
    if (stdout !== '') asked = (JSON.parse(stdout) as OperationDocument).counts['asked'] ?? 0;
  }
  site.proxy.open();
  await t.rejects(reader, /No data available/);
  const { code, stdout, stderr } = await begun;
  t.equal(code, 3, stderr);
  const end = JSON.parse(stdout) as OperationDocument;
  t.match(end, { state: 'partial', counts: { asked: 4, done: 2, failed: 2, outstanding: 0 } });
  t.strictSame(named(end), missing(2));
  t.match(end.findings[0]?.message, /restore of .* failed: The blob tree\/f\d/);
  const shown = await site.cli('operations', 'show', 'restore-1');
  t.match(shown.stdout, /ERROR BLOB_MISSING tree\/f0: /);
});

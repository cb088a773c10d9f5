// kill -9 in the middle of an import, again and again: what is taken up each time becomes the tree of an undisturbed
// import, and the counts and the log are those of one run.
import { lstatSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { JobSite } from '../helpers/job-site.js';

const KILLS = 10;
const DIRECTORIES = 12;
const FILES = 14;

/** Everything about every name below a directory but what must differ: change times and inode numbers. */
function treeOf(root: string, at = ''): string[] {
  return readdirSync(join(root, at), { withFileTypes: true })
    .filter(({ name }) => !name.startsWith('IMPORT_') && name !== '.lustre')
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const name = at === '' ? entry.name : `${at}/${entry.name}`;
      const path = join(root, name);
      const { mode, uid, gid, size, mtimeNs } = lstatSync(path, { bigint: true });
      const isDirectory = entry.isDirectory();
      // A directory that no blob describes has the time of its making.
      const when = name.includes('/sub') && isDirectory ? '' : mtimeNs;
      const what = [mode.toString(8), uid, gid, when, isDirectory ? '' : size];
      if (entry.isSymbolicLink()) what.push(readlinkSync(path));
      return [`${name} ${what.join(' ')}`, ...(isDirectory ? treeOf(root, name) : [])];
    });
}

t.test('after kill -9 at ten points the tree is that of an undisturbed import', async (t) => {
  const site = await JobSite.start(t, { jobs: 'checkpoint_s = 0.05\npage_size = 20\nstubs_at_once = 4' });
  const attributes = (n: number): Record<string, string> => ({
    owner: String(1000 + n),
    group: '100',
    permissions: n % 3 === 0 ? '1750' : '0640',
    modtime_ns: String(1_500_000_000_000_000_000n + BigInt(n)),
  });
  const puts: Promise<void>[] = [];
  for (let d = 0; d < DIRECTORIES; d += 1) {
    puts.push(site.put(`d${d}`, '', { hdi_isfolder: 'true', ...attributes(d) }));
    for (let f = 0; f < FILES; f += 1) {
      const n = d * FILES + f;
      const name = `d${d}/sub${f % 2}/f${f}`;
      if (f % 4 === 0) puts.push(site.put(name, `../target${n}`, { is_symlink: 'true', ...attributes(n) }));
      else puts.push(site.put(name, `content ${n}`, attributes(n)));
    }
    // One blob of each directory that cannot be a file: its error must stand in the log once.
    puts.push(site.put(`d${d}/${'x'.repeat(256)}`, 'x', {}));
  }
  await Promise.all(puts);
  const blobs = DIRECTORIES * (FILES + 2);

  let daemon = await site.daemon();
  const whole = await site.cli(
    'import',
    'start',
    '--name',
    'whole',
    '--max-errors',
    '-1',
    '--wait',
    '--json',
  );
  t.equal(whole.code, 3, whole.stderr);
  const undisturbed = JSON.parse(whole.stdout) as { counts: Record<string, number> };
  t.match(undisturbed.counts, { totalBlobsWalked: blobs, totalErrors: DIRECTORIES, totalConflicts: 0 });
  const expected = treeOf(site.mount);
  for (const name of readdirSync(site.mount)) {
    if (name !== '.lustre') rmSync(site.path(name), { recursive: true });
  }

  // Each life of the daemon ends when it asks for so many more links' bodies, at a different point each time.
  let left = 0;
  const holdAfter = (requests: number): void => {
    left = requests;
    site.proxy.hold(({ url = '' }) => {
      if (!/^\/devstoreaccount1\/archive\/[^?]/.test(url)) return false;
      left -= 1;
      return left < 0;
    });
  };
  holdAfter(1);
  const begun = await site.cli('import', 'start', '--name', 'killed', '--max-errors', '-1');
  t.equal(begun.code, 0, begun.stderr);
  for (let kill = 0; kill < KILLS; kill += 1) {
    await site.proxy.held(1);
    await daemon.kill();
    site.proxy.drop();
    holdAfter(1 + Math.floor(Math.random() * 6));
    daemon = await site.daemon(0, { dir: daemon.dir });
  }
  site.proxy.open();
  const watched = await site.cli('jobs', 'watch', 'killed', '--json');
  t.equal(watched.code, 3, watched.stderr);
  t.strictSame(treeOf(site.mount), expected);

  const shown = await site.cli('jobs', 'show', 'killed', '--json');
  const killed = JSON.parse(shown.stdout) as { counts: object; resumes: number };
  t.equal(killed.resumes, KILLS);
  t.strictSame(killed.counts, undisturbed.counts, 'nothing is counted twice, nothing missed');
  const log = await site.cli('jobs', 'log', 'killed');
  const errors = log.stdout
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { path: string }).path);
  t.equal(errors.length, DIRECTORIES, 'each error stands in the log once');
  t.equal(new Set(errors).size, DIRECTORIES);
  t.equal((await site.read('d3/sub1/f5')).toString(), `content ${3 * FILES + 5}`);
});

// A tree with all that an export has to keep, and its way back from a container into a file system of its own. The
// end-to-end tests of round trips call it.
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  lchownSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Test } from 'tap';
import { LustreSim } from '../lustre-sim/lustre-sim.js';
import { job } from './export-site.js';
import type { JobSite } from './job-site.js';

const exec = promisify(execFile);

/** More than one block for whoever copies by the MiB. */
const LARGE_BYTES = 3 * 1024 * 1024 + 1;

const deep = Array.from({ length: 20 }, (_, level) => `level ${level}`).join('/');

const names = [
  'plain',
  'a/ü %?#\\',
  'a/b/dots..',
  'shared/f',
  'dir./in a directory that ends in a dot',
  `${deep}/deep`,
  'a/%5C%2E %25 is written like that',
  'a/new\nline\ttab',
  'a/plus+&=;,$@!~*\'"()[]{}<>|^`:',
  'a/日本 🌊 e\u0301',
  'a/ spaces ',
  `a/${'n'.repeat(255)}`,
];

/** Fills an empty file system. */
export function buildTree(root: string): void {
  const path = (name: string): string => join(root, name);
  for (const dir of ['a/b/empty', 'a/empty ü %', 'shared', 'dir.', deep])
    mkdirSync(path(dir), { recursive: true });
  writeFileSync(path('empty'), '');
  writeFileSync(path('large'), randomBytes(LARGE_BYTES));
  names.forEach((name, at) => {
    writeFileSync(path(name), name.repeat(at * 100));
    chownSync(path(name), 1000 + at, 2000 + at);
    chmodSync(path(name), at === 0 ? 0o1644 : 0o600 + at);
    utimesSync(path(name), 1, `${1_700_000_000 + at}.123456789`);
  });
  symlinkSync('../plain', path('a/link'));
  symlinkSync('/dangling/ü', path('a/b/dangling'));
  symlinkSync('a/b', path('link to a directory'));
  lchownSync(path('a/link'), 21, 22);
  lutimesSync(path('a/link'), 1, 1_600_000_000);
  chmodSync(path('shared'), 0o1777);
  chmodSync(path('a/b/empty'), 0o1700);
  chownSync(path('a/b'), 7, 8);
  const all = readdirSync(root, { recursive: true, encoding: 'utf8' }).sort().reverse();
  all.forEach((name, at) => {
    if (lstatSync(path(name)).isDirectory()) utimesSync(path(name), 1, 1_500_000_000 + at);
  });
}

/** What one name is, but for its content. */
export interface TreeEntry {
  /** Octal, with the type. */
  readonly mode: string;
  readonly owner: string;
  readonly mtimeNs: bigint;
  /** Of files. */
  readonly sizeBytes?: bigint;
  /** Of symbolic links. */
  readonly target?: string;
}

function describe(root: string): Map<string, TreeEntry> {
  const names = readdirSync(root, { recursive: true, encoding: 'utf8' }).sort();
  return new Map(
    names.map((name) => {
      const path = join(root, name);
      const stat = lstatSync(path, { bigint: true });
      const entry = {
        mode: stat.mode.toString(8),
        owner: `${stat.uid}:${stat.gid}`,
        mtimeNs: stat.mtimeNs,
        ...(stat.isFile() ? { sizeBytes: stat.size } : {}),
        ...(stat.isSymbolicLink() ? { target: readlinkSync(path) } : {}),
      };
      return [name, entry];
    }),
  );
}

/**
 * Imports a container into an empty file system, restores everything, and compares with the site's own tree, of each name what is
 * `kept`. The site's second daemon does it, and is stopped.
 */
export async function comesBack(
  t: Test,
  site: JobSite,
  container: string,
  kept: (entry: TreeEntry) => unknown = (entry) => entry,
): Promise<void> {
  const other = await LustreSim.start({ fsname: container });
  t.teardown(() => other.stop());
  const archives = site.settings().archives.map((archive) => ({ ...archive, container }));
  const daemon = await site.daemon(1, { mount: other.mount, library: other.library, archives });
  const tree = (root: string): Record<string, unknown> =>
    Object.fromEntries([...describe(root)].map(([name, entry]) => [name, kept(entry)]));
  const before = tree(site.mount);
  const files = [...describe(site.mount)].filter(([, { sizeBytes }]) => sizeBytes !== undefined);
  const states = (): Promise<string> =>
    other.lfsOk('hsm_state', ...files.map(([name]) => join(other.mount, name)));

  t.match(await site.cliOn(1, 'import', 'start', '--wait', '--json'), { code: 0 });
  t.strictSame(tree(other.mount), before);
  t.equal((await states()).match(/released exists archived/g)?.length, files.length, 'only names have come');
  t.match(await site.cliOn(1, 'restore', other.mount, '--wait'), { code: 0 });
  t.strictSame(tree(other.mount), before, 'also when everything is restored');
  t.notMatch(await states(), 'released');
  // Azurite lives in this process: who reads must not hold it up.
  const { stdout } = await exec('diff', ['-r', '--no-dereference', site.mount, other.mount]);
  t.equal(stdout, '', 'and reads as it did');
  const again = job(await site.cliOn(1, 'export', 'start', '--wait', '--json'));
  const none = { totalFilesExported: 0, totalDirectoriesExported: 0, totalSymlinksExported: 0 };
  t.match(again, { state: 'Completed', counts: none }, 'and there is nothing to export');
  t.equal(await daemon.stop(), 0);
  t.strictSame(await other.violations(), []);
}

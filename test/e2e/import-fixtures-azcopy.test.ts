// Containers that AzCopy has laid out from a real tree, in both of its styles: what comes of them by an import, and what of
// the tree AzCopy has lost on the way.
import {
  chmodSync,
  chownSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  type BigIntStats,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { ContainerSASPermissions } from '@azure/storage-blob';
import t, { type Test } from 'tap';
import { azcopyCopy, hasAzcopy, installAzcopy } from '../helpers/azcopy.js';
import { JobSite } from '../helpers/job-site.js';

const names = [
  'with space',
  'per%cent',
  'per%25cent',
  'hash#tag',
  'question?mark',
  'plus+&=',
  'ünïcødé 日本 🌊',
];

/** A tree with all that an import has to bring back. */
function makeTree(root: string): void {
  const put = (path: string, content: string, mode: number, uid: number, gid: number): void => {
    writeFileSync(join(root, path), content);
    chownSync(join(root, path), uid, gid);
    chmodSync(join(root, path), mode);
  };
  mkdirSync(join(root, 'sticky'), { recursive: true });
  for (const name of names) {
    mkdirSync(join(root, `dir ${name}`));
    put(`dir ${name}/${name}`, `content of ${name}`, 0o640, 1001, 1002);
  }
  put('sticky/file', 'in a sticky directory', 0o600, 65_534, 4_294_967_294);
  put('empty', '', 0o444, 0, 7);
  put('program', '#!/bin/sh\n', 0o755, 1001, 0);
  put('set-uid', 'dropped', 0o4755, 1001, 1002);
  put('linked', 'one file, two names', 0o604, 3, 4);
  linkSync(join(root, 'linked'), join(root, 'sticky/linked too'));
  mkdirSync(join(root, 'empty directory'));
  chownSync(join(root, 'empty directory'), 12, 13);
  chmodSync(join(root, 'empty directory'), 0o2750);
  const links = { link: 'sticky/file', dangling: '../nowhere at all', 'link to dir': 'empty directory' };
  for (const [name, target] of Object.entries(links)) {
    symlinkSync(target, join(root, name));
    lchownSync(join(root, name), 21, 22);
    lutimesSync(join(root, name), 1_500_000_000.25, 1_500_000_000.25);
  }
  chownSync(join(root, 'sticky'), 5, 6);
  chmodSync(join(root, 'sticky'), 0o1777);
  // Deepest first: what is made in a directory moves its time.
  const all = readdirSync(root, { recursive: true, encoding: 'utf8' }).sort().reverse();
  [...all, ''].forEach((path, index) => {
    const seconds = 1_600_000_000 + index + 0.987;
    if (!lstatSync(join(root, path)).isSymbolicLink()) utimesSync(join(root, path), seconds, seconds);
  });
}

interface Wanted {
  readonly uid: bigint;
  readonly gid: bigint;
  readonly mode: number;
  readonly mtimeNs: bigint;
}

/** Compares what has come of `source` with what is wanted of each of its files; reads them all. */
async function compare(
  t: Test,
  site: JobSite,
  source: string,
  wanted: (stat: BigIntStats, blob: string) => Wanted,
): Promise<void> {
  const top = basename(source);
  const all = readdirSync(source, { recursive: true, encoding: 'utf8' });
  t.strictSame(readdirSync(site.path(top), { recursive: true, encoding: 'utf8' }).sort(), [...all].sort());
  const files: string[] = [];
  for (const path of ['', ...all]) {
    const name = join(top, path);
    const from = lstatSync(join(source, path), { bigint: true });
    const to = lstatSync(site.path(name), { bigint: true });
    const { mode, ...others } = wanted(from, name);
    t.match(to, others, name);
    if (from.isSymbolicLink()) {
      t.equal(readlinkSync(site.path(name)), readlinkSync(join(source, path)), name);
      continue;
    }
    t.equal((Number(to.mode) & 0o7777).toString(8), mode.toString(8), `mode of ${name}`);
    if (!from.isFile()) continue;
    t.equal(to.size, from.size, name);
    files.push(path);
  }
  const states = await site.site.lfs('hsm_state', ...files.map((path) => site.path(top, path)));
  t.equal(states.match(/released exists archived/g)?.length, files.length, top);
  const contents = await Promise.all(files.map((path) => site.read(join(top, path))));
  files.forEach((path, index) => {
    t.strictSame(contents[index], readFileSync(join(source, path)), `content of ${path}`);
  });
}

t.test(
  'a tree that AzCopy has uploaded in each of its styles',
  { skip: hasAzcopy() ? false : 'npm has AzCopy for x86-64 only' },
  async (t) => {
    const program = await installAzcopy();
    const dir = mkdtempSync(join(tmpdir(), 'lhsm-azcopy-'));
    t.teardown(() => {
      rmSync(dir, { recursive: true });
    });
    const site = await JobSite.start(t);
    const url = await site.site.container.generateSasUrl({
      permissions: ContainerSASPermissions.parse('racwdl'),
      expiresOn: new Date(Date.now() + 3_600_000),
    });
    const styles = {
      standard: ['--preserve-posix-properties', '--posix-properties-style', 'standard'],
      amlfs: ['--preserve-posix-properties', '--posix-properties-style', 'amlfs'],
      none: [],
    };
    for (const [style, flags] of Object.entries(styles)) {
      makeTree(join(dir, style));
      const how = [
        '--recursive',
        '--include-directory-stub',
        '--preserve-symlinks',
        '--from-to',
        'LocalBlob',
      ];
      await azcopyCopy(program, [join(dir, style), url, ...how, ...flags], dir);
    }
    await site.daemon();
    const { code, stdout, stderr } = await site.cli(
      'import',
      'start',
      '--name',
      'azcopy',
      '--wait',
      '--json',
    );
    t.equal(code, 0, stdout + stderr);
    const log = await site.cli('jobs', 'log', 'azcopy');
    const entries = log.stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as { readonly code: string; readonly path: string });
    t.strictSame(entries.map(({ code, path }) => `${code} ${path}`).sort(), [
      'SET_ID_DROPPED standard/empty directory',
      'SET_ID_DROPPED standard/set-uid',
    ]);
    await compare(t, site, join(dir, 'standard'), ({ uid, gid, mode, mtimeNs }) => ({
      uid,
      gid,
      mode: Number(mode) & 0o1777,
      mtimeNs,
    }));
    // This style has nine bits of the mode, so the sticky bit is lost, and whole seconds.
    await compare(t, site, join(dir, 'amlfs'), ({ uid, gid, mode, mtimeNs }) => ({
      uid,
      gid,
      mode: Number(mode) & 0o777,
      mtimeNs: mtimeNs - (mtimeNs % 1_000_000_000n),
    }));
    // Nothing but names, content and links is kept.
    const modified = new Map<string, Date>();
    for await (const { name, properties } of site.site.container.listBlobsFlat({ prefix: 'none' }))
      modified.set(name, properties.lastModified);
    await compare(t, site, join(dir, 'none'), (stat, name) => ({
      uid: 0n,
      gid: 0n,
      mode: stat.isDirectory() ? 0o755 : 0o644,
      mtimeNs: BigInt(modified.get(name)?.getTime() ?? 0) * 1_000_000n,
    }));
  },
);

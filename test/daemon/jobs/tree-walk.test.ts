import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { link, mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { walkTree, type WalkBatch, type WalkOptions } from '../../../daemon/jobs/tree-walk.js';
import { callThreads } from '../../../native-bindings/call-threads.js';
import { loadLustre } from '../../../native-bindings/liblustreapi.js';
import { walkList } from '../../../daemon/jobs/path-list.js';
import { LustreSim } from '../../lustre-sim/lustre-sim.js';

const noSignal = new AbortController().signal;
const sim = await LustreSim.start({ mounts: 1 });
const elsewhere = await mkdtemp(join(tmpdir(), 'walk-'));
t.teardown(async () => {
  await sim.stop();
  await rm(elsewhere, { recursive: true });
});
const lustre = loadLustre({ library: sim.library });
const path = (...names: string[]): string => join(sim.mount, ...names);

interface Found {
  /** Kind by path in latin1: any bytes. */
  readonly kinds: Record<string, string>;
  readonly problems: Record<string, string>;
  readonly hardLinked: string[];
  readonly order: string[];
}

async function collect(batches: AsyncIterable<WalkBatch>): Promise<Found> {
  const found: Found = { kinds: {}, problems: {}, hardLinked: [], order: [] };
  for await (const { entries, problems } of batches) {
    for (const entry of entries) {
      const name = entry.path.toString('latin1');
      if (name in found.kinds) throw new Error(`${name} came twice`);
      found.kinds[name] = entry.kind;
      found.order.push(name);
      if (entry.hardLinked) found.hardLinked.push(name);
    }
    for (const problem of problems) found.problems[problem.path.toString('latin1')] = problem.error.code;
  }
  return found;
}

const walk = (paths: WalkOptions['paths'], parallel = 4): Promise<Found> =>
  collect(walkTree({ mount: sim.mount, lustre, paths, parallel }, noSignal));

// The pipe of the threads that look stays open.
callThreads();
const descriptors = (): number => readdirSync('/proc/self/fd').length;

t.test('every name once, with its kind, links not followed, special files never opened', async (t) => {
  await mkdir(path('kinds/deep/er'), { recursive: true });
  await writeFile(path('kinds/file'), 'x');
  await link(path('kinds/file'), path('kinds/deep/same'));
  await writeFile(path('kinds/deep/er/last'), '');
  await writeFile(Buffer.concat([Buffer.from(`${path('kinds')}/`), Buffer.from([0xff, 0xfe, 0x41])]), 'x');
  await symlink('/etc', path('kinds/out'));
  await symlink('deep', path('kinds/in'));
  execFileSync('mkfifo', [path('kinds/fifo')]);
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path('kinds/socket'), resolve));
  t.teardown(() => server.close());
  const before = descriptors();
  const found = await walk(['kinds']);
  t.strictSame(found.kinds, {
    kinds: 'directory',
    'kinds/deep': 'directory',
    'kinds/deep/er': 'directory',
    'kinds/deep/er/last': 'file',
    'kinds/deep/same': 'file',
    'kinds/fifo': 'special',
    'kinds/file': 'file',
    'kinds/in': 'symlink',
    'kinds/out': 'symlink',
    'kinds/socket': 'special',
    'kinds/\xff\xfeA': 'file',
  });
  t.strictSame(found.problems, {});
  t.strictSame(found.hardLinked.sort(), ['kinds/deep/same', 'kinds/file']);
  for (const name of found.order.slice(1)) {
    const parent = name.slice(0, name.lastIndexOf('/'));
    t.ok(found.order.indexOf(parent) < found.order.indexOf(name), `${name} behind its parent`);
  }
  t.equal(descriptors(), before);
});

t.test('the root is walked without .lustre and the status files of jobs', async (t) => {
  await writeFile(path('IMPORT_InProgress.20261127T221500Z'), '');
  await writeFile(path('EXPORT_notes'), '');
  const { kinds } = await walk(['/'].map(() => sim.mount));
  t.notOk('' in kinds);
  t.notOk('.lustre' in kinds);
  t.notOk('IMPORT_InProgress.20261127T221500Z' in kinds);
  t.equal(kinds['EXPORT_notes'], 'file');
  t.equal(kinds['kinds/deep/er/last'], 'file');
});

t.test('more entries than a batch, wide and deep, by one walker and by many', async (t) => {
  await mkdir(path('wide'));
  for (let at = 0; at < 150; at += 1) {
    await mkdir(path('wide', `d${at}`));
    await writeFile(path('wide', `d${at}`, 'f'), '');
  }
  let deep = path('wide', 'd0');
  for (let at = 0; at < 100; at += 1) await mkdir((deep = join(deep, 'x')));
  await writeFile(join(deep, 'bottom'), '');
  for (const parallel of [1, 8]) {
    const before = descriptors();
    const { kinds, problems } = await walk(['wide'], parallel);
    t.equal(Object.keys(kinds).length, 1 + 150 * 2 + 101);
    t.strictSame(problems, {});
    t.equal(descriptors(), before, 'no descriptor is left');
  }
});

t.test('who stops taking, or aborts, leaves nothing open', async (t) => {
  const before = descriptors();
  for await (const batch of walkTree({ mount: sim.mount, lustre, paths: ['wide'] }, noSignal)) {
    t.ok(batch.entries.length > 0);
    break;
  }
  t.equal(descriptors(), before);
  const stop = new AbortController();
  const taking = (async () => {
    for await (const { entries } of walkTree({ mount: sim.mount, lustre, paths: ['wide'] }, stop.signal)) {
      if (entries.length > 0) stop.abort(new Error('enough'));
    }
  })();
  await t.rejects(taking, { message: 'enough' });
  t.equal(descriptors(), before);
});

t.test('a directory that cannot be read is told, and the rest is walked', async (t) => {
  t.teardown(() => sim.clearFaults());
  await sim.fault(`readdir errno=EIO fid=${await sim.fidOf(path('kinds/deep'))}`);
  const found = await walk(['kinds']);
  t.strictSame(found.problems, { 'kinds/deep': 'EIO' });
  t.equal(found.kinds['kinds/file'], 'file');
  t.notOk('kinds/deep/er' in found.kinds);
});

t.test(
  'a name that cannot be looked at is told; one that has gone meanwhile is no part of the tree',
  async (t) => {
    await mkdir(path('names'));
    await writeFile(path('names/a'), '');
    await writeFile(path('names/b'), '');
    t.teardown(() => sim.clearFaults());
    // The kernel asks twice: for what it remembers of the name, and anew.
    await sim.fault(`lookup errno=EACCES count=2 fid=${await sim.fidOf(path('names'))}`);
    const found = await walk(['names'], 1);
    t.equal(Object.values(found.problems)[0], 'EACCES');
    t.equal(Object.keys(found.kinds).length, 2);
    await sim.clearFaults();
    await sim.fault(`lookup errno=ENOENT count=2 fid=${await sim.fidOf(path('names'))}`);
    const again = await walk(['names'], 1);
    t.strictSame(again.problems, {});
    t.equal(Object.keys(again.kinds).length, 2);
  },
);

t.test('starts: a file, absolute or relative, nested ones once', async (t) => {
  t.strictSame((await walk(['kinds/file'])).kinds, { 'kinds/file': 'file' });
  t.strictSame((await walk([path('kinds/file')])).kinds, { 'kinds/file': 'file' });
  t.strictSame((await walk(['kinds/fifo'])).kinds, { 'kinds/fifo': 'special' });
  const both = await walk(['kinds/deep/er', 'kinds/deep', 'kinds/deep/', path('kinds/deep/../deep')]);
  t.strictSame(both.order.sort(), ['kinds/deep', 'kinds/deep/er', 'kinds/deep/er/last', 'kinds/deep/same']);
  t.strictSame((await walk(['kinds/in/er'])).kinds, {
    'kinds/deep/er': 'directory',
    'kinds/deep/er/last': 'file',
  });
});

t.test('starts that are of no use', async (t) => {
  const { base } = { base: elsewhere };
  await symlink(base, path('escape'));
  await writeFile(join(base, 'secret'), '');
  for (const outside of [
    '/etc',
    base,
    path('..'),
    `${sim.mount}2`,
    'escape/secret',
    '.lustre',
    '.lustre/fid',
  ]) {
    await t.rejects(walk([outside]), { code: /PATH_OUTSIDE_MOUNT|ENOENT/ }, outside);
  }
  await t.rejects(walk(['/etc']), { code: 'PATH_OUTSIDE_MOUNT', hint: /below/ });
  await t.rejects(walk(['escape/secret']), { code: 'PATH_OUTSIDE_MOUNT' });
  await t.rejects(walk(['.lustre/fid']), { code: 'PATH_OUTSIDE_MOUNT' });
  await t.rejects(walk(['nothing']), { code: 'ENOENT' });
  await t.rejects(walk(['kinds/file/below']), { code: 'ENOTDIR' });
  await t.rejects(walk(['']), { code: 'PATH_INVALID' });
  await t.rejects(walk(['a\0b']), { code: 'PATH_INVALID' });
  t.strictSame((await walk(['escape'])).kinds, { escape: 'symlink' });
});

t.test('lists: one path a line, or one before each NUL; what is of no use is told', async (t) => {
  const odd = Buffer.concat([Buffer.from('kinds/'), Buffer.from([0xff, 0xfe, 0x41])]);
  const list = async (bytes: Buffer | string): Promise<Found> => {
    const file = join(elsewhere, 'list');
    await writeFile(file, bytes);
    return collect(walkList({ mount: sim.mount, file }, noSignal));
  };
  const lines = Buffer.concat([
    Buffer.from(`${path('kinds/file')}\n\nkinds/deep\nnothing\n/etc/passwd\n`),
    odd,
    Buffer.from(`\n${'x'.repeat(100_000)}\nkinds/deep/same`),
  ]);
  const byLine = await list(lines);
  t.strictSame(byLine.kinds, {
    'kinds/file': 'file',
    'kinds/deep': 'directory',
    'kinds/\xff\xfeA': 'file',
    'kinds/deep/same': 'file',
  });
  t.strictSame(Object.values(byLine.problems).sort(), ['ENOENT', 'PATH_OUTSIDE_MOUNT', 'PATH_TOO_LONG']);
  await rename(path('names/a'), path('names/a\nb'));
  const byNul = await list('names/a\nb\0kinds/file\0');
  t.strictSame(byNul.order.sort(), ['kinds/file', 'names/a\nb']);
  const many = `${Array.from({ length: 150 }, (_, at) => `wide/d${at}/f`).join('\n')}\n`;
  t.equal((await list(many)).order.length, 150);
  t.strictSame((await list('')).order, []);
  await t.rejects(collect(walkList({ mount: sim.mount, file: join(elsewhere, 'none') }, noSignal)), {
    code: 'ENOENT',
  });
});

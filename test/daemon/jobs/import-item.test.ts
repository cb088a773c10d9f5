// What importing single blobs does on the simulated Lustre, apart from the conflict table: kinds, names, parents, failures.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { mkdir, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { BlobHeaders } from '../../../daemon/blob.js';
import { importItem, isRoot } from '../../../daemon/jobs/import-item.js';
import { HsmStateFlag } from '../../../native-bindings/constants.js';
import { LhsmError } from '../../../native-bindings/errors.js';
import {
  ImportBench,
  MTIME_NS,
  OWNED,
  blob,
  directoryBlob,
  noSignal,
  openDescriptors,
  symlinkBlob,
} from './import-bench.js';

const { ARCHIVED, EXISTS, RELEASED, NORELEASE, DIRTY } = HsmStateFlag;
const STUB = ARCHIVED | EXISTS | RELEASED;
const bench = await ImportBench.start(t);
const descriptors = openDescriptors();
let serial = 0;
/** A directory name that no other test uses. */
const fresh = (): string => `t${(serial += 1)}`;

t.test('a file in a new directory takes one trip, and no other call', async (t) => {
  const dir = fresh();
  await bench.withTools({}, async (tools) => {
    await importItem(blob(`${dir}/first`), tools, noSignal);
    bench.calls.length = 0;
    bench.shared = 0;
    const { counts } = await importItem(blob(`${dir}/a`), tools, noSignal);
    t.strictSame(bench.calls, ['import']);
    t.equal(bench.shared, 1, 'no call of the file system besides');
    t.strictSame(counts, { totalBlobsImported: 1, importedFiles: 1 });
  });
  t.match(await bench.look(`${dir}/a`), { type: 'file', mode: 0o640, size: 5n, states: STUB, ...OWNED });
  t.strictSame(await bench.look(dir).then((seen) => seen && [seen.mode, seen.uid, seen.gid]), [0o755, 0, 0]);
});

t.test('in a directory that was there, a file is looked for once', async (t) => {
  const dir = fresh();
  await bench.mkdir(dir);
  await bench.withTools({}, async (tools) => {
    await importItem(blob(`${dir}/first`), tools, noSignal);
    bench.shared = 0;
    await importItem(blob(`${dir}/a`), tools, noSignal);
    t.equal(bench.shared, 2);
  });
});

t.test('sticky and, if asked for, set-id bits', async (t) => {
  const dir = fresh();
  const outcome = await bench.import(blob(`${dir}/a`, { permissions: '7755' }));
  t.match(outcome, { counts: { totalWarnings: 1 }, entries: [{ kind: 'warning', code: 'SET_ID_DROPPED' }] });
  t.equal((await bench.look(`${dir}/a`))?.mode, 0o1755);
  const tools = { attributes: { keepSetId: true } };
  await bench.import(blob(`${dir}/b`, { permissions: '7755' }), { tools });
  t.equal((await bench.look(`${dir}/b`))?.mode, 0o7755);
  // chown takes set-id bits away; an update that does both keeps what the blob says.
  await bench.import(blob(`${dir}/b`, { permissions: '6755', owner: '7' }), {
    tools,
    spec: { conflictMode: 'overwrite-dirty' },
  });
  t.match(await bench.look(`${dir}/b`), { mode: 0o6755, uid: 7 });
});

t.test('a directory gets its attributes before and after its children', async (t) => {
  const [before, after, there] = [fresh(), fresh(), fresh()];
  await bench.mkdir(there);
  bench.noted.length = 0;
  const { counts, entries } = await bench.import([
    directoryBlob(before),
    blob(`${before}/a`),
    blob(`${after}/b`),
    directoryBlob(after),
    directoryBlob(`${there}/`),
  ]);
  t.strictSame(counts, {
    totalBlobsImported: 4,
    importedFiles: 2,
    importedDirectories: 2,
    preexistingDirectories: 1,
  });
  t.strictSame(entries, []);
  for (const path of [before, after, there]) {
    t.match(await bench.look(path), { type: 'directory', mode: 0o1750, uid: 1001, gid: 1002 }, path);
  }
  t.strictSame(
    bench.noted,
    [before, after, there].map((path) => ({ path, mtimeNs: MTIME_NS })),
  );
});

t.test('links: target, owner and time; the target need not be', async (t) => {
  const dir = fresh();
  const targets = [
    'plain',
    '/absolute/nowhere',
    '../up',
    `${'x'.repeat(200)}/`.repeat(20).slice(0, 4095),
    'é\\ ?#',
  ];
  for (const [i, target] of targets.entries()) {
    bench.bodies.set(`${dir}/l${i}`, target);
    const { counts, entries } = await bench.import(symlinkBlob(`${dir}/l${i}`, target));
    t.strictSame(counts, { totalBlobsImported: 1, importedSymlinks: 1 });
    t.strictSame(entries, []);
    t.match(await bench.look(`${dir}/l${i}`), { type: 'symlink', target, ...OWNED });
  }
});

t.test('links without a target that can be', async (t) => {
  const dir = fresh();
  const cases: [ReturnType<typeof symlinkBlob>, string | Error | undefined, string][] = [
    [symlinkBlob(`${dir}/a`, ''), '', 'SYMLINK_TARGET'],
    [symlinkBlob(`${dir}/b`, 'x'), '', 'SYMLINK_TARGET'],
    [symlinkBlob(`${dir}/c`, 'x'), 'with\0NUL', 'SYMLINK_TARGET'],
    [symlinkBlob(`${dir}/d`, 'x'), 'x'.repeat(5000), 'SYMLINK_TARGET'],
    [symlinkBlob(`${dir}/e`, 'x'.repeat(4096)), 'never read', 'SYMLINK_TARGET'],
    [symlinkBlob(`${dir}/f`, 'x'), undefined, 'BLOB_VANISHED'],
    [
      symlinkBlob(`${dir}/g`, 'x'),
      new LhsmError('other', { code: 'BLOB_CHANGED', op: 'Get Blob', errno: 116 }),
      'BLOB_CHANGED',
    ],
  ];
  for (const [item, body, code] of cases) {
    if (body !== undefined) bench.bodies.set(item.name, body);
    const { counts, entries } = await bench.import(item);
    t.match(entries, [{ kind: 'error', code, path: item.name }]);
    t.strictSame(counts, { totalErrors: 1 });
    t.equal(await bench.look(item.name), undefined);
  }
  t.notOk(bench.reads.includes(`${dir}/e`), 'what is listed as too long is not read');

  await bench.file(`${dir}/kept`, 0);
  bench.bodies.set(`${dir}/kept`, '');
  await bench.import(symlinkBlob(`${dir}/kept`, 'x'), { spec: { conflictMode: 'overwrite-always' } });
  t.match(
    await bench.look(`${dir}/kept`),
    { type: 'file' },
    'nothing is deleted for a link that cannot be made',
  );
});

t.test(
  'special files are left out, page blobs refused, append and Archive blobs imported with a word',
  async (t) => {
    const dir = fresh();
    t.match(await bench.import(blob(`${dir}/dev`, { is_char_dev: 'true' })), {
      counts: { totalWarnings: 1 },
      entries: [{ kind: 'warning', code: 'SPECIAL_FILE' }],
    });
    t.match(await bench.import(blob(`${dir}/page`, {}, { blobType: 'PageBlob' })), {
      counts: { totalErrors: 1 },
      entries: [{ kind: 'error', code: 'PAGE_BLOB' }],
    });
    t.match(await bench.import(blob(`${dir}/cold`, {}, { blobType: 'AppendBlob', accessTier: 'Archive' })), {
      counts: { totalBlobsImported: 1, importedFiles: 1, totalWarnings: 2 },
      entries: [{ code: 'BLOB_ARCHIVED_TIER' }, { code: 'APPEND_BLOB' }],
    });
    t.strictSame(Object.keys(await bench.tree(dir)), [`${dir}/cold`]);
  },
);

t.test('what the listing does not say is asked for', async (t) => {
  const dir = fresh();
  const headers: BlobHeaders = {
    sizeBytes: 5,
    etag: '"0x1"',
    blobType: 'BlockBlob',
    accessTier: undefined,
    metadata: { hdi_isfolder: 'true', permissions: '0700' },
    lastModified: undefined,
  };
  const container = {
    ...bench.container(),
    properties: (name: string) => Promise.resolve(name.endsWith('gone') ? undefined : headers),
  };
  const tools = { container };
  const unsaid = { metadata: undefined };
  await bench.import(blob(`${dir}/d`, {}, unsaid), { tools });
  t.match(await bench.look(`${dir}/d`), { type: 'directory', mode: 0o700 });
  t.match(await bench.import(blob(`${dir}/gone`, {}, unsaid), { tools }), {
    entries: [{ kind: 'error', code: 'BLOB_VANISHED' }],
  });

  const forbidden = new LhsmError('no', { code: 'FORBIDDEN', op: 'Get Blob Properties', errno: 13 });
  const shut = { container: { ...container, properties: () => Promise.reject(forbidden) } };
  await t.rejects(bench.import(blob(`${dir}/x`, {}, unsaid), { tools: shut }), { code: 'FORBIDDEN' });
});

t.test('names that no file can have', async (t) => {
  const tools = { container: bench.container('data/') };
  for (const [name, code] of [
    ['elsewhere/a', 'NAME_OUTSIDE_PREFIX'],
    ['data/a//b', 'NAME_EMPTY_COMPONENT'],
    ['data/a/../b', 'NAME_DOT_COMPONENT'],
    ['data/./b', 'NAME_DOT_COMPONENT'],
    ['data/a\0b', 'NAME_NUL'],
    [`data/${'é'.repeat(128)}`, 'COMPONENT_TOO_LONG'],
    ['data/\ud800', 'NAME_NOT_UTF8'],
  ] as const) {
    const { counts, entries } = await bench.import(blob(name), { tools });
    t.match(entries, [{ kind: 'error', code, path: name }], JSON.stringify(name));
    t.strictSame(counts, { totalErrors: 1 });
  }
  const dir = fresh();
  for (const name of ['a b', 'ü?#%41', 'x%5Cy', 'back%2E', '-', '…']) {
    await bench.import(blob(`data/${dir}/${name}`), { tools });
  }
  t.strictSame(readdirSync(bench.path(dir)).sort(), ['-', 'a b', 'back.', 'ü?#%41', 'x\\y', '…'].sort());
});

t.test("the root is not the container's to describe", async (t) => {
  const root = await bench.look('');
  const tools = { container: bench.container('data/') };
  for (const name of ['data', 'data/', 'data//']) {
    t.ok(isRoot(name, 'data/'));
    t.strictSame((await bench.import(directoryBlob(name), { tools })).entries, []);
  }
  t.ok(isRoot('/', ''));
  t.notOk(isRoot('data', ''));
  t.notOk(isRoot('database', 'data/'));
  t.strictSame(await bench.look(''), root);
});

t.test('blobs that are named by FID are no paths', async (t) => {
  const tools = { container: { ...bench.container(), naming: 'fid' as const } };
  await t.rejects(bench.import(blob('0001/0x1:0x1:0x0'), { tools }), { code: 'IMPORT_NAMING', errno: 22 });
});

t.test(
  'a file and a directory of one name: the first stays, the other is an error, in every mode',
  async (t) => {
    for (const conflictMode of ['fail', 'skip', 'overwrite-dirty', 'overwrite-always'] as const) {
      const [one, two, stub] = [fresh(), fresh(), fresh()];
      const { counts, entries } = await bench.import(
        [
          blob(one),
          blob(`${one}/below`),
          blob(`${two}/below`),
          blob(two),
          directoryBlob(`${stub}/`),
          blob(stub),
          directoryBlob(`${one}/`),
        ],
        { spec: { conflictMode } },
      );
      t.strictSame(counts, {
        totalBlobsImported: 3,
        importedFiles: 2,
        importedDirectories: 1,
        totalErrors: 4,
      });
      t.match(
        entries.map(({ kind, code, path }) => [kind, code, path]),
        [`${one}/below`, two, stub, `${one}/`].map((path) => ['error', 'FILE_AND_DIRECTORY', path]),
      );
      t.match(await bench.look(one), { type: 'file', uuid: `az://box/${one}` }, conflictMode);
      t.match(await bench.look(`${two}/below`), { type: 'file' });
      t.match(await bench.look(stub), { type: 'directory' });
    }
  },
);

t.test('links and files where a parent directory should be', async (t) => {
  const outside = mkdtempSync(join(tmpdir(), 'lhsm-outside-'));
  t.teardown(() => {
    rmSync(outside, { recursive: true });
  });
  const parents = {
    CONFLICT_SYMLINK: (path: string) => symlink(outside, bench.path(path)),
    CONFLICT_FILE_NOT_ARCHIVED: (path: string) => bench.file(path),
    CONFLICT_FILE_DIRTY: (path: string) => bench.file(path, ARCHIVED | EXISTS | DIRTY),
    CONFLICT_OTHER: (path: string) => bench.fifo(path),
  };
  for (const [code, make] of Object.entries(parents)) {
    const path = fresh();
    await make(path);
    const before = await bench.look(path);
    await t.rejects(bench.import(blob(`${path}/a/b`)), { code: 'CONFLICT', message: path });
    t.match(await bench.import(blob(`${path}/a/b`), { spec: { conflictMode: 'skip' } }), {
      counts: { totalConflicts: 1, unresolvedConflicts: 1 },
      entries: [{ kind: 'conflict', code, action: 'skipped', message: path }],
    });
    t.strictSame(await bench.look(path), before);
    const outcome = await bench.import([blob(`${path}/a/b`), blob(`${path}/c`)], {
      spec: { conflictMode: 'overwrite-dirty' },
    });
    t.strictSame(outcome.counts, { totalConflicts: 1, totalBlobsImported: 2, importedFiles: 2 });
    t.match(outcome.entries, [{ kind: 'conflict', code, action: 'replaced' }]);
    t.match(await bench.look(`${path}/a/b`), { type: 'file', states: STUB });
  }
  t.strictSame(readdirSync(outside), [], 'nothing was made outside');
});

t.test("a link in the file's own place is not followed by the import either", async (t) => {
  const outside = mkdtempSync(join(tmpdir(), 'lhsm-outside-'));
  t.teardown(() => {
    rmSync(outside, { recursive: true });
  });
  const dir = fresh();
  await bench.mkdir(dir);
  await bench.symlink(join(outside, 'made'), `${dir}/a`);
  const { counts } = await bench.import(blob(`${dir}/a`), { spec: { conflictMode: 'overwrite-always' } });
  t.match(counts, { totalConflicts: 1, importedFiles: 1 });
  t.match(await bench.look(`${dir}/a`), { type: 'file', states: STUB });
  t.strictSame(readdirSync(outside), []);
});

t.test('something that turns up in a directory of the job is a conflict all the same', async (t) => {
  const dir = fresh();
  await bench.withTools({ spec: { conflictMode: 'skip' } }, async (tools) => {
    // From now on its owner may put things into it.
    await importItem(directoryBlob(dir), tools, noSignal);
    await bench.file(`${dir}/a`);
    await mkdir(bench.path(dir, 'b'));
    await bench.symlink('target', `${dir}/l`);
    bench.bodies.set(`${dir}/l`, 'target');
    for (const item of [blob(`${dir}/a`), symlinkBlob(`${dir}/l`), blob(`${dir}/l`)]) {
      t.match(await importItem(item, tools, noSignal), {
        entries: [{ kind: 'conflict', action: 'skipped' }],
      });
    }
  });
});

t.test('a directory that is taken away under us is made anew', async (t) => {
  const dir = fresh();
  await bench.withTools({}, async (tools) => {
    await importItem(blob(`${dir}/sub/first`), tools, noSignal);
    rmSync(bench.path(dir), { recursive: true });
    const { entries, counts } = await importItem(blob(`${dir}/sub/second`), tools, noSignal);
    t.strictSame(entries, []);
    t.match(counts, { importedFiles: 1 });
  });
  t.match(await bench.look(`${dir}/sub/second`), { states: STUB });
});

t.test('a full MDT ends the job, a quota does not, anything else is an entry', async (t) => {
  t.teardown(() => bench.sim.clearFaults());
  const dir = fresh();
  await bench.mkdir(dir);
  bench.bodies.set(`${dir}/l`, 'target');
  const cases = [
    ['import', blob(`${dir}/f`)],
    ['create', directoryBlob(`${dir}/d`)],
    ['create', symlinkBlob(`${dir}/l`)],
    ['setxattr', blob(`${dir}/x`)],
  ] as const;
  for (const [call, item] of cases) {
    await bench.sim.fault(`${call} errno=ENOSPC`);
    await t.rejects(bench.import(item), { code: 'MDT_FULL', errno: 28 }, call);
    await bench.sim.clearFaults();
    await bench.sim.fault(`${call} errno=EDQUOT`);
    t.match(
      await bench.import(item),
      { entries: [{ kind: 'error', code: 'INODE_QUOTA', errno: 'EDQUOT' }] },
      call,
    );
    await bench.sim.clearFaults();
    await bench.sim.fault(`${call} errno=EROFS`);
    const failed = await bench.import(item);
    t.match(failed, { entries: [{ kind: 'error', code: 'IMPORT_FAILED', errno: 'EROFS' }] }, call);
    t.strictSame(failed.counts, { totalErrors: 1 });
    await bench.sim.clearFaults();
    t.equal(await bench.look(item.name), undefined, 'nothing is left behind');
  }
  // The name of a blob may be longer than an inode without ea_inode takes.
  const long = `${'n'.repeat(250)}/`.repeat(10);
  const longTools = { container: bench.container(`${long}${dir}/`) };
  await bench.sim.fault('setxattr errno=ENOSPC');
  t.match(await bench.import(blob(`${long}${dir}/${dir}/f`), { tools: longTools }), {
    entries: [{ kind: 'error', code: 'BLOB_NAME_TOO_LONG' }],
  });
});

t.test('a release that is refused', async (t) => {
  const dir = fresh();
  await bench.mkdir(dir);
  const spec = { conflictMode: 'overwrite-always' } as const;
  await bench.file(`${dir}/kept`, ARCHIVED | EXISTS | NORELEASE, '"0x1"');
  const counts = { totalConflicts: 1, preexistingFiles: 1, unresolvedConflicts: 1, totalErrors: 1 };
  t.match(await bench.import(blob(`${dir}/kept`), { spec }), {
    counts,
    entries: [
      { code: 'CONFLICT_FILE_CLEAN', action: 'attributes' },
      { kind: 'error', code: 'RELEASE_REFUSED', errno: 'EPERM' },
    ],
  });
  await bench.file(`${dir}/busy`, ARCHIVED | EXISTS, '"0x1"');
  await bench.sim.fault('request errno=EBUSY count=1');
  t.match(await bench.import(blob(`${dir}/busy`), { spec }), {
    counts,
    entries: [{ action: 'attributes' }, { code: 'RELEASE_REFUSED', errno: 'EBUSY' }],
  });
});

t.test('attributes only: what is there gets them, nothing else happens', async (t) => {
  const dir = fresh();
  await bench.mkdir(`${dir}/dir`);
  await bench.file(`${dir}/dirty`, ARCHIVED | EXISTS | DIRTY, '"0x0"');
  await bench.symlink('elsewhere', `${dir}/link`);
  await bench.file(`${dir}/other`);
  const spec = { attributesOnly: true, logItems: true, conflictMode: 'overwrite-always' } as const;
  const { counts, entries } = await bench.import(
    [
      blob(`${dir}/dirty`),
      directoryBlob(`${dir}/dir`),
      symlinkBlob(`${dir}/link`),
      symlinkBlob(`${dir}/other`),
      blob(`${dir}/none/at/all`),
      blob(`${dir}/other/below`),
      directoryBlob(`${dir}/none`),
      blob(`${dir}/dirty`),
    ],
    { spec },
  );
  t.strictSame(counts, {
    preexistingFiles: 2,
    preexistingDirectories: 1,
    preexistingSymlinks: 1,
    totalConflicts: 2,
    unresolvedConflicts: 2,
  });
  t.strictSame(
    entries.map(({ code, action }) => [code, action]),
    [
      ['ATTRIBUTES', 'attributes'],
      ['DIRECTORY_EXISTS', 'attributes'],
      ['ATTRIBUTES', 'attributes'],
      ['CONFLICT_FILE_NOT_ARCHIVED', 'skipped'],
      ['NOT_THERE', 'skipped'],
      ['CONFLICT_FILE_NOT_ARCHIVED', 'skipped'],
      ['NOT_THERE', 'skipped'],
      ['ATTRIBUTES', 'none'],
    ],
  );
  const tree = await bench.tree(dir);
  t.strictSame(
    Object.keys(tree).sort(),
    ['dir', 'dirty', 'link', 'other'].map((name) => `${dir}/${name}`),
  );
  t.match(tree[`${dir}/dirty`], { ...OWNED, mode: 0o640, states: ARCHIVED | EXISTS | DIRTY, etag: '"0x0"' });
  t.match(tree[`${dir}/link`], { ...OWNED, target: 'elsewhere' });
  t.match(tree[`${dir}/dir`], { uid: 1001, mode: 0o1750 });
});

t.test('aborted: nothing is begun; what has begun is finished', async (t) => {
  const dir = fresh();
  const stop = new AbortController();
  await bench.withTools({}, async (tools) => {
    const lustre = new Proxy(tools.lustre, {
      get: (target, name) => {
        if (name === 'import') stop.abort();
        return Reflect.get(target, name) as unknown;
      },
    });
    const { counts } = await importItem(blob(`${dir}/a`), { ...tools, lustre }, stop.signal);
    t.match(counts, { importedFiles: 1 });
    await t.rejects(importItem(blob(`${dir}/b`), tools, stop.signal), { name: 'AbortError' });
  });
  t.match(await bench.look(`${dir}/a`), { states: STUB, etag: '"0x1"' });
  t.equal(await bench.look(`${dir}/b`), undefined);
});

t.test('no descriptor is left, whatever happened', async (t) => {
  t.equal(openDescriptors(), descriptors);
  t.strictSame(await bench.sim.violations(), []);
});

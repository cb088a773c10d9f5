// Pages, dry runs and jobs that go on after a kill, on the simulated Lustre; and that deleting for an import never costs
// the blob that was imported.
import { link, open, rm } from 'node:fs/promises';
import t from 'tap';
import fc from 'fast-check';
import { pino } from 'pino';
import { importItem } from '../../../daemon/jobs/import-item.js';
import { importPage } from '../../../daemon/jobs/import-page.js';
import { CONFLICT_MODES } from '../../../daemon/jobs/job.js';
import { remove } from '../../../daemon/movers/remove.js';
import { UNLIMITED } from '../../../daemon/share.js';
import { newCounters } from '../../../daemon/transfer/transfer.js';
import { CopytoolAction, HsmStateFlag, UserAction } from '../../../native-bindings/constants.js';
import { errnoFor } from '../../../native-bindings/errors.js';
import { loadHost } from '../../../native-bindings/libc.js';
import { formatFid, type ActionItem, type Fid } from '../../../native-bindings/lustre.js';
import type { MoverTools } from '../../../daemon/movers/mover.js';
import type { ListedBlob } from '../../../daemon/blobs/listing.js';
import { ImportBench, MTIME_NS, OWNED, blob, directoryBlob, noSignal, symlinkBlob } from './import-bench.js';

const { ARCHIVED, DIRTY, EXISTS, RELEASED } = HsmStateFlag;
const STUB = ARCHIVED | EXISTS | RELEASED;
const bench = await ImportBench.start(t, { 'hsm.remove_archive_on_last_unlink': '1' });
let serial = 0;
const fresh = (): string => `t${(serial += 1)}`;
const nowNs = (): bigint => BigInt(Date.now()) * 1_000_000n;

t.test('a page: outcomes in its order, files before what is below them, whatever the order', async (t) => {
  const dir = fresh();
  const names = ['p/f/below', 'p/f', 'p/f/below/deeper', 'p/x', 'p/d/', 'p/d', 'p/y//z'];
  const page = names.map((name) =>
    name.endsWith('/') ? directoryBlob(`${dir}/${name}`) : blob(`${dir}/${name}`),
  );
  await fc.assert(
    fc.asyncProperty(fc.shuffledSubarray(page, { minLength: page.length }), async (shuffled) => {
      await rm(bench.path(dir), { recursive: true, force: true });
      const outcomes = await bench.page(shuffled);
      const codes = new Map(
        shuffled.map(({ name }, i) => [name.slice(dir.length + 1), outcomes[i]?.entries[0]?.code]),
      );
      t.strictSame(Object.fromEntries(codes), {
        'p/f': undefined,
        'p/f/below': 'FILE_AND_DIRECTORY',
        'p/f/below/deeper': 'FILE_AND_DIRECTORY',
        'p/x': undefined,
        'p/d': undefined,
        'p/d/': 'FILE_AND_DIRECTORY',
        'p/y//z': 'NAME_EMPTY_COMPONENT',
      });
      t.strictSame(
        Object.keys(await bench.tree(dir)).sort(),
        ['p', 'p/d', 'p/f', 'p/x'].map((name) => `${dir}/${name}`),
      );
    }),
    { numRuns: 10 },
  );
});

t.test('no more at once than allowed; a failure ends the page when what runs is done', async (t) => {
  const dir = fresh();
  await bench.mkdir(dir);
  await bench.file(`${dir}/7`);
  const page = Array.from({ length: 40 }, (_, i) => blob(`${dir}/${i}`));
  let running = 0;
  let most = 0;
  const done: string[] = [];
  await bench.withTools({}, async (tools) => {
    const lustre = new Proxy(tools.lustre, {
      get: (target, name) => {
        const value = Reflect.get(target, name) as unknown;
        if (name !== 'import') return value;
        return async (...args: unknown[]): Promise<unknown> => {
          most = Math.max(most, (running += 1));
          try {
            return await (value as (...args: unknown[]) => Promise<unknown>).apply(target, args);
          } finally {
            running -= 1;
          }
        };
      },
    });
    const failing = importPage(page, { ...tools, lustre }, 3, noSignal, (_, { name }) => done.push(name));
    await t.rejects(failing, { code: 'CONFLICT', message: `${dir}/7` });
    t.equal(running, 0, 'nothing goes on behind our back');
  });
  t.ok(most > 1 && most <= 3, `${most} at once`);
  t.ok(done.length < 39);
  t.strictSame(
    Object.keys(await bench.tree(dir)).sort(),
    [...done, `${dir}/7`].sort(),
    'all that was done was told',
  );
});

t.test('a dry run changes nothing and says what an import then does', async (t) => {
  for (const conflictMode of CONFLICT_MODES.filter((mode) => mode !== 'fail')) {
    const dir = fresh();
    await bench.mkdir(`${dir}/full/x`);
    await bench.mkdir(`${dir}/empty`);
    await bench.mkdir(`${dir}/dir`);
    await bench.file(`${dir}/dirty`, ARCHIVED | EXISTS | DIRTY);
    await bench.file(`${dir}/clean`, ARCHIVED | EXISTS, '"0x1"');
    await bench.symlink('elsewhere', `${dir}/link`);
    await bench.symlink('dir', `${dir}/parent`);
    bench.bodies.set(`${dir}/link`, 'target');
    bench.bodies.set(`${dir}/newlink`, 'target');
    const blobs = [
      blob(`${dir}/full`),
      blob(`${dir}/empty`),
      directoryBlob(`${dir}/dir`),
      blob(`${dir}/dirty`),
      blob(`${dir}/clean`),
      symlinkBlob(`${dir}/link`),
      symlinkBlob(`${dir}/newlink`),
      blob(`${dir}/new/a`),
      directoryBlob(`${dir}/other/b`),
      blob(`${dir}/parent/c`),
      blob(`${dir}/page`, {}, { blobType: 'PageBlob' }),
    ];
    const before = await bench.tree(dir);
    bench.noted.length = 0;
    const dry = await bench.import(blobs, { spec: { conflictMode, dryRun: true } });
    t.strictSame(await bench.tree(dir), before);
    t.strictSame(bench.noted, []);
    const done = await bench.import(blobs, { spec: { conflictMode, logItems: true } });
    t.strictSame(dry.counts, done.counts, conflictMode);
    const short = ({ entries }: typeof dry): unknown =>
      entries.map(({ kind, code, action }) => [kind, code, action]);
    t.strictSame(short(dry), short(done));
    await t.rejects(bench.import(blob(`${dir}/dirty`), { spec: { dryRun: true } }), { code: 'CONFLICT' });
  }
});

t.test('a job that goes on takes what it had made for its own', async (t) => {
  const dir = fresh();
  const startedNs = nowNs();
  const tools = { startedNs, resumed: true };
  bench.bodies.set(`${dir}/link`, 'target');
  const page: ListedBlob[] = [
    directoryBlob(dir),
    blob(`${dir}/whole`, { permissions: '1640' }),
    blob(`${dir}/named`),
    blob(`${dir}/nameless`, { permissions: '1640' }),
    symlinkBlob(`${dir}/link`),
    blob(`${dir}/nothing yet`),
  ];
  await bench.import(page.slice(0, 2), { tools: { startedNs } });
  const inode = (await bench.look(`${dir}/whole`))?.ino;
  const stat = { mode: 0o640, uid: 1001, gid: 1002, sizeBytes: 5n, atimeNs: MTIME_NS, mtimeNs: MTIME_NS };
  await bench.lustre.import(bench.path(dir, 'named'), 1, stat);
  await bench.lustre.setXattrPath(
    bench.path(dir, 'named'),
    'trusted.lhsm_uuid',
    Buffer.from(`az://box/${dir}/named`),
  );
  await bench.lustre.import(bench.path(dir, 'nameless'), 1, stat);
  await bench.symlink('target', `${dir}/link`);
  await (await open(bench.path(dir, 'nothing yet'), 'w', 0o600)).close();

  const { counts, entries } = await bench.import(page, { tools });
  t.strictSame(entries, []);
  t.strictSame(counts, {
    totalBlobsImported: 6,
    importedDirectories: 1,
    importedFiles: 4,
    importedSymlinks: 1,
  });
  for (const name of ['whole', 'named', 'nameless', 'nothing yet']) {
    const seen = await bench.look(`${dir}/${name}`);
    const mode = ['whole', 'nameless'].includes(name) ? 0o1640 : 0o640;
    t.match(seen, { ...OWNED, mode, states: STUB, uuid: `az://box/${dir}/${name}`, etag: '"0x1"' }, name);
  }
  t.equal((await bench.look(`${dir}/whole`))?.ino, inode, 'not made twice');
  t.match(await bench.look(`${dir}/link`), { target: 'target', ...OWNED });
});

t.test("what is not the job's own is a conflict for a job that goes on, too", async (t) => {
  const dir = fresh();
  await bench.mkdir(dir);
  const stat = { mode: 0o640, uid: 0, gid: 0, sizeBytes: 5n, atimeNs: 0n, mtimeNs: MTIME_NS };
  await bench.import(blob(`${dir}/before`));
  bench.bodies.set(`${dir}/link`, 'target');
  await bench.symlink('target', `${dir}/link before`);
  const later = nowNs() + 1_000_000n;
  while (nowNs() <= later) await new Promise((resolve) => setImmediate(resolve));
  await bench.file(`${dir}/content`);
  await bench.file(`${dir}/version`, STUB, '"0x0"');
  await bench.lustre.import(bench.path(dir, 'size'), 1, { ...stat, sizeBytes: 6n });
  await bench.lustre.import(bench.path(dir, 'time'), 1, { ...stat, mtimeNs: 1n });
  await bench.symlink('elsewhere', `${dir}/link`);
  bench.bodies.set(`${dir}/link before`, 'target');
  const items = [
    ...['before', 'content', 'version', 'size', 'time'].map((name) => blob(`${dir}/${name}`)),
    symlinkBlob(`${dir}/link`),
    symlinkBlob(`${dir}/link before`),
  ];
  const { counts } = await bench.import(items, {
    spec: { conflictMode: 'skip' },
    tools: { startedNs: later, resumed: true },
  });
  t.match(counts, { totalConflicts: items.length, unresolvedConflicts: items.length });
});

t.test('whatever stage of a page a kill leaves, going on gives the same tree', async (t) => {
  const parent = fresh();
  const blobsOf = (dir: string): ListedBlob[] => [
    blob(`${dir}/a`, { permissions: '1600' }),
    directoryBlob(`${dir}/d`),
    blob(`${dir}/d/b`),
    blob(`${dir}/d/e/c`),
    symlinkBlob(`${dir}/l`),
    directoryBlob(dir),
  ];
  const shape = async (dir: string): Promise<unknown> =>
    Object.entries(await bench.tree(dir)).map(([path, { ino, mtimeNs, uuid, ...rest }]) => ({
      path: path.slice(dir.length),
      uuid: uuid?.replace(dir, ''),
      ...rest,
      ...(rest.type === 'directory' ? {} : { mtimeNs }),
      known: ino > 0n,
    }));
  let made = 0;
  const run = async (dir: string, calls: number, resumed: boolean, startedNs: bigint): Promise<void> => {
    made = 0;
    bench.bodies.set(`${dir}/l`, 'target');
    await bench.withTools({ tools: { resumed, startedNs } }, async (tools) => {
      let left = calls;
      // Dead: nothing that would be called any more is.
      const share = {
        run: <T>(work: () => Promise<T>): Promise<T> => {
          made += 1;
          return left-- > 0 ? work() : new Promise<T>(() => undefined);
        },
      };
      for (const item of blobsOf(dir)) {
        const done = importItem(item, { ...tools, share }, noSignal);
        if (calls === Infinity)
          t.strictSame(
            (await done).entries.filter(({ kind }) => kind !== 'item'),
            [],
          );
        else {
          let isDone = false;
          const outcome = done.finally(() => {
            isDone = true;
          });
          if ((await Promise.race([outcome, settled(() => left < 0 || isDone)])) === undefined && left < 0)
            return;
        }
      }
    });
  };
  const settled = async (isDead: () => boolean): Promise<undefined> => {
    while (!isDead()) await new Promise((resolve) => setImmediate(resolve));
    return undefined;
  };
  await run(`${parent}/whole`, Infinity, false, nowNs());
  const whole = await shape(`${parent}/whole`);
  const callsOfAll = made;
  t.ok(callsOfAll > 10, 'there is something to be killed between');
  for (let calls = 0; calls < callsOfAll; calls += 1) {
    const dir = `${parent}/k${calls}`;
    const startedNs = nowNs();
    await run(dir, calls, false, startedNs);
    await run(dir, Infinity, true, startedNs);
    t.strictSame(await shape(dir), whole, `killed after ${calls} calls`);
  }
});

t.test('what is deleted for an import does not take the imported blob with it', async (t) => {
  const dir = fresh();
  const copytool = await bench.lustre.register(bench.sim.mount, [1]);
  t.teardown(() => copytool.unregister());
  await bench.mkdir(dir);
  const deleted: string[] = [];
  const fid = async (name: string): Promise<Fid> => bench.lustre.pathToFid(bench.path(dir, name));

  // Dirty, and the copy at its name is its own: what remove would delete, were the file still to be found.
  await bench.file(`${dir}/a`, ARCHIVED | EXISTS | DIRTY, '"0x1"');
  const old = await fid('a');
  // Somebody has it open: the MDT keeps it as long, and knows it by its FID.
  const held = await open(bench.path(dir, 'a'), 'r');
  const owned = { lustre_fid: formatFid(old), lustre_fs: bench.lustre.fsname(bench.sim.mount) };
  const container = {
    ...bench.container(),
    properties: () =>
      Promise.resolve({
        sizeBytes: 5,
        etag: '"0x1"',
        blobType: 'BlockBlob',
        accessTier: undefined,
        metadata: owned,
        lastModified: undefined,
      }),
    delete: (name: string) => {
      deleted.push(name);
      return Promise.resolve();
    },
  };
  const mover: MoverTools = {
    mount: bench.sim.mount,
    lustre: bench.lustre,
    host: loadHost(),
    transfer: {} as MoverTools['transfer'],
    policy: { restoreChanged: 'fail', archiveChanged: 'overwrite', keepSetId: false },
    share: UNLIMITED,
  };
  const removeItem = (item: ActionItem): Promise<unknown> =>
    remove(
      { item, container, fd: -1, counters: newCounters(), log: pino({ level: 'silent' }) },
      mover,
      noSignal,
    ).then(
      () => undefined,
      (error: unknown) => error,
    );
  // Removes of files that other tests have deleted come as well.
  const verdicts = new Map<string, string>();
  const verdictOn = async (fid: Fid): Promise<string> => {
    for (;;) {
      const verdict = verdicts.get(formatFid(fid));
      verdicts.delete(formatFid(fid));
      if (verdict !== undefined) return verdict;
      for (const { items } of await copytool.receive(AbortSignal.timeout(20_000))) {
        for (const item of items.filter(({ action }) => action === CopytoolAction.REMOVE)) {
          const action = await copytool.begin(item.raw);
          const error = await removeItem(item);
          await action.end(item.extent, 0, error === undefined ? 0 : errnoFor(error));
          verdicts.set(
            formatFid(item.fid),
            error === undefined ? 'removed' : (error as { code: string }).code,
          );
        }
      }
    }
  };
  const { counts } = await bench.import(blob(`${dir}/a`), { spec: { conflictMode: 'overwrite-dirty' } });
  t.match(counts, { importedFiles: 1, totalConflicts: 1 });
  const verdict = await verdictOn(old);
  await held.close();
  t.match(verdict, /^(FILE_GONE|BLOB_OF_OTHER_FILE)$/);
  t.strictSame(deleted, [], 'the blob stays');
  t.match(await bench.look(`${dir}/a`), { states: STUB, uuid: `az://box/${dir}/a` });

  // Another name of the deleted file is left: it lives, names the blob, and would have it removed.
  await bench.file(`${dir}/b`, ARCHIVED | EXISTS | DIRTY, '"0x1"');
  await link(bench.path(dir, 'b'), bench.path(dir, 'second name'));
  const linked = await fid('b');
  owned.lustre_fid = formatFid(linked);
  await bench.import(blob(`${dir}/b`), { spec: { conflictMode: 'overwrite-dirty' } });
  await bench.lustre.request(bench.sim.mount, {
    action: UserAction.REMOVE,
    archiveId: 1,
    fids: [linked],
  });
  t.equal(await verdictOn(linked), 'BLOB_OF_OTHER_FILE');
  t.strictSame(deleted, []);
  await rm(bench.path(dir, 'b'));
  await bench.lustre.request(bench.sim.mount, {
    action: UserAction.REMOVE,
    archiveId: 1,
    fids: [linked],
  });
  t.equal(await verdictOn(linked), 'removed', 'nobody else needs it any more');
  t.strictSame(deleted, [`${dir}/b`]);
});

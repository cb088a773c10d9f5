// The movers on the simulated Lustre, through the real binding: what the fake beside this file cannot show (ctime,
// links, unlinked files, data versions as Lustre has them).
import {
  appendFile,
  link,
  mkdir,
  open,
  readFile,
  rename,
  stat,
  truncate,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { createArchiveContainer } from '../../../daemon/blobs/azure-container.js';
import { archive } from '../../../daemon/movers/archive.js';
import type { Mover, MoverTools } from '../../../daemon/movers/mover.js';
import { remove } from '../../../daemon/movers/remove.js';
import { restore } from '../../../daemon/movers/restore.js';
import { UNLIMITED } from '../../../daemon/share.js';
import { createTransferEngine } from '../../../daemon/transfer/engine.js';
import { newCounters } from '../../../daemon/transfer/transfer.js';
import { CopytoolAction } from '../../../native-bindings/constants.js';
import { errnoFor, hasCode } from '../../../native-bindings/errors.js';
import { loadHost } from '../../../native-bindings/libc.js';
import { loadLustre } from '../../../native-bindings/liblustreapi.js';
import type { ActionItem, Copytool } from '../../../native-bindings/lustre.js';
import { startAzurite } from '../../helpers/azurite.js';
import { LustreSim } from '../../lustre-sim/lustre-sim.js';

const azurite = await startAzurite();
const sim = await LustreSim.start({ tunables: { 'hsm.remove_archive_on_last_unlink': '1' } });
const lustre = loadLustre({ library: sim.library });
const transfer = createTransferEngine({
  workers: 0,
  blockSizeBytes: 1 << 20,
  putBlobMaxBytes: 1 << 20,
  rangesPerFile: 2,
  maxBufferBytes: 8 << 20,
  maxTries: 2,
  stallTimeoutMs: 10_000,
});
const policy = { restoreChanged: 'fail', archiveChanged: 'refuse', keepSetId: false } as const;
const tools: MoverTools = { mount: sim.mount, lustre, host: loadHost(), transfer, policy, share: UNLIMITED };
const credential = { type: 'connection-string', file: azurite.connectionStringFile } as const;
const byPath = await azurite.container('by-path');
const byFid = await azurite.container('by-fid');
const containers = new Map([
  [1, createArchiveContainer({ id: 1, container: 'by-path', prefix: '', naming: 'path', credential })],
  [2, createArchiveContainer({ id: 2, container: 'by-fid', prefix: '', naming: 'fid', credential })],
]);
const movers: Readonly<Record<number, Mover>> = {
  [CopytoolAction.ARCHIVE]: archive,
  [CopytoolAction.RESTORE]: restore,
  [CopytoolAction.REMOVE]: remove,
};

const noSignal = new AbortController().signal;

/** The least that a daemon does for one item. */
async function act(copytool: Copytool, item: ActionItem, archiveId: number): Promise<void> {
  const container = containers.get(archiveId);
  const mover = movers[item.action];
  if (!container || !mover) throw new Error(`no mover for action ${item.action} of archive ${archiveId}`);
  const action = await copytool.begin(item.raw);
  const fd = item.action === CopytoolAction.REMOVE ? -1 : await action.openData();
  let errno = 0;
  try {
    const job = { item, container, fd, counters: newCounters(), log: pino({ level: 'silent' }) };
    await mover(job, tools, noSignal);
  } catch (error) {
    errno = errnoFor(error);
  }
  await action.end(item.extent, 0, errno);
}

const stop = new AbortController();
const copytool = await lustre.register(sim.mount, [1, 2]);
const serving = (async () => {
  const acting = new Set<Promise<void>>();
  while (!stop.signal.aborted) {
    for (const { items, archiveId } of await copytool.receive(stop.signal)) {
      for (const item of items) acting.add(act(copytool, item, archiveId));
    }
  }
  await Promise.all(acting);
})();

t.teardown(async () => {
  stop.abort();
  await serving;
  await copytool.unregister();
  await transfer.close();
  for (const container of containers.values()) container.close();
  await sim.stop();
  await azurite.stop();
});

const path = (name: string): string => join(sim.mount, name);

/** Why times are not looked at; false when the simulator can set them. */
async function timesTodo(): Promise<string | false> {
  const handle = await open(path('probe'), 'w');
  try {
    const { atimeNs, mtimeNs, ctimeNs } = await handle.stat({ bigint: true });
    await lustre.setTimes(handle.fd, { atimeNs, mtimeNs, ctimeNs });
    return false;
  } catch (error) {
    if (hasCode(error, 'ENOTTY')) return 'the simulator has no LL_IOC_FUTIMES_3';
    throw error;
  } finally {
    await handle.close();
    await unlink(path('probe'));
  }
}
const todo = await timesTodo();

async function archived(name: string, content: string | Buffer, archiveId = 1): Promise<string> {
  await writeFile(path(name), content);
  await request('archive', name, 'SUCCEED', archiveId);
  return path(name);
}

async function request(
  what: 'archive' | 'remove',
  name: string,
  status: 'SUCCEED' | 'FAILED',
  archiveId = 1,
): Promise<void> {
  await sim.lfsOk(`hsm_${what}`, ...(what === 'archive' ? ['--archive', String(archiveId)] : []), path(name));
  await sim.requestReaches(path(name), status, { action: what === 'archive' ? 'ARCHIVE' : 'REMOVE' });
}

t.test('archive, release and read: the content comes back, and no time has moved', async (t) => {
  await mkdir(path('dir'));
  await writeFile(path('dir/a %20#?😀'), 'content');
  const before = await stat(path('dir/a %20#?😀'), { bigint: true });
  await request('archive', 'dir/a %20#?😀', 'SUCCEED');
  const after = await stat(path('dir/a %20#?😀'), { bigint: true });
  for (const time of ['atimeNs', 'mtimeNs', 'ctimeNs'] as const) {
    t.equal(after[time], before[time], time, { todo });
  }
  const names: string[] = [];
  for await (const { name } of byPath.listBlobsFlat()) names.push(name);
  t.same(names, ['dir', 'dir/a %20#?😀']);
  await sim.lfsOk('hsm_release', path('dir/a %20#?😀'));
  t.equal(await readFile(path('dir/a %20#?😀'), 'utf8'), 'content');
});

t.test('a renamed and a hard-linked file come back from the blob that they remember', async (t) => {
  const file = await archived('first', 'content');
  await link(file, path('second'));
  await sim.lfsOk('hsm_release', file);
  await unlink(file);
  await rename(path('second'), path('third'));
  t.equal(await readFile(path('third'), 'utf8'), 'content');
  await appendFile(path('third'), ', more');
  await request('archive', 'third', 'SUCCEED');
  t.equal((await byPath.getBlobClient('third').downloadToBuffer()).toString(), 'content, more');
});

t.test('an unlinked file that is still open comes back', async (t) => {
  await sim.setParam('hsm.remove_archive_on_last_unlink', 0);
  const file = await archived('unlinked', 'content');
  await sim.lfsOk('hsm_release', file);
  const handle = await open(file);
  try {
    await unlink(file);
    t.equal(await handle.readFile('utf8'), 'content');
  } finally {
    await handle.close();
  }
});

t.test('a new file at the old name of a renamed, released one does not touch its copy', async (t) => {
  const file = await archived('taken', 'old');
  await sim.lfsOk('hsm_release', file);
  await rename(file, path('moved'));
  const next = await archived('taken', 'new');
  await sim.lfsOk('hsm_release', next);
  t.equal(await readFile(path('moved'), 'utf8'), 'old');
  t.equal(await readFile(next, 'utf8'), 'new');
});

t.test('empty files and files with holes come back as they were', async (t) => {
  const empty = await archived('empty', '');
  await sim.lfsOk('hsm_release', empty);
  t.equal((await readFile(empty)).length, 0);

  await writeFile(path('holes'), 'start');
  await truncate(path('holes'), 4 << 20);
  const file = path('holes');
  await request('archive', 'holes', 'SUCCEED');
  t.equal((await byPath.getBlobClient('holes').getProperties()).metadata?.['lhsm_sparse'], '1');
  await sim.lfsOk('hsm_release', file);
  const expected = Buffer.alloc(4 << 20);
  expected.write('start');
  t.ok((await readFile(file)).equals(expected));
  t.ok((await stat(file)).blocks * 512 < 4 << 20, 'the hole is a hole again');
});

t.test('a file written while it is archived stays dirty, its last good copy whole', async (t) => {
  const file = await archived('busy', 'version 1');
  await writeFile(file, 'version 2');
  const upload = transfer.upload.bind(transfer);
  t.teardown(() => {
    transfer.upload = upload;
  });
  transfer.upload = (request, signal) => {
    const beforeCommit = async (): Promise<void> => {
      await writeFile(file, 'version 3');
      await request.beforeCommit();
    };
    return upload({ ...request, beforeCommit }, signal);
  };
  await request('archive', 'busy', 'FAILED');
  t.match(await sim.hsmState(file), /dirty/);
  t.equal((await byPath.getBlobClient('busy').downloadToBuffer()).toString(), 'version 1');
});

t.test('remove deletes the copy and leaves the file without memory', async (t) => {
  const file = await archived('removed', 'content');
  const before = await stat(file, { bigint: true });
  await request('remove', 'removed', 'SUCCEED');
  t.notOk(await byPath.getBlobClient('removed').exists());
  t.equal((await stat(file, { bigint: true })).ctimeNs, before.ctimeNs, 'ctime', { todo });
  await request('archive', 'removed', 'SUCCEED');
  t.ok(await byPath.getBlobClient('removed').exists());
});

t.test(
  'a release is refused from before the copy is deleted until the file is archived no more',
  async (t) => {
    const file = await archived('kept', 'content');
    const before = await stat(file, { bigint: true });
    const container = containers.get(1);
    if (!container) throw new TypeError('no container');
    const really = container.delete.bind(container);
    t.teardown(() => {
      container.delete = really;
    });
    const answers: string[] = [];
    const release = async (): Promise<void> => {
      const { code, stderr } = await sim.lfs('hsm_release', file);
      answers.push(code === 0 ? 'released' : stderr);
    };
    container.delete = async (...args) => {
      await release();
      await really(...args);
      await release();
    };
    await request('remove', 'kept', 'SUCCEED');
    await release();
    t.match(answers, [/not permitted/, /not permitted/, /not permitted/]);
    t.notMatch(await sim.hsmState(file), /never_release|archived|exists/);
    t.equal(await readFile(file, 'utf8'), 'content');
    t.equal((await stat(file, { bigint: true })).ctimeNs, before.ctimeNs, 'ctime', { todo });
  },
);

t.test('a copy of a file removed for good is removed by its FID', async (t) => {
  await sim.setParam('hsm.remove_archive_on_last_unlink', 1);
  const file = await archived('by-fid', 'content', 2);
  const fid = await sim.fidOf(file);
  t.equal((await names()).length, 1);
  await unlink(file);
  await sim.requestReaches(fid, 'SUCCEED', { action: 'REMOVE' });
  t.same(await names(), []);

  async function names(): Promise<string[]> {
    const found: string[] = [];
    for await (const { name } of byFid.listBlobsFlat()) found.push(name);
    return found;
  }
});

t.test('the movers misuse nothing', async (t) => {
  t.same(await sim.violations(), []);
});

import { link, mkdir, mkdtemp, readFile, rm, unlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import {
  batchRestore,
  type BatchRestoreOptions,
  type BatchRestoreProgress,
  type BatchRestoreResult,
} from '../../../daemon/jobs/batch-restore.js';
import type { Finding } from '../../../daemon/jobs/finding.js';
import { HsmStateFlag } from '../../../native-bindings/constants.js';
import { loadLustre } from '../../../native-bindings/liblustreapi.js';
import { formatFid, type Fid } from '../../../native-bindings/lustre.js';
import { LustreSim } from '../../lustre-sim/lustre-sim.js';
import { makeStubs, TestCopytool } from './test-copytool.js';

const sim = await LustreSim.start();
const lustre = loadLustre({ library: sim.library });
const copytool = new TestCopytool(lustre, sim.mount);
await copytool.start();
const stateDir = await mkdtemp(join(tmpdir(), 'batch-restore-'));
t.teardown(async () => {
  await copytool.stop();
  await sim.stop();
  await rm(stateDir, { recursive: true });
});
t.beforeEach(() => {
  copytool.verdict = () => 0;
  copytool.received.length = 0;
});

const timings = { pollMinMs: 10, checkAfterMs: 100, lingerMs: 20, cancelGraceMs: 2000 };

interface Ran extends BatchRestoreResult {
  readonly findings: Finding[];
  readonly progress: BatchRestoreProgress[];
}

async function restore(
  options: Partial<BatchRestoreOptions>,
  signal = new AbortController().signal,
): Promise<Ran> {
  const findings: Finding[] = [];
  const progress: BatchRestoreProgress[] = [];
  const result = await batchRestore(
    {
      mount: sim.mount,
      paths: [],
      newestFirst: false,
      stateDir,
      window: 1000,
      timings,
      progressMs: 20,
      ...options,
    },
    { lustre },
    { onFinding: (finding) => findings.push(finding), onProgress: (one) => progress.push(one) },
    signal,
  );
  return { ...result, findings, progress };
}

let made = 0;
async function tree(count: number, sizeBytes = 8n): Promise<{ dir: string; paths: string[]; fids: Fid[] }> {
  const dir = join(sim.mount, `t${(made += 1)}`);
  await mkdir(join(dir, 'sub'), { recursive: true });
  const paths = Array.from({ length: count }, (_, at) => join(dir, at % 2 ? 'sub' : '', `f${at}`));
  return { dir, paths, fids: await makeStubs(lustre, paths, sizeBytes) };
}

const isReleased = async (path: string): Promise<boolean> =>
  ((await lustre.hsmState(path)).states & HsmStateFlag.RELEASED) !== 0;

t.test('everything released under a path comes back, and nothing else is touched', async (t) => {
  const { dir, paths } = await tree(130);
  await writeFile(join(dir, 'plain'), 'plain');
  await link(paths[0] ?? '', join(dir, 'other-name'));
  const ran = await restore({ paths: [dir], window: 60 });
  t.match(ran, { result: 'complete', failed: 0, outstanding: 0, vanished: 0 });
  // By its other name the linked file may be there already.
  t.ok(ran.done >= 130 && ran.done <= 131, `${ran.done}`);
  t.equal(ran.asked, ran.done);
  t.equal(ran.discovered, ran.done);
  t.equal(ran.skipped, 134 - ran.done, 'two directories and a file that is there');
  t.ok(ran.maxQueue <= 60);
  t.equal(ran.doneBytes, BigInt(ran.done) * 8n);
  t.equal(await readFile(paths[129] ?? '', 'utf8'), 'restored');
  t.equal(ran.progress.at(-1)?.done, ran.done);
  const again = await restore({ paths: [dir] });
  t.match(again, { result: 'complete', discovered: 0, asked: 0, skipped: 134 });
});

t.test('the newest first, over several requests', async (t) => {
  const { dir, paths, fids } = await tree(120);
  const order = paths.map((_, at) => (at * 37) % 120);
  for (const [at, path] of paths.entries()) await utimes(path, 1000, 1000 + (order[at] ?? 0));
  const ran = await restore({ paths: [dir], newestFirst: true, window: 10 });
  t.match(ran, { result: 'complete', done: 120 });
  const rank = new Map(fids.map((fid, at) => [formatFid(fid), order[at] ?? 0]));
  const received = copytool.received.map(({ fid }) => rank.get(formatFid(fid)) ?? 0);
  // Within a window they may come in any order; nothing is ahead of more than that.
  received.forEach((one, at) => {
    if (Math.abs(119 - at - one) > 10) t.fail(`${one} came as number ${at}`);
  });
});

t.test('a limit of bytes: what is left is told', async (t) => {
  const { dir } = await tree(10, 100n);
  const ran = await restore({ paths: [dir], bytesLimit: 350n });
  t.match(ran, { result: 'complete', discovered: 10, asked: 3, done: 3, left: 7, leftBytes: 700n });
  t.match(await restore({ paths: [dir], bytesLimit: 0n }), { asked: 0, left: 7 });
  await t.rejects(restore({ paths: [dir], bytesLimit: -1n }), { code: 'LIMIT_INVALID' });
});

t.test('failures are named by file, and tell complete from partial from failed', async (t) => {
  const { dir, paths, fids } = await tree(60);
  const bad = new Set([3, 44].map((at) => fids[at]).map((fid) => (fid ? formatFid(fid) : '')));
  copytool.verdict = ({ fid }) => (bad.has(formatFid(fid)) ? 2 : 0);
  await lustre.setHsmState(paths[7] ?? '', { set: HsmStateFlag.LOST, clear: 0 });
  for (const newestFirst of [false, true]) {
    const ran = await restore({ paths: [dir], newestFirst });
    t.equal(ran.result, newestFirst ? 'failed' : 'partial', 'the second time only bad ones are left');
    t.equal(ran.failed, 3);
    const named = ran.findings.map(({ code, path }) => `${code} ${path?.toString() ?? ''}`);
    const name = (at: number): string => (paths[at] ?? '').slice(sim.mount.length + 1);
    t.same(named.sort(), [`FILE_LOST ${name(7)}`, `REQUEST_FAILED ${name(44)}`, `REQUEST_FAILED ${name(3)}`]);
  }
});

t.test('a list instead of paths', async (t) => {
  const { dir, paths } = await tree(20);
  const list = join(stateDir, 'list');
  await writeFile(list, [...paths.slice(0, 5), join(dir, 'nothing'), dir, ''].join('\n'));
  const ran = await restore({ filesFrom: list });
  t.match(ran, { result: 'partial', asked: 5, done: 5, failed: 1, skipped: 1 });
  t.match(ran.findings, [{ code: 'ENOENT' }]);
  t.ok(await isReleased(paths[6] ?? ''));
  await rm(list);
});

t.test('a cancel, and a file that is removed meanwhile', async (t) => {
  const { dir, paths } = await tree(80);
  const stop = new AbortController();
  let count = 0;
  copytool.verdict = async () => {
    const number = (count += 1);
    if (number === 1) {
      await unlink(paths[0] ?? '');
      await unlink(paths[1] ?? '');
    }
    if (number === 30) stop.abort(new Error('enough'));
    return number > 10 ? new Promise<number>(() => undefined) : 0;
  };
  const ran = await restore({ paths: [dir], window: 40 }, stop.signal);
  t.equal(ran.result, 'canceled');
  t.equal(ran.outstanding, 0);
  t.equal(ran.asked, ran.done + ran.vanished + ran.canceled);
  t.ok(ran.canceled > 0 && ran.done > 0);
  await sim.drained();
});

t.test('paths and windows of no use', async (t) => {
  await t.rejects(restore({ paths: ['/etc'] }), { code: 'PATH_OUTSIDE_MOUNT' });
  await t.rejects(restore({ paths: ['none'] }), { code: 'ENOENT' });
  await t.rejects(restore({ paths: [sim.mount], window: 0 }), { code: 'WINDOW_INVALID' });
  await t.rejects(restore({ filesFrom: join(stateDir, 'none') }), { code: 'ENOENT' });
  await t.rejects(restore({ paths: [sim.mount], newestFirst: true, stateDir: join(stateDir, 'none') }), {
    code: 'ENOENT',
  });
});

t.test('an unreadable directory is a failure of its own', async (t) => {
  const { dir } = await tree(10);
  await sim.fault(`readdir errno=EIO fid=${await sim.fidOf(join(dir, 'sub'))}`);
  t.teardown(() => sim.clearFaults());
  const ran = await restore({ paths: [dir] });
  t.match(ran, { result: 'partial', done: 5, failed: 1 });
  t.match(ran.findings, [{ code: 'EIO', path: Buffer.from(join(dir, 'sub').slice(sim.mount.length + 1)) }]);
});

import { link, mkdir, mkdtemp, readFile, rm, unlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { batchRestore, type BatchRestoreOptions } from '../../../daemon/jobs/batch-restore.js';
import type { BatchRestoreProgress, BatchRestoreResult } from '../../../daemon/jobs/batch-restore-numbers.js';
import type { FailureNote } from '../../../daemon/jobs/failure-notes.js';
import { requestTag } from '../../../daemon/jobs/failure-notes.js';
import type { Finding } from '../../../daemon/jobs/finding.js';
import type { RestoreReasons } from '../../../daemon/jobs/restore-reasons.js';
import { HsmStateFlag, UserAction } from '../../../native-bindings/constants.js';
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

interface More {
  readonly reasons?: RestoreReasons;
  readonly onProgress?: (progress: BatchRestoreProgress) => void;
}

async function restore(
  options: Partial<BatchRestoreOptions>,
  signal = new AbortController().signal,
  { reasons, onProgress }: More = {},
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
    { lustre, ...(reasons ? { reasons } : {}) },
    {
      onFinding: (finding) => findings.push(finding),
      onProgress: (one) => {
        progress.push(one);
        onProgress?.(one);
      },
    },
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

/** What an agent of another node would leave. */
class OtherNode {
  readonly #data = requestTag('r0123abcd');
  #onNote: (note: FailureNote) => void = () => undefined;
  readonly reasons: RestoreReasons = {
    data: this.#data,
    run: (onNote, signal) => {
      this.#onNote = onNote;
      return new Promise((resolve) => {
        signal.addEventListener('abort', () => {
          resolve();
        });
      });
    },
  };

  isTagged({ data }: { readonly data: Buffer }): boolean {
    return data.equals(this.#data);
  }

  tell(fid: Fid, note: Partial<FailureNote> = {}): void {
    const said = { code: 'BLOB_MISSING', errno: 2, message: 'no such blob', time: '' };
    this.#onNote({ fid: formatFid(fid), ...said, ...note });
  }
}

const codes = ({ findings }: Ran): string[] =>
  findings.map(({ code, path }) => `${code} ${path?.toString().split('/').at(-1) ?? ''}`).sort();
const patient = { patienceMs: 60_000 };
const impatient = { patienceMs: 1 };

t.test('what another node says names the failure, before its end is seen or after', async (t) => {
  const { dir, fids } = await tree(20);
  const bad = new Set(fids.slice(3, 6).map(formatFid));
  for (const isSooner of [true, false]) {
    const node = new OtherNode();
    copytool.received.length = 0;
    copytool.verdict = (item) => {
      if (!node.isTagged(item)) t.fail('a request without a tag');
      if (!bad.has(formatFid(item.fid))) return 0;
      if (isSooner) node.tell(item.fid);
      return 2;
    };
    const late = isSooner
      ? []
      : [3, 4, 5].map(async (at) => {
          const fid = fids[at];
          if (!fid) return;
          while (!copytool.received.some((item) => formatFid(item.fid) === formatFid(fid)))
            await sim.counters();
          await sim.drained();
          node.tell(fid, at === 5 ? { code: 'UNREACHABLE', errno: 11, retry: true } : {});
        });
    const ran = await restore({ paths: [dir], ...patient }, undefined, { reasons: node.reasons });
    await Promise.all(late);
    const names = isSooner ? ['BLOB_MISSING f5'] : ['UNREACHABLE f5'];
    t.same(codes(ran), ['BLOB_MISSING f3', 'BLOB_MISSING f4', ...names]);
    const [missing] = ran.findings.filter(({ code }) => code === 'BLOB_MISSING');
    t.match(missing, { errno: 'ENOENT', message: /restore of .* failed: no such blob/ });
    t.match(ran, { failed: 3, asked: isSooner ? 20 : 3, outstanding: 0 });
  }
});

t.test('a request that a reader had made carries no tag: the file is asked for once more', async (t) => {
  const { dir, paths, fids } = await tree(6);
  await link(paths[0] ?? '', join(dir, 'g0'));
  const node = new OtherNode();
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (release = resolve));
  copytool.verdict = async (item) => {
    const at = fids.findIndex((fid) => formatFid(fid) === formatFid(item.fid));
    if (!node.isTagged(item)) {
      await held;
      return 2;
    }
    // What the first failed with may be over: then nothing is to be told.
    if (at > 2) return 0;
    if (at < 2) node.tell(item.fid);
    return 2;
  };
  await lustre.request(sim.mount, { action: UserAction.RESTORE, archiveId: 0, fids });
  const end = await restore({ paths: [dir], ...impatient, progressMs: 1 }, undefined, {
    reasons: node.reasons,
    onProgress: ({ asked }) => {
      if (asked === 7) release();
    },
  });
  t.equal(end.result, 'partial');
  t.same(codes(end), ['BLOB_MISSING f0', 'BLOB_MISSING f1', 'BLOB_MISSING g0', 'REQUEST_FAILED f2']);
  t.match(end, { discovered: 7, asked: 7, done: 3, failed: 4, outstanding: 0, vanished: 0 });
  const tagged = copytool.received.filter((item) => node.isTagged(item));
  t.ok(tagged.length <= 7, 'once more, and no oftener');
  for (const { asked, done, failed, outstanding } of end.progress) {
    if (asked !== done + failed + outstanding) t.fail(`${asked}, ${done}, ${failed}, ${outstanding}`);
  }
});

t.test('a cancel does not wait for reasons', async (t) => {
  const { dir } = await tree(4);
  const node = new OtherNode();
  const stop = new AbortController();
  copytool.verdict = () => 2;
  const result = await restore({ paths: [dir], progressMs: 5, ...patient }, stop.signal, {
    reasons: node.reasons,
    onProgress: ({ failed }) => {
      if (failed === 4) stop.abort(new Error('enough'));
    },
  });
  t.match(result, { result: 'canceled', asked: 4, failed: 4 });
  t.same(
    codes(result),
    [0, 1, 2, 3].map((at) => `REQUEST_FAILED f${at}`),
  );
});

t.test('a refusal of us ends it, though reasons might come', async (t) => {
  const { dir } = await tree(60);
  await sim.fault('request errno=EACCES');
  t.teardown(() => sim.clearFaults());
  const { reasons } = new OtherNode();
  await t.rejects(restore({ paths: [dir] }, undefined, { reasons }), { code: 'EACCES' });
});

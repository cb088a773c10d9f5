import fc from 'fast-check';
import t from 'tap';
import { silentFailure } from '../../../daemon/jobs/asked-file.js';
import type { FinishedHint } from '../../../daemon/jobs/end-watch.js';
import type { FailureNote } from '../../../daemon/jobs/failure-notes.js';
import type { ReleasedFile } from '../../../daemon/jobs/restore-source.js';
import { SilentFailures } from '../../../daemon/jobs/silent-failures.js';
import { formatFid } from '../../../native-bindings/lustre.js';

const fileOf = (oid: number, name = `f${oid}`): ReleasedFile => ({
  fid: { seq: 0x200000401n, oid, ver: 0 },
  path: Buffer.from(name),
  sizeBytes: 8n,
  mtimeNs: 1n,
});
const noteOf = ({ fid }: ReleasedFile, retry = false): FailureNote => ({
  fid: formatFid(fid),
  code: 'BLOB_MISSING',
  errno: 2,
  message: '',
  time: '',
  ...(retry ? { retry } : {}),
});

function setUp(patienceMs: number) {
  const failed: { readonly file: ReleasedFile; readonly code: string }[] = [];
  const hints: FinishedHint[] = [];
  const silent = new SilentFailures({
    onFailed: (file, { code }) => failed.push({ file, code }),
    onHint: (told) => hints.push(told),
    patienceMs,
  });
  /** The coordinator gives it up. */
  const giveUp = (file: ReleasedFile): void => {
    silent.failed(file, silentFailure('restore', file), silent.ended(file));
  };
  return { failed, hints, silent, giveUp };
}

t.test('a reason is for every name of the file; none is waited for twice', (t) => {
  const { failed, hints, silent, giveUp } = setUp(60_000);
  const names = [fileOf(1, 'one'), fileOf(1, 'other')];
  for (const each of names) giveUp(each);
  silent.take(noteOf(fileOf(2)));
  t.match(hints, [{ kind: 'restore', result: 'failed', code: 'BLOB_MISSING', reason: undefined }]);
  t.ok(silent.isPending);
  silent.take(noteOf(fileOf(1), true));
  t.same(
    failed.map(({ file, code }) => `${String(file.path)} ${code}`),
    ['one BLOB_MISSING', 'other BLOB_MISSING'],
  );
  t.notOk(silent.isPending);
  silent.close();
  t.equal(failed.length, 2);
  t.end();
});

t.test('of a file that was asked for again a note may be of the first time', async (t) => {
  const { failed, hints, silent, giveUp } = setUp(1);
  const file = fileOf(1);
  giveUp(file);
  await silent.bell.wait(10_000);
  t.same(silent.takeAgain(), [file]);
  t.equal(silent.repeated, 1);
  silent.take(noteOf(file));
  t.match(hints, [{ result: 'retry' }]);
  giveUp(file);
  await silent.bell.wait(10_000);
  t.same(silent.takeAgain(), [], 'once is enough');
  t.match(failed, [{ file, code: 'REQUEST_FAILED' }]);
  silent.close();
});

t.test('in whatever order, every file ends once and is asked for again once at most', async () => {
  const FILES = 6;
  const step = fc.record({
    what: fc.constantFrom('give up', 'restored', 'note', 'wait', 'again'),
    at: fc.nat(FILES - 1),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const { failed, silent, giveUp } = setUp(1);
      const files = Array.from({ length: FILES }, (_, at) => fileOf(at + 1));
      const outstanding = new Set(files);
      const restored = new Set<ReleasedFile>();
      const again: ReleasedFile[] = [];
      const ask = (): void => {
        for (const file of silent.takeAgain()) {
          again.push(file);
          outstanding.add(file);
        }
      };
      for (const { what, at } of steps) {
        const file = files[at];
        if (!file) continue;
        if (what === 'give up' && outstanding.delete(file)) giveUp(file);
        if (what === 'restored' && outstanding.delete(file)) {
          silent.ended(file);
          restored.add(file);
        }
        if (what === 'note') silent.take(noteOf(file));
        if (what === 'wait') await silent.bell.wait(3);
        if (what === 'again') ask();
      }
      silent.close();
      const ended = [...failed.map(({ file }) => file), ...restored, ...outstanding];
      return (
        ended.length === FILES &&
        new Set(ended).size === FILES &&
        new Set(again).size === again.length &&
        silent.repeated === again.length &&
        !silent.isPending
      );
    }),
    { numRuns: 60 },
  );
});

// What the end of a request comes to in an export's counts and report; of the file's state there is what a test says.
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import {
  exported,
  failed,
  noteError,
  silentError,
  vanished,
  workOf,
} from '../../../daemon/jobs/export-outcome.js';
import type { SpooledExport } from '../../../daemon/jobs/export-spool.js';
import { HsmStateFlag } from '../../../native-bindings/constants.js';
import { LhsmError } from '../../../native-bindings/errors.js';
import { fidPath, type Fid, type HsmState } from '../../../native-bindings/lustre.js';

const { ARCHIVED, DIRTY, EXISTS } = HsmStateFlag;
const mount = mkdtempSync(join(tmpdir(), 'export-outcome-'));
mkdirSync(join(mount, '.lustre/fid'), { recursive: true });
t.teardown(() => {
  rmSync(mount, { recursive: true });
});

let made = 0;
/** A file as the export has found it, under its FID. */
function found(content = 'content'): SpooledExport {
  const fid: Fid = { seq: 0x200000401n, oid: (made += 1), ver: 0 };
  const path = fidPath(mount, fid);
  writeFileSync(path, content);
  const { mtimeNs, size } = statSync(path, { bigint: true });
  return { kind: 'file', fid, path: Buffer.from('dir/f'), sizeBytes: size, mtimeNs };
}

const inState = (states: number) => ({
  mount,
  lustre: { hsmState: () => Promise.resolve({ states, archiveId: 1 } as HsmState) },
});
const refusing = (code: string) => ({
  mount,
  lustre: { hsmState: () => Promise.reject(new LhsmError('no', { code, op: 'llapi_hsm_state_get' })) },
});

t.test('no agent has said why, and the file is as it was found', async (t) => {
  for (const states of [EXISTS, 0, EXISTS | ARCHIVED | DIRTY]) {
    const error = await silentError(found(), inState(states));
    t.match(error, { code: 'EXPORT_FAILED', errno: 5, hint: /log of the agent/ });
    t.match(
      error?.message,
      /given up the archive of \[0x200000401:0x\w+:0x0\], and no agent has left a reason/,
    );
    const { counts, entry, forgiven } = failed(found(), error ?? new LhsmError('', { code: 'X', op: 'x' }));
    t.match(counts, { totalFilesFailed: 1, totalErrors: 1 });
    t.match(entry, { kind: 'error', code: 'EXPORT_FAILED', path: 'dir/f', errno: 'EIO' });
    t.not(forgiven, true, 'it counts against --max-errors');
  }
});

t.test('a file that was written since is dirty for that reason', async (t) => {
  const longer = found();
  writeFileSync(fidPath(mount, longer.fid), 'longer content');
  const touched = { ...found(), mtimeNs: 1n };
  for (const file of [longer, touched]) {
    const error = await silentError(file, inState(EXISTS | ARCHIVED | DIRTY));
    t.match(error, { code: 'FILE_CHANGED', errno: 16 });
    const settled = failed(file, error ?? new LhsmError('', { code: 'X', op: 'x' }));
    t.match(settled, { entry: { code: 'FILE_CHANGED' }, forgiven: true });
    // Never archived, it would be so had nobody written it.
    t.match(await silentError(file, inState(EXISTS)), { code: 'EXPORT_FAILED' });
  }
});

t.test('a file that is gone, and one whose state cannot be had', async (t) => {
  for (const code of ['ENOENT', 'ESTALE']) t.equal(await silentError(found(), refusing(code)), undefined);
  const file = found();
  rmSync(fidPath(mount, file.fid));
  t.equal(await silentError(file, inState(EXISTS)), undefined, 'gone between the two looks');
  const error = await silentError(found(), refusing('EIO'));
  t.match(error, { code: 'EXPORT_FAILED', message: /Its state cannot be had/ });
});

t.test('other ends', (t) => {
  const file = found();
  const busy = new LhsmError('written', { code: 'EBUSY', op: 'end', errno: 16 });
  t.match(failed(file, busy), { entry: { code: 'FILE_CHANGED', errno: 'EBUSY' }, forgiven: true });
  const never = new LhsmError('never', { code: 'FILE_NOARCHIVE', op: 'archive', errno: 1 });
  t.match(failed(file, never), {
    counts: { totalFilesSkipped: 1, totalWarnings: 1 },
    entry: { kind: 'warning', code: 'FILE_NOARCHIVE' },
  });
  t.match(exported(file, false), {
    counts: { totalFilesExported: 1, totalBytesExported: 7 },
    work: workOf(7n),
  });
  t.match(exported(file, true).entry, { kind: 'item', code: 'EXPORTED', action: 'exported' });
  t.equal(exported(file, false).entry, undefined);
  t.match(vanished(file, true), { counts: { totalFilesSkipped: 1 }, entry: { code: 'VANISHED' } });
  const note = { fid: '', code: 'THROTTLED', errno: 11, message: '', time: '' };
  t.match(noteError(note), { code: 'THROTTLED', errno: 11, message: 'THROTTLED' });
  t.match(noteError({ ...note, message: 'why', errno: 0 }), { code: 'THROTTLED', message: 'why' });
  t.end();
});

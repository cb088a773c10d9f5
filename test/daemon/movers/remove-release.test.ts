// A remove while somebody releases the file: the only content is never deleted.
import t, { type Test } from 'tap';
import { HsmStateFlag } from '../../../native-bindings/constants.js';
import { LhsmError } from '../../../native-bindings/errors.js';
import type { Fid } from '../../../native-bindings/lustre.js';
import type { FaultyBlobServer } from '../../helpers/faulty-blob-server.js';
import type { Bench } from './bench.js';
import { startFaultyBench } from './faulty-bench.js';

const { EXISTS, ARCHIVED, NORELEASE } = HsmStateFlag;

async function archived(t: Test): Promise<{ bench: Bench; server: FaultyBlobServer; fid: Fid }> {
  const { bench, server } = await startFaultyBench(t);
  const fid = bench.lustre.create('f', 'content');
  await bench.archive(fid);
  bench.lustre.node(fid).states = EXISTS | ARCHIVED;
  return { bench, server, fid };
}

t.test('a release between the tries of a delete is refused, and after it, too', async (t) => {
  const { bench, server, fid } = await archived(t);
  const released: boolean[] = [];
  const release = (): void => void released.push(bench.lustre.release(fid));
  server.inject('Delete Blob', { status: 503, code: 'ServerBusy', before: release });
  // The state is cleared with the copy gone: the file must then be no archived one.
  bench.lustre.before('removeXattr', release);
  await bench.remove(fid);
  t.same(released, [false, false, false]);
  t.equal(bench.lustre.node(fid).states, 0);
  t.notOk(server.blobs.has('f'));
});

t.test('a release just before the file is held is seen', async (t) => {
  const { bench, server, fid } = await archived(t);
  bench.lustre.before('setHsmStateFd', () => {
    bench.lustre.release(fid);
  });
  await t.rejects(bench.remove(fid), { code: 'FILE_RELEASED', errno: 1 });
  t.equal(bench.lustre.node(fid).states & NORELEASE, 0);
  t.ok(server.blobs.has('f'));
  t.equal((await bench.restore(fid)).content.toString(), 'content');
});

t.test('a file whose state cannot be set is looked at before each try', async (t) => {
  const { bench, server, fid } = await archived(t);
  bench.lustre.before('setHsmStateFd', () => {
    throw new LhsmError('not permitted', { code: 'EPERM', op: 'llapi_hsm_state_set_fd' });
  });
  server.inject('Delete Blob', {
    status: 503,
    code: 'ServerBusy',
    before: () => t.ok(bench.lustre.release(fid)),
  });
  await t.rejects(bench.remove(fid), { code: 'FILE_RELEASED', errno: 1 });
  t.ok(server.blobs.has('f'));
});

t.test('a refused delete leaves the file archived, and free to be released', async (t) => {
  const { bench, server, fid } = await archived(t);
  server.inject('Delete Blob', { status: 403, code: 'AuthorizationPermissionMismatch' });
  await t.rejects(bench.remove(fid), { code: 'FORBIDDEN' });
  t.equal(bench.lustre.node(fid).states, EXISTS | ARCHIVED);
});

t.test('a delete whose answer is lost for good leaves no file that may be released', async (t) => {
  const { bench, server, fid } = await archived(t);
  server.inject('Delete Blob', { loseAnswer: true });
  server.inject('Delete Blob', { resetAfter: 0 }, 9);
  await t.rejects(bench.remove(fid), { code: 'UNREACHABLE' });
  t.equal(bench.lustre.node(fid).states, EXISTS);
  t.notOk(bench.lustre.release(fid));
});

t.test('a file that somebody holds stays held', async (t) => {
  const { bench, fid } = await archived(t);
  bench.lustre.node(fid).states |= NORELEASE;
  await bench.remove(fid);
  t.ok(bench.lustre.node(fid).states & NORELEASE);
});

t.test('a blob with snapshots is refused, and they stay', async (t) => {
  const { bench, server, fid } = await archived(t);
  server.inject('Delete Blob', { status: 409, code: 'SnapshotsPresent' });
  await t.rejects(bench.remove(fid), { code: 'BLOB_BUSY', errno: 16, hint: /snapshots first/ });
  const asked = server.requests.find(({ operation }) => operation === 'Delete Blob');
  t.equal(asked?.headers['x-ms-delete-snapshots'], undefined);
});

// Two nodes archive one file: the MDT forgot the first one's request, or hands it out again. The late one takes nothing
// of the other's away.
import t, { type Test } from 'tap';
import { HsmStateFlag } from '../../../native-bindings/constants.js';
import type { Fid } from '../../../native-bindings/lustre.js';
import type { FaultyBlobServer } from '../../helpers/faulty-blob-server.js';
import type { Bench } from './bench.js';
import { startFaultyBench } from './faulty-bench.js';

const RELEASED = HsmStateFlag.EXISTS | HsmStateFlag.ARCHIVED | HsmStateFlag.RELEASED;

interface Nodes {
  readonly slow: Bench;
  readonly quick: Bench;
  readonly server: FaultyBlobServer;
}

async function nodes(t: Test): Promise<Nodes> {
  const { bench, another, server } = await startFaultyBench(t);
  return { slow: bench, quick: await another(), server };
}

/** Begins an archive whose upload never gets an answer; `abort` ends it. */
async function stuck(
  { slow, server }: Nodes,
  fid: Fid,
  name: string,
): Promise<{ abort: () => Promise<unknown> }> {
  const begun = new Promise<void>((resolve) => {
    server.inject('Put Blob', { stallAfter: -1, before: resolve }, 1, (request) => request.name === name);
  });
  const running = slow.archive(fid).catch((error: unknown) => error);
  await begun;
  return {
    abort: () => {
      slow.signal.abort();
      return running;
    },
  };
}

function memory(bench: Bench, fid: Fid): readonly (string | undefined)[] {
  return ['trusted.lhsm_uuid', 'trusted.lhsm_etag'].map((name) => bench.lustre.xattr(fid, name));
}

t.test('a first archive given up late leaves what another node has recorded', async (t) => {
  const at = await nodes(t);
  const { lustre } = at.slow;
  const fid = lustre.create('f', 'content');
  const late = await stuck(at, fid, 'f');
  await at.quick.archive(fid);
  const recorded = memory(at.quick, fid);
  lustre.node(fid).states = RELEASED;
  lustre.rename('f', 'g');
  t.match(await late.abort(), { code: 'ECANCELED' });
  t.same(memory(at.quick, fid), recorded);
  t.equal((await at.quick.restore(fid)).content.toString(), 'content');
});

t.test('an archive of a renamed file given up late does not bring the old name back', async (t) => {
  const at = await nodes(t);
  const { lustre } = at.slow;
  const fid = lustre.create('p', 'one');
  await at.quick.archive(fid);
  lustre.rename('p', 'q');
  lustre.write('q', 'two');
  const late = await stuck(at, fid, 'q');
  await at.quick.archive(fid);
  const recorded = memory(at.quick, fid);
  lustre.node(fid).states = RELEASED;
  await late.abort();
  t.same(memory(at.quick, fid), recorded);
  t.equal((await at.quick.restore(fid)).content.toString(), 'two');
});

t.test('a node that gives up while another one uploads does not cost it the name', async (t) => {
  const at = await nodes(t);
  const { lustre } = at.slow;
  const fid = lustre.create('f', 'content');
  const late = await stuck(at, fid, 'f');
  at.quick.beforeCommit = async () => {
    await late.abort();
    t.equal(lustre.xattr(fid, 'trusted.lhsm_uuid'), undefined, 'nobody had pinned anything: it is put back');
  };
  await at.quick.archive(fid);
  lustre.rename('f', 'g');
  t.equal((await at.quick.restore(fid)).content.toString(), 'content');
});

t.test('a copy released while it is archived under a new name is remembered again', async (t) => {
  const at = await nodes(t);
  const { lustre } = at.slow;
  const fid = lustre.create('p', 'content');
  await at.quick.archive(fid);
  const recorded = memory(at.quick, fid);
  lustre.rename('p', 'q');
  const late = await stuck(at, fid, 'q');
  t.notSame(memory(at.quick, fid), recorded);
  lustre.node(fid).states = RELEASED;
  await late.abort();
  t.same(memory(at.quick, fid), recorded);
  t.equal((await at.quick.restore(fid)).content.toString(), 'content');
});

t.test('a file that another node has archived and somebody released is not read', async (t) => {
  const at = await nodes(t);
  const { lustre } = at.slow;
  const fid = lustre.create('f', 'content');
  await at.quick.archive(fid);
  const recorded = memory(at.quick, fid);
  lustre.node(fid).states = RELEASED;
  lustre.before('dataVersion', () => {
    t.fail('its data version is asked for');
  });
  at.server.forget();
  await t.rejects(at.slow.archive(fid), {
    code: 'FILE_RELEASED',
    errno: 16,
    message: /already archived and released/,
  });
  t.same(memory(at.quick, fid), recorded);
  t.equal(at.server.requests.length, 0);
});

t.test('a release while the archive looks at the blob is noticed before the file is read', async (t) => {
  const at = await nodes(t);
  const { lustre } = at.slow;
  const fid = lustre.create('f', 'one');
  await at.quick.archive(fid);
  lustre.write('f', 'two');
  const recorded = memory(at.quick, fid);
  at.server.inject('Head Blob', { before: () => (lustre.node(fid).states = RELEASED) });
  await t.rejects(at.slow.archive(fid), { code: 'FILE_RELEASED', errno: 16 });
  t.same(memory(at.quick, fid), recorded);
  t.equal(at.server.blobs.get('f')?.content.toString(), 'one');
});

// Directory stubs: made once, shared, left alone, never in place of a file.
import { chmodSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { ParentStubs } from '../../../daemon/movers/parent-stubs.js';
import { LhsmError } from '../../../native-bindings/errors.js';
import { startAzurite } from '../../helpers/azurite.js';
import { Bench } from './bench.js';
import { startFaultyBench } from './faulty-bench.js';
import type { ArchiveContainer } from '../../../daemon/blobs/archive-container.js';

const azurite = await startAzurite();
t.teardown(() => azurite.stop());

const never = new AbortController().signal;
const user = { fid: { seq: 1n, oid: 1, ver: 0 }, log: pino({ level: 'silent' }) };

t.test('each directory above a file gets a stub with its owner, mode and time', async (t) => {
  const bench = await Bench.start(t, azurite, { prefix: 'p/' });
  const fid = bench.lustre.create('a/b/f', 'x');
  const path = join(bench.lustre.mount, 'a/b');
  chmodSync(path, 0o1750);
  await bench.archive(fid);
  t.same(await bench.blobs(), ['p/a', 'p/a/b', 'p/a/b/f']);
  const { mtimeNs } = statSync(path, { bigint: true });
  t.match(await bench.metadata('p/a/b'), {
    hdi_isfolder: 'true',
    owner: '0',
    group: '0',
    permissions: '1750',
    modtime_ns: String(mtimeNs),
  });
  t.equal(await bench.content('p/a/b'), '');
});

t.test('a stub that is there is left as it is', async (t) => {
  const bench = await Bench.start(t, azurite);
  await bench.put('d', '', { HDI_IsFolder: 'true', owner: '7' });
  await bench.archive(bench.lustre.create('d/f', 'x'));
  t.match(await bench.metadata('d'), { owner: '7' });
});

t.test("a file's blob at a parent's name is an error, and nothing is written below it", async (t) => {
  const bench = await Bench.start(t, azurite);
  await bench.put('d', 'a file');
  const fid = bench.lustre.create('d/f', 'x');
  await t.rejects(bench.archive(fid), { code: 'PARENT_IS_FILE', errno: 20, message: /blob d / });
  t.same(await bench.blobs(), ['d']);
  t.equal(await bench.content('d'), 'a file');
  await bench.client.deleteBlob('d');
  await bench.archive(fid);
  t.same(await bench.blobs(), ['d', 'd/f'], 'once it is gone all is well');
});

t.test('siblings archived at once share the requests for their parents', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fids = Array.from({ length: 8 }, (_, n) => bench.lustre.create(`a/b/${n}`, 'x'));
  await Promise.all(fids.map((fid) => bench.archive(fid)));
  t.equal(bench.requests, 2 + 8);
});

/** A container that only counts: `put` decides what becomes of a stub. */
function counting(put: (name: string) => Promise<string>): ArchiveContainer & { names: string[] } {
  const names: string[] = [];
  const container = {
    names,
    prefix: '',
    putEmpty: (name: string) => {
      names.push(name);
      return put(name);
    },
  };
  return container as unknown as ArchiveContainer & { names: string[] };
}

t.test('no more names are kept than allowed, the last used ones', async (t) => {
  const bench = await Bench.start(t, azurite);
  for (const name of ['a', 'b', 'c']) mkdirSync(join(bench.lustre.mount, name));
  const container = counting(() => Promise.resolve('"0x1"'));
  const stubs = new ParentStubs(container, 2);
  for (const name of ['a', 'b', 'a', 'c', 'a', 'b'])
    await stubs.ensure(Buffer.from(`${name}/f`), bench.tools, never, user);
  t.same(container.names, ['a', 'b', 'c', 'b']);
  t.equal(stubs.knownCount, 2);
});

t.test("an archive that waits for a sibling's stub is aborted at once all the same", async (t) => {
  const bench = await Bench.start(t, azurite);
  mkdirSync(join(bench.lustre.mount, 'd'));
  const abort = new AbortController();
  let made: (etag: string) => void = () => undefined;
  const container = counting(() => {
    // By then both are on their way, and the second waits for the first.
    setImmediate(() => {
      abort.abort();
    });
    return new Promise((resolve) => (made = resolve));
  });
  const stubs = new ParentStubs(container);
  const first = stubs.ensure(Buffer.from('d/1'), bench.tools, never, user);
  const second = stubs.ensure(Buffer.from('d/2'), bench.tools, abort.signal, user);
  await t.rejects(second, { name: 'AbortError' });
  made('"0x1"');
  t.same(await first, []);
  t.same(container.names, ['d']);
});

t.test('an archive that is aborted does not take its siblings with it', async (t) => {
  const bench = await Bench.start(t, azurite);
  mkdirSync(join(bench.lustre.mount, 'd'));
  const abort = new AbortController();
  let reject: ((error: Error) => void) | undefined;
  const container = counting(() =>
    reject ? Promise.resolve('"0x1"') : new Promise((_, no) => (reject = no)),
  );
  const stubs = new ParentStubs(container);
  const first = stubs.ensure(Buffer.from('d/f'), bench.tools, abort.signal, user);
  const second = stubs.ensure(Buffer.from('d/g'), bench.tools, never, user);
  while (!reject) await new Promise((resolve) => setImmediate(resolve));
  abort.abort();
  reject(new LhsmError('canceled', { code: 'ECANCELED', op: 'Put Blob' }));
  await t.rejects(first, { code: 'ECANCELED' });
  await second;
  t.same(container.names, ['d', 'd']);
});

t.test('a directory that is gone meanwhile gets no stub, and is asked about again', async (t) => {
  const bench = await Bench.start(t, azurite);
  mkdirSync(join(bench.lustre.mount, 'd'));
  const container = counting(() => Promise.resolve('"0x1"'));
  const stubs = new ParentStubs(container);
  rmSync(join(bench.lustre.mount, 'd'), { recursive: true });
  await stubs.ensure(Buffer.from('d/f'), bench.tools, never, user);
  t.same(container.names, []);
  mkdirSync(join(bench.lustre.mount, 'd'));
  await stubs.ensure(Buffer.from('d/f'), bench.tools, never, user);
  t.same(container.names, ['d']);
});

t.test('a container of no use fails the archive', async (t) => {
  const bench = await Bench.start(t, azurite);
  mkdirSync(join(bench.lustre.mount, 'd'));
  for (const code of ['UNREACHABLE', 'TOKEN_FAILED', 'CONTAINER_MISSING']) {
    const failed = new LhsmError('failed', { code, op: 'Put Blob', retryable: code === 'UNREACHABLE' });
    const stubs = new ParentStubs(counting(() => Promise.reject(failed)));
    await t.rejects(stubs.ensure(Buffer.from('d/f'), bench.tools, never, user), { code });
  }
});

const refused = { status: 403, code: 'AuthorizationPermissionMismatch' };
for (const [what, fault] of [
  ['forbidden', refused],
  ['not supported', { status: 409, code: 'BlobOperationNotSupported' }],
  ['refused for a reason that nobody foresaw', { status: 409, code: 'SomethingNew' }],
] as const) {
  t.test(`a stub that is ${what} does not cost the file its archive`, async (t) => {
    const { bench, server } = await startFaultyBench(t);
    server.inject('Put Blob', fault, 9, ({ name }) => name === 'd');
    const notes = [/^no stub for the directory d: /];
    t.match(await bench.archive(bench.lustre.create('d/f', 'content')), { blob: 'd/f', notes });
    const tries = server.requests.filter(({ name }) => name === 'd').length;
    t.match(await bench.archive(bench.lustre.create('d/g', 'content')), { blob: 'd/g', notes });
    t.equal(
      server.requests.filter(({ name }) => name === 'd').length,
      tries,
      'it is not tried for every file',
    );
    t.same([...server.blobs.keys()], ['d/f', 'd/g']);
  });
}

for (const code of ['PathAlreadyExists', 'ResourceTypeMismatch', 'BlobOperationNotSupported']) {
  t.test(`a directory that the service has already is enough (${code})`, async (t) => {
    const { bench, server } = await startFaultyBench(t);
    server.inject('Put Blob', { status: 409, code }, 1, ({ name }) => name === 'd');
    // A directory of an account with a hierarchical namespace, told by its header alone.
    server.put('d', Buffer.alloc(0));
    server.inject(
      'Head Blob',
      { headers: { 'x-ms-resource-type': 'directory' } },
      1,
      ({ name }) => name === 'd',
    );
    t.match(await bench.archive(bench.lustre.create('d/f', 'content')), { blob: 'd/f', notes: undefined });
    await bench.archive(bench.lustre.create('d/g', 'content'));
    t.equal(server.requests.filter(({ name }) => name === 'd').length, 2, 'it is known now');
  });
}

t.test(
  "the blob of a file that is gone, where a directory is now, stays and is in nobody's way",
  async (t) => {
    const bench = await Bench.start(t, azurite);
    await bench.archive(bench.lustre.create('d', 'a file'));
    bench.lustre.unlink('d');
    t.match(await bench.archive(bench.lustre.create('d/f', 'x')), {
      blob: 'd/f',
      notes: [/blob d of a file stays/],
    });
    t.equal(await bench.content('d'), 'a file');
  },
);

t.test('the blob of a living file is in the way, but not in that of the file itself', async (t) => {
  const bench = await Bench.start(t, azurite);
  const fid = bench.lustre.create('d', 'a file');
  await bench.archive(fid);
  bench.lustre.rename('d', 'x');
  const sibling = bench.lustre.create('d/g', 'x');
  await t.rejects(bench.archive(sibling), { code: 'PARENT_IS_FILE', errno: 20 });
  bench.lustre.rename('x', 'd/f');
  t.match(await bench.archive(fid), { blob: 'd/f', notes: [/blob d of a file stays/] });
  t.equal((await bench.archive(sibling)).blob, 'd/g', 'archived elsewhere, it has left the blob');
});

t.test('a file in the root has no parents', async (t) => {
  const bench = await Bench.start(t, azurite);
  const container = counting(() => Promise.resolve('"0x1"'));
  await new ParentStubs(container).ensure(Buffer.from('f'), bench.tools, never, user);
  t.same(container.names, []);
});

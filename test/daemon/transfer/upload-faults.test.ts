// An upload meets everything that can go wrong: what is committed is the whole file of one moment, or nothing.
import t from 'tap';
import { LhsmError } from '../../../native-bindings/errors.js';
import { KIB, MIB, openBench, pattern } from './bench.js';

const small = pattern(100 * KIB);
const large = pattern(64 * KIB * 5 + 123);
const sizes = [small, large];
const commitOf = (content: Buffer): 'Put Blob' | 'Put Block List' =>
  content === small ? 'Put Blob' : 'Put Block List';

t.test('a request that breaks is made again with the same bytes', async (t) => {
  for (const content of sizes) {
    const at = await openBench(t);
    const operation = content === small ? 'Put Blob' : 'Put Block';
    at.server.inject(operation, { resetAfter: 0 }, 1);
    at.server.inject(operation, { status: 503, code: 'ServerBusy' }, 1);
    const { etag } = await at.upload({ content, expected: 'absent', metadata: { Owner: '3' } });
    const blob = at.server.blobs.get('blob');
    t.ok(blob?.content.equals(content), 'the right bytes');
    t.match(blob, { etag, metadata: { owner: '3' } });
    t.match(at.counters, { bytes: content.length, retries: 2, throttles: 1 });
  }
});

t.test('a service that takes a request and never answers is asked again', async (t) => {
  for (const content of sizes) {
    const at = await openBench(t, { stallTimeoutMs: 1000 });
    at.server.inject(content === small ? 'Put Blob' : 'Put Block', { stallAfter: 0 });
    await at.upload({ content });
    t.ok(at.server.blobs.get('blob')?.content.equals(content));
    t.ok(at.counters.retries >= 1);
  }
});

t.test('a commit whose answer was lost is recognised as our own', async (t) => {
  for (const content of sizes) {
    for (const expected of ['absent', 'present', undefined] as const) {
      const at = await openBench(t);
      const before = expected === 'present' ? at.server.put('blob', Buffer.from('old')) : undefined;
      at.server.inject(commitOf(content), { loseAnswer: true });
      const result = await at.upload({
        content,
        expected: before ? { etag: before.etag } : (expected as 'absent'),
      });
      const blob = at.server.blobs.get('blob');
      t.ok(blob?.content.equals(content), 'the right bytes');
      t.equal(result.etag, blob?.etag, 'and the version that is there');
    }
  }
});

t.test('a lost answer hides nothing that somebody else wrote afterwards', async (t) => {
  for (const content of sizes) {
    const at = await openBench(t);
    at.server.inject(commitOf(content), { loseAnswer: true });
    const theirs = pattern(content.length, 1);
    at.server.inject(commitOf(content), {
      before: () => void at.server.put('blob', theirs, { metadata: { owner: '1' } }),
    });
    await t.rejects(at.upload({ content, expected: 'absent' }), { code: 'BLOB_CHANGED', errno: 116 });
    t.ok(at.server.blobs.get('blob')?.content.equals(theirs), 'theirs is still there');
  }
});

t.test('a lost answer, and then a commit of others that looks like ours', async (t) => {
  const at = await openBench(t);
  const theirs = pattern(large.length, 1);
  const overwrite = (): void => {
    const blocks = at.server.blobs.get('blob')?.blocks.map((id) => id.replace(/./, 'x')) ?? [];
    at.server.put('blob', theirs, { metadata: { owner: '1' }, blocks });
  };
  at.server.inject('Put Block List', { loseAnswer: true });
  at.server.inject('Put Block List', { before: overwrite });
  await t.rejects(at.upload({ content: large, expected: 'absent' }), { code: 'BLOB_CHANGED' });
});

t.test('a blob that is not the expected one is not overwritten', async (t) => {
  for (const content of sizes) {
    const at = await openBench(t);
    at.server.put('blob', Buffer.from('theirs'));
    for (const expected of ['absent', { etag: '"0x1"' }] as const) {
      await t.rejects(at.upload({ content, expected }), { code: 'BLOB_CHANGED', errno: 116 });
      t.equal(at.server.blobs.get('blob')?.content.toString(), 'theirs');
    }
  }
});

t.test('a file that gets shorter is told, and nothing is committed', async (t) => {
  for (const content of sizes) {
    const at = await openBench(t);
    let asked = false;
    const beforeCommit = (): Promise<void> => {
      asked = true;
      return Promise.resolve();
    };
    const request = at.upload({
      content: content.subarray(0, content.length - 1),
      sizeBytes: content.length,
      beforeCommit,
    });
    await t.rejects(request, { code: 'FILE_CHANGED', errno: 16, message: /truncated during archive/ });
    t.equal(at.server.count(commitOf(content)), 0);
    t.notOk(asked);
  }
});

t.test('beforeCommit comes after the last read, and can stop the commit', async (t) => {
  for (const content of sizes) {
    const at = await openBench(t);
    at.server.put('blob', Buffer.from('the last good version'));
    const beforeCommit = (): Promise<void> => {
      t.equal(at.server.count(commitOf(content)), 0, 'not yet committed');
      return Promise.reject(new LhsmError('The file was written to.', { code: 'EBUSY', op: 'data version' }));
    };
    await t.rejects(at.upload({ content, beforeCommit }), { code: 'EBUSY', errno: 16 });
    t.equal(at.server.count(commitOf(content)), 0);
    t.equal(at.server.blobs.get('blob')?.content.toString(), 'the last good version');
  }
});

t.test('two uploads of one blob at once never mix', async (t) => {
  const at = await openBench(t);
  const other = pattern(large.length, 1);
  const results = await Promise.allSettled([at.upload({ content: large }), at.upload({ content: other })]);
  const { content } = at.server.blobs.get('blob') ?? { content: Buffer.alloc(0) };
  t.ok(content.equals(large) || content.equals(other), 'one of them, whole');
  t.ok(results.some(({ status }) => status === 'fulfilled'));
  for (const result of results) {
    if (result.status === 'rejected') t.match(result.reason, { code: 'BLOB_CHANGED' }, 'the loser knows');
  }
});

t.test('blocks too large for the buffers are sent as they are read', async (t) => {
  const content = pattern(5 * MIB + 3);
  const at = await openBench(t, { blockSizeBytes: 2 * MIB, maxBufferBytes: MIB });
  at.server.inject('Put Block', { resetAfter: 0 });
  await at.upload({ content });
  t.ok(at.server.blobs.get('blob')?.content.equals(content));
  t.equal(at.server.count('Put Block'), 4, 'three blocks, one of them twice');
  const short = at.upload({ content: content.subarray(0, -1), sizeBytes: content.length });
  await t.rejects(short, { code: 'FILE_CHANGED' });
});

t.test('errors of the service that no second try mends', async (t) => {
  for (const content of sizes) {
    const operation = content === small ? 'Put Blob' : 'Put Block';
    for (const [status, code, error] of [
      [403, 'AuthorizationFailure', { code: 'FORBIDDEN', errno: 13 }],
      [404, 'ContainerNotFound', { code: 'CONTAINER_MISSING', errno: 2 }],
      [409, 'InvalidBlobType', { code: 'NOT_BLOCK_BLOB', errno: 5 }],
      [412, 'LeaseIdMissing', { code: 'BLOB_LEASED', errno: 16 }],
    ] as const) {
      const at = await openBench(t, { rangesPerFile: 1 });
      at.server.inject(operation, { status, code }, Infinity);
      await t.rejects(at.upload({ content }), error);
      t.equal(at.server.requests.length, status === 403 ? 2 : 1, 'once more with a new credential only');
    }
  }
});

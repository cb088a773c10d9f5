// A download meets everything that can go wrong: the content is right, or the error is clear and nothing wrong is
// written.
import t from 'tap';
import type { Fault, SeenRequest } from '../../helpers/faulty-blob-server.js';
import { KIB, openBench, pattern } from './bench.js';

const size = 64 * KIB * 5 + 123;
const content = pattern(size);
const rangeOf = (headers: SeenRequest['headers']): string =>
  [headers['x-ms-range'], headers.range].find((value) => typeof value === 'string') ?? '';

t.test('a body that breaks off goes on where it broke, with a range for the rest only', async (t) => {
  for (const cut of ['resetAfter', 'stallAfter'] as const) {
    const at = await openBench(t, { stallTimeoutMs: 1000 });
    at.server.put('blob', content);
    at.server.inject(
      'Get Blob',
      { [cut]: 10_000 },
      1,
      ({ headers }) => rangeOf(headers) === 'bytes=65536-131071',
    );
    await at.download({ sizeBytes: size });
    t.ok(at.target().equals(content), 'the right bytes');
    t.equal(at.counters.bytes, size, 'each byte counted once');
    t.ok(at.counters.retries >= 1);
    const ranges = at.server.requests.map(({ headers }) => rangeOf(headers));
    const resumed = ranges.filter(
      (range) => /^bytes=\d+-131071$/.test(range) && range !== 'bytes=65536-131071',
    );
    t.same(resumed, [`bytes=${65536 + 10_000}-131071`], 'only the rest was asked for again');
  }
});

t.test('a service that takes a request and never answers is asked again', async (t) => {
  const at = await openBench(t, { stallTimeoutMs: 1000 });
  at.server.put('blob', content);
  at.server.inject('Get Blob', { stallAfter: -1 });
  await at.download({ sizeBytes: size });
  t.ok(at.target().equals(content));
  t.ok(at.counters.retries >= 1);
});

t.test('the first body may break too, and its headers are judged once', async (t) => {
  const at = await openBench(t);
  at.server.put('blob', content);
  at.server.inject('Get Blob', { resetAfter: 5 }, 2, ({ headers }) => rangeOf(headers).endsWith('-65535'));
  const { etag } = await at.download({ sizeBytes: size });
  t.ok(at.target().equals(content));
  const [first, ...later] = at.server.requests;
  t.equal(first?.headers['if-match'], undefined, 'the first answer pins');
  t.ok(
    later.every(({ headers }) => headers['if-match'] === etag),
    'all others are of that version',
  );
});

t.test('wrong answers are asked for again, and never written', async (t) => {
  const wrong: Readonly<Record<string, Fault>> = {
    'a body shorter than its range': { shortBy: 100 },
    'a body longer than its range': { shortBy: -100 },
    'another Content-Range': { headers: { 'content-range': `bytes 1-65536/${size}` } },
    'no Content-Range': { headers: { 'content-range': undefined } },
    'a Content-Range that is none': { headers: { 'content-range': 'bytes 1-x/y' } },
    '200 for 206': { whole: true },
    'no ETag': { headers: { etag: undefined } },
  };
  for (const [what, fault] of Object.entries(wrong)) {
    await t.test(what, async (t) => {
      const at = await openBench(t);
      at.server.put('blob', content);
      const isThird = ({ headers }: SeenRequest): boolean => rangeOf(headers).startsWith('bytes=131072-');
      at.server.inject('Get Blob', fault, 2, isThird);
      await at.download({ sizeBytes: size });
      t.ok(at.target().equals(content), 'right in the end');
      t.equal(at.counters.retries, 2);
      at.server.inject('Get Blob', fault, Infinity);
      await t.rejects(at.download({ sizeBytes: size }), { code: 'BAD_ANSWER', errno: 5 });
      t.equal(at.target().length, 0, 'nothing written');
    });
  }
});

t.test('throttles are waited for, counted, and given up in the end', async (t) => {
  const throttles: readonly Fault[] = [
    { status: 503, code: 'ServerBusy', headers: { 'retry-after': '0' } },
    { status: 429, code: 'TooManyRequests' },
    { status: 500, code: 'OperationTimedOut' },
  ];
  for (const fault of throttles) {
    const at = await openBench(t);
    at.server.put('blob', content);
    at.server.inject('Get Blob', fault, 2);
    await at.download({ sizeBytes: size });
    t.ok(at.target().equals(content));
    t.match(at.counters, { throttles: 2, retries: 2 });
    at.server.inject('Get Blob', fault, Infinity);
    await t.rejects(at.download({ sizeBytes: size }), { code: 'THROTTLED', errno: 11, retryable: true });
  }
});

t.test('Retry-After holds every request of the engine back', async (t) => {
  const at = await openBench(t);
  at.server.put('blob', content);
  at.server.inject('Get Blob', { status: 503, code: 'ServerBusy', headers: { 'retry-after': '1' } });
  const began = performance.now();
  await at.download({ sizeBytes: 64 * KIB }).catch(() => undefined);
  t.ok(performance.now() - began >= 990, 'as long as it said');
});

t.test('what cannot get better is told at once', async (t) => {
  const cases = [
    [
      { status: 404, code: 'BlobNotFound' },
      { code: 'BLOB_MISSING', errno: 2 },
    ],
    [
      { status: 404, code: 'ContainerNotFound' },
      { code: 'CONTAINER_MISSING', errno: 2 },
    ],
    [{ status: 404 }, { code: 'BAD_ANSWER', errno: 5 }],
    [
      { status: 409, code: 'BlobArchived' },
      { code: 'BLOB_ARCHIVED', errno: 5, hint: /Rehydrate/ },
    ],
    [
      { status: 412, code: 'ConditionNotMet' },
      { code: 'BLOB_CHANGED', errno: 116 },
    ],
    [
      { status: 403, code: 'AuthenticationFailed' },
      { code: 'FORBIDDEN', errno: 13, hint: /SAS/ },
    ],
    [
      { status: 403, code: 'AuthorizationPermissionMismatch' },
      { code: 'FORBIDDEN', hint: /Contributor/ },
    ],
  ] as const;
  for (const [fault, error] of cases) {
    const at = await openBench(t);
    at.server.put('blob', content);
    at.server.inject('Get Blob', fault, Infinity);
    await t.rejects(at.download({ sizeBytes: size }), error);
    const asked = fault.status === 403 ? 2 : 1;
    t.equal(at.server.count('Get Blob'), asked, 'asked once, and once more with a new credential');
    t.equal(at.target().length, 0, 'nothing written');
  }
});

t.test('no service in the end: EAGAIN, after as many tries as configured', async (t) => {
  const at = await openBench(t, { rangesPerFile: 1 });
  at.server.put('blob', content);
  at.server.inject('Get Blob', { resetAfter: 0 }, Infinity);
  await t.rejects(at.download({ sizeBytes: size }), { code: 'UNREACHABLE', errno: 11, retryable: true });
  t.equal(at.server.count('Get Blob'), 3);
});

t.test('a blob that changes between two ranges never yields a mixture', async (t) => {
  for (const ignoreIfMatch of [false, true]) {
    const at = await openBench(t, { rangesPerFile: 1 });
    at.server.ignoreIfMatch = ignoreIfMatch;
    at.server.put('blob', content);
    const other = pattern(size, 1);
    const change = { before: () => void at.server.put('blob', other) };
    at.server.inject('Get Blob', change, 1, ({ headers }) => rangeOf(headers).startsWith('bytes=131072-'));
    await t.rejects(at.download({ sizeBytes: size }), { code: 'BLOB_CHANGED', errno: 116 });
    t.ok(at.target().equals(content.subarray(0, 131072)), 'only the first version was written');
  }
});

t.test('the pinned version is asked for from the first range on', async (t) => {
  const at = await openBench(t);
  const { etag } = at.server.put('blob', content);
  await at.download({ sizeBytes: size, ifMatch: etag });
  t.ok(at.target().equals(content));
  at.server.put('blob', content);
  await t.rejects(at.download({ sizeBytes: size, ifMatch: etag }), { code: 'BLOB_CHANGED' });
  t.equal(at.target().length, 0);
});

t.test('a blob of another size than the stub is refused, both sizes named', async (t) => {
  const sizes: readonly (readonly [number, number])[] = [
    [size, size + 1],
    [size, size - 1],
    [size, 0],
    [1, 0],
    [1, 70_000],
    [0, 1],
  ];
  for (const [expected, actual] of sizes) {
    const at = await openBench(t);
    at.server.put('blob', pattern(actual));
    await t.rejects(at.download({ sizeBytes: expected }), {
      code: 'SIZE_MISMATCH',
      errno: 5,
      message: new RegExp(` ${actual} bytes .* ${expected}\\.`),
    });
    t.equal(at.target().length, 0, 'nothing written');
    t.equal(at.server.requests.length, 1, 'one request told it');
  }
});

t.test('page and append blobs are refused before a byte is written', async (t) => {
  for (const type of ['PageBlob', 'AppendBlob']) {
    const at = await openBench(t);
    at.server.put('blob', content, { type });
    await t.rejects(at.download({ sizeBytes: size }), {
      code: 'NOT_BLOCK_BLOB',
      errno: 5,
      message: new RegExp(type),
    });
    t.equal(at.target().length, 0);
  }
});

t.test('a small file is one request, an empty one too', async (t) => {
  for (const bytes of [0, 1, 4096, 64 * KIB]) {
    const at = await openBench(t);
    at.server.put('blob', pattern(bytes), { tier: 'Cool', metadata: { Owner: '5' } });
    const headers = await at.download({ sizeBytes: bytes });
    t.match(headers, { sizeBytes: bytes, accessTier: 'Cool', metadata: { owner: '5' } });
    t.ok(at.target().equals(pattern(bytes)));
    t.equal(at.server.requests.length, 1);
    t.equal(at.counters.firstByteMs !== undefined, bytes > 0);
  }
});

t.test(
  'a service that does not answer is asked for as long as retryForMs says, beyond the tries',
  async (t) => {
    const content = pattern(KIB);
    const at = await openBench(t, { maxTries: 8, retryForMs: 60_000 });
    at.server.put('blob', content);
    at.server.inject('Get Blob', { resetAfter: 0 }, 10);
    await at.download({ sizeBytes: content.length });
    t.ok(at.target().equals(content));
    t.equal(at.counters.retries, 10);
  },
);

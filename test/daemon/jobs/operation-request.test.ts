import fc from 'fast-check';
import t from 'tap';
import { parseOperationRequest } from '../../../daemon/jobs/operation-request.js';
import { LhsmError } from '../../../native-bindings/errors.js';

t.test('wishes are completed', (t) => {
  t.same(parseOperationRequest({ kind: 'restore', paths: ['/mnt/a'] }), {
    kind: 'restore',
    paths: ['/mnt/a'],
    newestFirst: false,
  });
  const list = { kind: 'restore', filesFrom: '/tmp/list', window: 100_000, bytesLimit: 0, newestFirst: true };
  t.same(parseOperationRequest(list), { paths: [], ...list });
  t.same(parseOperationRequest({ kind: 'release', paths: ['a'], olderThanSeconds: 60, minSizeBytes: 5 }), {
    kind: 'release',
    paths: ['a'],
    olderThanSeconds: 60,
    minSizeBytes: 5,
    dryRun: false,
  });
  t.same(parseOperationRequest({ kind: 'verify', paths: ['a'], content: true }), {
    kind: 'verify',
    paths: ['a'],
    content: true,
    repair: false,
  });
  t.end();
});

t.test('everything wrong is named at once, with what is allowed', (t) => {
  const bad: readonly [body: unknown, message: RegExp][] = [
    [undefined, /the body must be \{"kind": …\}, with one of restore, release, verify/],
    [{ kind: 'restor' }, /the body must be/],
    [{ kind: 'restore' }, /paths or filesFrom must be given, and not both/],
    [{ kind: 'restore', paths: ['a'], filesFrom: '/l' }, /and not both/],
    [{ kind: 'restore', filesFrom: 'l' }, /filesFrom must be the absolute path/],
    [{ kind: 'restore', paths: ['a'], window: 0 }, /window must be a whole number from 1 to 100000/],
    [{ kind: 'restore', paths: ['a'], window: 100_001 }, /window must be/],
    [{ kind: 'restore', paths: ['a'], bytesLimit: -1 }, /bytesLimit must be a whole number of bytes/],
    [
      { kind: 'restore', paths: ['a'], newestfirst: true },
      /newestfirst is no key of a restore: did you mean newestFirst\?/,
    ],
    [{ kind: 'release', paths: [] }, /paths must be a list of 1 to 1000 paths/],
    [{ kind: 'release', paths: ['a\0'] }, /paths must be paths of 1 to 4096 bytes/],
    [
      { kind: 'release', paths: ['a'], olderThanSeconds: 0.5, dryRun: 1, colour: 'red' },
      /olderThanSeconds must be whole seconds.*; dryRun must be true or false; colour is no key of a release: known are kind, paths/,
    ],
    [{ kind: 'verify', paths: ['a'], repair: 'yes' }, /repair must be true or false/],
  ];
  for (const [body, message] of bad) {
    t.throws(() => parseOperationRequest(body), { code: 'BAD_REQUEST', message }, JSON.stringify(body));
  }
  t.end();
});

t.test('whatever comes is taken or refused, never anything else', (t) => {
  const kind = fc.constantFrom('restore', 'release', 'verify', 'other');
  const keys = fc.constantFrom('paths', 'filesFrom', 'window', 'bytesLimit', 'content', 'dryRun', 'x');
  fc.assert(
    fc.property(kind, fc.dictionary(keys, fc.jsonValue()), (which, rest) => {
      try {
        const request = parseOperationRequest({ ...rest, kind: which });
        return request.kind === which;
      } catch (error) {
        return error instanceof LhsmError && error.code === 'BAD_REQUEST';
      }
    }),
  );
  t.end();
});

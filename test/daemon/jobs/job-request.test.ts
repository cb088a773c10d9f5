import fc from 'fast-check';
import t from 'tap';
import { isJobName, jobSpec, parseJobRequest, type SpecContext } from '../../../daemon/jobs/job-request.js';

const context: SpecContext = {
  archiveIds: [1],
  mount: '/mnt/lustre',
  window: 3000,
  now: new Date('2026-11-27T22:15:00.123Z'),
};
const specOf = (body: object, more: Partial<SpecContext> = {}) =>
  jobSpec(parseJobRequest(body), { ...context, ...more });

t.test('a wish that says nothing but its kind', (t) => {
  t.same(specOf({ kind: 'import' }), {
    kind: 'import',
    name: 'import-20261127T221500123Z',
    archiveId: 1,
    prefixes: ['/'],
    conflictMode: 'fail',
    maximumErrors: 0,
    dryRun: false,
    attributesOnly: false,
    logItems: false,
  });
  t.same(specOf({ kind: 'export' }), {
    kind: 'export',
    name: 'export-20261127T221500123Z',
    archiveId: 1,
    path: '/',
    maximumErrors: 0,
    dryRun: false,
    logItems: false,
    window: 3000,
  });
  t.end();
});

t.test('a wish that says everything', (t) => {
  const all = {
    name: 'Night_1',
    archiveId: 7,
    maximumErrors: -1,
    dryRun: true,
    logItems: true,
  };
  const one = { ...all, kind: 'import', prefixes: ['/a/', 'b'], conflictMode: 'skip', attributesOnly: true };
  t.same(specOf(one, { archiveIds: [1, 7] }), one);
  const two = { ...all, kind: 'export', path: '/a', window: 100_000 };
  t.same(specOf(two, { archiveIds: [1, 7] }), two);
  t.end();
});

t.test("conflict modes by the documents' names and the API's", (t) => {
  const modes: readonly [string, string][] = [
    ['Fail', 'fail'],
    ['SKIP', 'skip'],
    ['overwrite-dirty', 'overwrite-dirty'],
    ['OverwriteIfDirty', 'overwrite-dirty'],
    ['overwrite-always', 'overwrite-always'],
    ['overwritealways', 'overwrite-always'],
  ];
  for (const [conflictMode, wanted] of modes) {
    t.match(specOf({ kind: 'import', conflictMode }), { conflictMode: wanted }, conflictMode);
  }
  t.end();
});

t.test('what is refused, and what is allowed instead', (t) => {
  const bad: readonly [body: unknown, message: RegExp][] = [
    [undefined, /the body must be \{"kind": …\}, with one of import, export/],
    [[], /the body must be/],
    [{ kind: 'restore' }, /one of import, export/],
    [{ kind: 'import', prefixs: ['/'] }, /prefixs is no key of an import: did you mean prefixes\?/],
    [{ kind: 'export', conflictMode: 'skip' }, /conflictMode is no key of an export: known are kind, name/],
    [{ kind: 'import', name: 'x' }, /name must be 2 to 80/],
    [{ kind: 'import', name: '../etc' }, /name must be/],
    [{ kind: 'import', name: 3 }, /name must be/],
    [{ kind: 'import', archiveId: 0 }, /archiveId must be a whole number from 1/],
    [{ kind: 'import', archiveId: '1' }, /archiveId must be a whole number/],
    [{ kind: 'import', maximumErrors: -2 }, /maximumErrors must be a whole number from 0 up, or -1/],
    [{ kind: 'import', maximumErrors: 1.5 }, /maximumErrors must be/],
    [{ kind: 'import', dryRun: 'yes' }, /dryRun must be true or false/],
    [{ kind: 'import', prefixes: '/' }, /prefixes must be a list/],
    [{ kind: 'import', prefixes: [] }, /prefixes must be a list of 1 to 100/],
    [{ kind: 'import', prefixes: Array.from({ length: 101 }, (_, at) => `p${at}/`) }, /prefixes must be/],
    [{ kind: 'import', prefixes: [''] }, /prefixes must be a text of 1 to/],
    [
      { kind: 'import', conflictMode: 'overwrite-dirt' },
      /conflictMode must be one of fail, skip, overwrite-dirty, overwrite-always: did you mean overwrite-dirty\?/,
    ],
    [{ kind: 'import', conflictMode: 'toString' }, /must be one of/],
    [{ kind: 'import', conflictMode: 7 }, /must be one of fail, skip, overwrite-dirty, overwrite-always$/],
    [{ kind: 'export', path: '/a/../b' }, /path must be a path below the mount/],
    [{ kind: 'export', path: '' }, /path must be/],
    [{ kind: 'export', path: 'a\0' }, /path must be/],
    [{ kind: 'export', window: 0 }, /window must be a whole number from 1 to 100000/],
    [{ kind: 'export', window: 0, dryRun: 1 }, /dryRun must be .*; window must be/],
  ];
  for (const [body, message] of bad) {
    t.throws(() => parseJobRequest(body), { code: 'BAD_REQUEST', errno: 22, message }, String(message));
  }
  t.end();
});

t.test('names of jobs', (t) => {
  for (const name of ['a1', 'A_b-9', 'x'.repeat(80), 'import-20261127T221500Z']) t.ok(isJobName(name), name);
  for (const name of ['', 'a', '-a', 'a-', '_a', 'a_', 'x'.repeat(81), 'a.b', 'a/b', 'ä1', 'a b', 'ab\n']) {
    t.notOk(isJobName(name), name);
  }
  t.end();
});

t.test('the archive id must be clear', (t) => {
  const id = (archiveIds: readonly number[], archiveId?: number) =>
    specOf({ kind: 'import', ...(archiveId !== undefined && { archiveId }) }, { archiveIds }).archiveId;
  t.equal(id([3]), 3);
  t.equal(id([3, 4], 4), 4);
  t.equal(id([0], 4), 4);
  t.equal(id([0, 3], 4), 4);
  for (const [ids, wish, hint] of [
    [[3, 4], undefined, /archive ids: 3, 4\. Name one/],
    [[3, 4], 5, /archive ids: 3, 4\./],
    [[0], undefined, /archive ids: any other number/],
    [[3, 0], undefined, /archive ids: 3, or any other number/],
  ] as const) {
    t.throws(() => id(ids, wish), { code: 'JOB_SPEC', hint });
  }
  t.end();
});

t.test('overlapping prefixes', (t) => {
  const refused = (prefixes: readonly string[]): boolean => {
    try {
      specOf({ kind: 'import', prefixes });
      return false;
    } catch (error) {
      t.match(error, { code: 'PREFIXES_OVERLAP' });
      return true;
    }
  };
  t.ok(refused(['/data', '/data2']));
  t.ok(refused(['/', 'x']));
  t.ok(refused(['data', '/data']));
  t.ok(refused(['/z', '/data/a', '/data']));
  t.notOk(refused(['/data/', '/data2/']));
  t.notOk(refused(['a', 'B', 'ä']));
  const prefix = fc.stringMatching(/^\/?[ab/]{1,4}$/);
  fc.assert(
    fc.property(fc.array(prefix, { minLength: 1, maxLength: 6 }), (prefixes) => {
      const bare = prefixes.map((text) => text.replace(/^\/+/, ''));
      const overlap = bare.some((a, at) => bare.some((b, other) => at !== other && b.startsWith(a)));
      return refused(prefixes) === overlap;
    }),
  );
  t.end();
});

t.test('the path of an export is below the mount, however it is written', (t) => {
  const path = (given: string, mount = '/mnt/lustre') => {
    const spec = specOf({ kind: 'export', path: given }, { mount });
    return spec.kind === 'export' ? spec.path : '';
  };
  t.equal(path('/mnt/lustre'), '/');
  t.equal(path('/mnt/lustre/'), '/');
  t.equal(path('/mnt/lustre/a//b/'), '/a/b');
  t.equal(path('/mnt/lustre2'), '/mnt/lustre2');
  t.equal(path('a/./b'), '/a/b');
  t.equal(path('/a'), '/a');
  t.equal(path('/'), '/');
  t.equal(path('/a', '/'), '/a');
  t.end();
});

t.test('no body makes it throw anything else', (t) => {
  fc.assert(
    fc.property(fc.record({ kind: fc.constantFrom('import', 'export') }), fc.object(), (kind, rest) => {
      try {
        specOf({ ...rest, ...kind });
        return true;
      } catch (error) {
        return ['BAD_REQUEST', 'JOB_SPEC', 'PREFIX_INVALID', 'PREFIXES_OVERLAP'].includes(
          (error as { code?: string }).code ?? '',
        );
      }
    }),
  );
  t.end();
});

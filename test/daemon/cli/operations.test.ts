// The commands of operations against an admin API whose operations are scripted, with a clock that nobody waits for.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import type { Io } from '../../../daemon/cli/io.js';
import type { OperationDocument, OperationState } from '../../../daemon/jobs/operation.js';
import { LhsmError } from '../../../native-bindings/errors.js';
import { serveControl } from '../control/fake-control.js';
import { operationOf } from '../control/fake-operations.js';
import { cli, FakeClock } from './fake-io.js';

async function setUp(t: Test) {
  const { control, dir, socket } = await serveControl(t);
  const clock = new FakeClock();
  return {
    operations: control.operations,
    clock,
    dir,
    cli: (line: string, changes: Partial<Io> = {}) =>
      cli(line.split(' '), { LHSM_AZBLOB_SOCKET: socket }, { clock, ...changes }),
  };
}

const RESTORE = operationOf({ kind: 'restore', paths: ['/mnt/lustre/a'], newestFirst: false });
const VERIFY = operationOf({ kind: 'verify', paths: ['/mnt/lustre/a'], content: false, repair: false });

function over(from: OperationDocument, state: OperationState, more: Partial<OperationDocument> = {}) {
  return { ...from, state, message: 'Over.', endedTime: '2026-11-27T22:18:05.000Z', ...more };
}

t.test(
  'the commands say all that they are told; relative paths begin at the working directory',
  async (t) => {
    const { operations, cli } = await setUp(t);
    t.match(await cli('restore a /mnt/lustre/b --window 500 --bytes-limit 10GiB --newest-first'), {
      code: 0,
      out: 'restore-1 has begun.\nWatch it: lhsm-azblob operations watch restore-1\n',
    });
    await cli('release . ../b/../c --older-than 30d --min-size 1M --dry-run --no-wait');
    await cli('verify x --content --repair --no-wait --json');
    t.same(operations.asked, [
      {
        kind: 'restore',
        paths: ['/mnt/lustre/home/a', '/mnt/lustre/b'],
        window: 500,
        bytesLimit: 10 * 2 ** 30,
        newestFirst: true,
      },
      {
        kind: 'release',
        paths: ['/mnt/lustre/home/.', '/mnt/lustre/home/../b/../c'],
        olderThanSeconds: 30 * 86_400,
        minSizeBytes: 2 ** 20,
        dryRun: true,
      },
      { kind: 'verify', paths: ['/mnt/lustre/home/x'], content: true, repair: true },
    ]);
  },
);

t.test('a list is put where the daemon can read it', async (t) => {
  const { operations, cli, dir } = await setUp(t);
  operations.folder = path.join(dir, 'state', 'operations');
  writeFileSync(path.join(dir, 'l'), 'a\nb\n');
  t.match(await cli(`restore --files-from ${path.join(dir, 'l')}`), { code: 0 });
  const [name = ''] = readdirSync(operations.folder);
  const copy = path.join(operations.folder, name);
  t.equal(readFileSync(copy, 'utf8'), 'a\nb\n');
  t.match(operations.asked, [{ kind: 'restore', paths: [], filesFrom: copy }]);
  t.match(await cli('restore --files-from none'), { code: 2, err: /none cannot be handed.*ENOENT/ });
  mkdirSync(path.join(dir, 'x'));
  t.notOk(existsSync(path.join(operations.folder, 'none')));
});

t.test('the exit status of everything that waits', async (t) => {
  const { operations, cli } = await setUp(t);
  const ends: readonly [OperationState, number][] = [
    ['complete', 0],
    ['partial', 3],
    ['failed', 4],
    ['canceled', 5],
  ];
  for (const [state, code] of ends) {
    for (const [line, document] of [
      ['restore a --wait', RESTORE],
      ['verify a', VERIFY],
      ['operations watch verify-1', VERIFY],
      ['operations cancel verify-1 --wait', VERIFY],
    ] as const) {
      operations.looks = [document, over(document, state)];
      t.match(await cli(line), { code, err: '', out: new RegExp(`-1: ${state}\\n`) }, `${line} ${state}`);
      operations.looks = [document, over(document, state)];
      const { code: jsonCode, out } = await cli(`${line} --json`);
      t.equal(jsonCode, code);
      t.match(JSON.parse(line.includes('watch') ? (out.trim().split('\n').at(-1) ?? '') : out), { state });
    }
    operations.looks = [over(VERIFY, state)];
    t.match(await cli('operations cancel verify-1'), { code: 0, out: `verify-1 is over: ${state}.\n` });
    t.match(await cli('operations show verify-1'), { code: 0 });
  }
});

t.test('findings are printed, all of them', async (t) => {
  const { operations, cli } = await setUp(t);
  const finding = {
    time: '2026-11-27T22:16:00.000Z',
    severity: 'error',
    code: 'BLOB_MISSING',
    path: 'a/b\u001b[2J',
    message: 'The blob is not there.',
    hint: 'Undelete it.',
    repaired: 'marked lost',
  } as const;
  operations.lines = Array.from({ length: 200 }, (_, at) => ({ ...finding, path: `${finding.path}${at}` }));
  operations.looks = [over(VERIFY, 'partial', { findingCount: 200, findings: [finding] })];
  const { out } = await cli('verify a');
  t.equal(out.match(/^ERROR BLOB_MISSING a\/b/gm)?.length, 200);
  t.match(out, 'ERROR BLOB_MISSING a/b\\x1b[2J7: The blob is not there. (marked lost) Undelete it.\n');
  t.match(
    (await cli('operations show verify-1')).out,
    /200 findings, all of them in .*The last findings\nERROR/s,
  );
  t.match((await cli('operations log verify-1')).out.split('\n')[199] ?? '', /"path":"a\/b\\u001b\[2J199"/);
  const dryRun = operationOf({ kind: 'release', paths: ['a'], dryRun: true });
  operations.lines = [
    { severity: 'item', code: 'WOULD_RELEASE', path: 'a', message: 'would be released: 5 bytes' },
  ];
  operations.looks = [over(dryRun, 'complete')];
  t.match((await cli('release a --dry-run')).out, /^ITEM WOULD_RELEASE a: would be released: 5 bytes\n/);
});

t.test('progress: a line that changes on a terminal, and one now and then elsewhere', async (t) => {
  const { operations, cli } = await setUp(t);
  const going = {
    ...RESTORE,
    counts: { done: 1200, discovered: 5000, failed: 2, outstanding: 256 },
    rates: { files: 930.4, bytes: 2 ** 30 },
    etaSeconds: 90,
  };
  const line =
    'restore-1  running  restored 1,200  of 5,000  failed 2  at the coordinator 256  930 files/s  1.0 GiB/s  ETA 1 min 30 s';
  operations.looks = [...Array.from({ length: 15 }, () => going), over(RESTORE, 'complete')];
  const plain = await cli('restore a --wait');
  t.equal(plain.out.split(line).length - 1, 2, 'two lines in fourteen seconds');
  operations.looks = [going, over(RESTORE, 'complete')];
  const terminal = await cli('restore a --wait', { terminal: true, columns: () => 40 });
  t.match(terminal.out, `\r\u001b[K${line.slice(0, 39)}\r\u001b[K`);
});

t.test('Ctrl-C ends a verify, and leaves a restore running', async (t) => {
  const { operations, clock, cli } = await setUp(t);
  for (const line of ['restore a --wait', 'operations watch restore-1']) {
    const stop = new AbortController();
    clock.sleeps = 0;
    clock.onSleep = () => {
      stop.abort();
    };
    operations.looks = [RESTORE];
    t.match(await cli(line, { signal: stop.signal }), {
      code: 130,
      err: /restore-1 goes on\. Watch it: lhsm-azblob operations watch restore-1; end it: .* cancel restore-1/,
    });
  }
  t.notMatch(operations.asked, [{ cancel: String }]);
  const stop = new AbortController();
  clock.onSleep = () => {
    stop.abort();
  };
  operations.looks = [VERIFY];
  operations.onCancel = () => {
    operations.looks = [
      { ...VERIFY, state: 'canceling' },
      { ...VERIFY, state: 'canceling' },
      over(VERIFY, 'canceled'),
    ];
  };
  t.match(await cli('verify a', { signal: stop.signal }), { code: 5, out: /verify-1: canceled/ });
  t.match(operations.asked.at(-1), { cancel: 'verify-1' });
});

t.test('refusals', async (t) => {
  const { operations, cli } = await setUp(t);
  for (const line of ['restore', 'release', 'verify', 'restore a --files-from l', 'restore a --window x'])
    t.match(await cli(line), { code: 2 }, line);
  t.match(await cli('release a --older-than 7'), { code: 2, err: /Write a duration as/ });
  t.match(await cli('release a --min-size big'), { code: 2, err: /Write a size as/ });
  t.match(await cli('restore a --window 0'), { code: 2, err: /window must be a whole number from 1/ });
  t.match(await cli('operations show verify-7'), { code: 1, err: /There is no operation verify-7/ });
  t.match(await cli('operations show ..'), { code: 2, err: /no id of an operation/ });
  for (const [code, status] of [
    ['PATH_OUTSIDE_MOUNT', 2],
    ['PATH_UNUSABLE', 2],
    ['OPERATIONS_BUSY', 1],
    ['NOT_SERVING', 1],
  ] as const) {
    operations.failure = new LhsmError('no', { code, op: 'start' });
    t.match(await cli('verify a'), { code: status, err: /no/ }, code);
  }
});

t.test('the list', async (t) => {
  const { operations, cli } = await setUp(t);
  t.match(await cli('operations list'), { code: 0, out: 'There are no operations.\n' });
  operations.known = [{ ...RESTORE, counts: { done: 12 } }, over(VERIFY, 'partial', { findingCount: 3 })];
  const { out } = await cli('operations list');
  t.match(out, /restore-1 +running +\S+ +12 +0 +\/mnt\/lustre\/a/);
  t.match(out, /verify-1 +partial +\S+ +0 +3 +Over\./);
  t.match(JSON.parse((await cli('operations list --json')).out), { operations: [{ id: 'restore-1' }, {}] });
});

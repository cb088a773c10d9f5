// The commands of jobs against an admin API whose jobs are scripted, with a clock that nobody waits for.
import { rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import t, { type Test } from 'tap';
import { ExitCode, type Io } from '../../../daemon/cli/io.js';
import { adminSocket } from '../../../daemon/config/mount-name.js';
import { startAdmin } from '../../../daemon/control/admin.js';
import type { JobDocument, JobState } from '../../../daemon/jobs/job.js';
import { parseJobRequest } from '../../../daemon/jobs/job-request.js';
import { LhsmError } from '../../../native-bindings/errors.js';
import { FakeControl, fakeMetrics, shortDir } from '../control/fake-control.js';
import { documentOf, EXPORT_COUNTS, IMPORT_COUNTS, unknownJob } from '../control/fake-jobs.js';
import { cli, FakeClock } from './fake-io.js';

async function setUp(t: Test) {
  const control = new FakeControl();
  const metrics = fakeMetrics(control);
  const socket = adminSocket(shortDir(t), '/mnt/lustre');
  const start = () => startAdmin({ socket, control, metrics });
  const daemon = { server: await start() };
  t.teardown(async () => {
    await daemon.server.close();
    metrics.close();
  });
  const clock = new FakeClock();
  return {
    jobs: control.jobs,
    clock,
    socket,
    /** What the service manager does. */
    stop: () => daemon.server.close(),
    restart: async () => {
      daemon.server = await start();
    },
    cli: (line: string, changes: Partial<Io> = {}) =>
      cli(line.split(' '), { LHSM_AZBLOB_SOCKET: socket }, { clock, ...changes }),
  };
}

const AN_IMPORT = documentOf(parseJobRequest({ kind: 'import', name: 'night' }));
const AN_EXPORT = documentOf(parseJobRequest({ kind: 'export', name: 'day' }));

function ended(state: JobState, more: Partial<JobDocument> = {}): JobDocument {
  const end = '2026-11-27T22:18:05.000Z';
  return { ...AN_IMPORT, state, updatedTime: end, lastCompletionTime: end, statusMessage: 'Over.', ...more };
}

const walking = (walked: number, more: Partial<JobDocument> = {}): JobDocument => ({
  ...AN_IMPORT,
  counts: { ...IMPORT_COUNTS, totalBlobsWalked: walked, totalBlobsImported: walked - 10, totalConflicts: 3 },
  rates: { totalBlobsWalked: 2500.4, totalBlobsImported: 2400 },
  ...more,
});

t.test('import start says all that it is told', async (t) => {
  const { jobs, cli } = await setUp(t);
  t.match(await cli('import start'), {
    code: 0,
    out: 'The import import-20261127T221500000Z has begun.\nWatch it: lhsm-azblob jobs watch import-20261127T221500000Z\n',
    err: '',
  });
  await cli(
    'import start --archive-id 1 --prefix /a/ --prefix b --conflict OverwriteIfDirty --max-errors -1 --dry-run --attributes-only --log-items --name night',
  );
  const nothing = {
    kind: 'import',
    prefixes: ['/'],
    conflictMode: 'fail',
    maximumErrors: 0,
    dryRun: false,
    attributesOnly: false,
    logItems: false,
  };
  t.same(jobs.asked, [
    nothing,
    {
      kind: 'import',
      name: 'night',
      archiveId: 1,
      prefixes: ['/a/', 'b'],
      conflictMode: 'overwrite-dirty',
      maximumErrors: -1,
      dryRun: true,
      attributesOnly: true,
      logItems: true,
    },
  ]);
  t.match(JSON.parse((await cli('import start --json')).out), { kind: 'import', state: 'InProgress' });
});

t.test('export start says all that it is told', async (t) => {
  const { jobs, cli } = await setUp(t);
  t.match(await cli('export start'), {
    code: 0,
    out: /^The export export-20261127T221500000Z has begun\.\n/,
  });
  await cli(
    'export start dir/sub --archive-id 1 --window 50 --max-errors 3 --dry-run --log-items --name day',
  );
  t.same(jobs.asked, [
    { kind: 'export', path: '/', maximumErrors: 0, dryRun: false, logItems: false },
    {
      kind: 'export',
      name: 'day',
      archiveId: 1,
      path: 'dir/sub',
      maximumErrors: 3,
      dryRun: true,
      logItems: true,
      window: 50,
    },
  ]);
});

t.test('the exit status of everything that waits', async (t) => {
  const { jobs, cli } = await setUp(t);
  const ends: readonly [JobState, number][] = [
    ['Completed', 0],
    ['CompletedPartial', 3],
    ['Failed', 4],
    ['Canceled', 5],
  ];
  for (const [state, code] of ends) {
    for (const line of [
      'import start --wait --name night',
      'export start --wait --name night',
      'jobs watch night',
    ]) {
      jobs.looks = [walking(10), ended(state)];
      t.match(
        await cli(line),
        { code, err: '', out: new RegExp(`import night: ${state}\\n`) },
        `${line} ${state}`,
      );
      jobs.looks = [walking(10), ended(state)];
      const { code: jsonCode, out } = await cli(`${line} --json`);
      t.equal(jsonCode, code, `${line} --json ${state}`);
      t.match(JSON.parse(line.startsWith('jobs') ? (out.trim().split('\n').at(-1) ?? '') : out), { state });
    }
    jobs.looks = [walking(10), walking(10), ended(state)];
    t.match(await cli('jobs cancel night --wait'), { code }, `cancel ${state}`);
    jobs.looks = [ended(state)];
    t.match(await cli('jobs cancel night'), { code: 0, out: `The job night is over already: ${state}.\n` });
    t.match(await cli('jobs show night'), { code: 0 }, `show ${state}`);
  }
});

t.test('the exit status of everything that is refused', async (t) => {
  const { jobs, cli, stop } = await setUp(t);
  const refusal = (code: string) =>
    new LhsmError(`refused: ${code}`, { code, op: 'start', hint: 'Mend it.' });
  for (const [code, status] of [
    ['JOB_RUNNING', 6],
    ['LOGGING_CONTAINER_UNSET', 1],
    ['JOB_SPEC', 2],
    ['BAD_REQUEST', 2],
  ] as const) {
    jobs.failure = refusal(code);
    for (const line of ['import start', 'export start --wait', 'jobs cancel night']) {
      t.match(await cli(line), {
        code: status,
        out: '',
        err: `lhsm-azblob: refused: ${code} (${code})\nMend it.\n`,
      });
    }
  }
  jobs.failure = undefined;
  for (const line of ['jobs show night', 'jobs watch night', 'jobs cancel night', 'jobs log night']) {
    t.match(await cli(line), { code: 1, out: '', err: /there is no job/ }, line);
  }
  for (const line of [
    'import start --max-errors many',
    'import start --archive-id 1.5',
    'import start --archive-id 0',
    'import start --conflict overwrite',
    'import start --prefix /data --prefix /data2',
    'import start --name x',
    'import start --window 3',
    'import begin',
    'export start --window 0',
    'export start a/../b',
    'export start a b',
    'jobs list --limit 0',
    'jobs list --limit few',
    'jobs show',
    'jobs show ../lock',
    'jobs log night --format xml',
    'jobs log night --format csv --json',
    'jobs wach night',
  ]) {
    t.match(await cli(line), { code: 2, out: '', err: /./ }, line);
  }
  await stop();
  for (const line of ['import start --wait', 'jobs list', 'jobs log night']) {
    t.match(await cli(line), { code: 7, out: '', err: /no daemon answers/ }, line);
  }
});

t.test('jobs list and show', async (t) => {
  const { jobs, cli, clock } = await setUp(t);
  t.match(await cli('jobs list'), { code: 0, out: 'There are no jobs.\n' });
  jobs.known = [walking(12_345), { ...AN_EXPORT, state: 'Failed' }];
  const { out } = await cli('jobs list --limit 5');
  t.match(out, /night +import +InProgress +2026-11-27T22:15:00\.000Z +node7 +12,335 +0\n/);
  t.match(out, /day +export +Failed/);
  t.match(jobs.asked.at(-1), { list: 5 });
  t.match(JSON.parse((await cli('jobs list --json')).out), { jobs: [{ name: 'night' }, { name: 'day' }] });

  jobs.looks = [walking(12_345, { resumes: 1 })];
  const running = await cli('jobs show night');
  for (const part of [
    'import night: InProgress\nGoing on.\n',
    'archive 1, prefixes /, conflict mode fail, 0 errors allowed\n',
    'started 2026-11-27T22:15:00.000Z on node7 (/mnt/lustre, pid 4711), for 30.0 s, taken up again 1 time\n',
    'InProgress  walked 12,345 (2,500/s)  imported 12,335 (2,400/s)  conflicts 3  errors 0\n',
    /blobs walked +12,345 +2,500\/s\n/,
  ]) {
    t.match(running.out, part);
  }
  t.notMatch(running.out, /Nothing new/);
  clock.nowMs += 600_000;
  t.match((await cli('jobs show night')).out, /Nothing new for 10 min 30 s: its daemon on node7 may be down/);

  jobs.looks = [ended('Failed', { errorCode: 'ENOSPC', errorMessage: 'the MDT is full\u001b[2J' })];
  const failed = await cli('jobs show night');
  t.match(failed.out, 'ENOSPC: the MDT is full\\x1b[2J\n', 'texts cannot command the terminal');
  t.match(failed.out, 'ended 2026-11-27T22:18:05.000Z after 3 min 5 s');
  t.notMatch(failed.out, /\/s/, 'what is over has no pace');
  t.match(JSON.parse((await cli('jobs show night --json')).out), { errorCode: 'ENOSPC' });
});

t.test('watch off a terminal: a line now and then, and at every change of state', async (t) => {
  const { jobs, cli } = await setUp(t);
  jobs.looks = [
    ...Array.from({ length: 10 }, (_, at) => walking(1000 * (at + 1))),
    walking(11_000, { state: 'Cancelling' }),
    ended('Canceled'),
  ];
  const { out } = await cli('jobs watch night');
  const [lines = '', end = ''] = out.split('import night: Canceled');
  // Looks two seconds apart.
  t.same(
    [...lines.matchAll(/ {2}(\w+) {2}walked ([\d,]+)/g)].map(([, state, walked]) => `${state} ${walked}`),
    ['InProgress 1,000', 'InProgress 6,000', 'Cancelling 11,000'],
  );
  t.notOk(out.includes('\r') || out.includes('\u001b'));
  t.match(end, /blobs walked/);
});

t.test('watch on a terminal: one line that changes, with a bar where the end is known', async (t) => {
  const { jobs, cli } = await setUp(t);
  const half: JobDocument = {
    ...AN_EXPORT,
    counts: {
      ...EXPORT_COUNTS,
      totalFilesDiscovered: 2000,
      totalFilesExported: 1000,
      totalBytesExported: 3 * 2 ** 30,
      totalFilesFailed: 2,
    },
    rates: { totalBytesExported: 1.5 * 2 ** 30 },
    percentComplete: 45.26,
    etaSeconds: 185,
  };
  jobs.looks = [
    half,
    half,
    { ...ended('Completed'), kind: 'export', spec: AN_EXPORT.spec, counts: EXPORT_COUNTS },
  ];
  const { code, out } = await cli('jobs watch day', { terminal: true, columns: () => 200 });
  t.equal(code, 0);
  const line =
    '\r\u001b[K[#########-----------] 45.3 %  InProgress  exported 1,000 of 2,000 files  3.0 GiB (1.5 GiB/s)  failed 2  errors 0  ETA 3 min 5 s';
  t.ok(out.startsWith(`${line}${line}\r\u001b[Kexport night: Completed\n`), out);
  jobs.looks = [half, ended('Completed')];
  const narrow = await cli('jobs watch day', { terminal: true, columns: () => 40 });
  t.equal(narrow.out.split('\r\u001b[K')[1], line.slice(4, 43), 'never broken in two');
});

t.test('watch --json: a line whenever something is new', async (t) => {
  const { jobs, cli } = await setUp(t);
  jobs.looks = [walking(1000), walking(1000), walking(2000), ended('CompletedPartial')];
  const { code, out } = await cli('jobs watch night --json');
  t.equal(code, 3);
  const lines = out.trim().split('\n');
  t.equal(lines.length, 3);
  t.match(
    lines.map((line) => (JSON.parse(line) as JobDocument).state),
    ['InProgress', 'InProgress', 'CompletedPartial'],
  );
});

t.test('Ctrl-C leaves the job running and says so', async (t) => {
  const { jobs, cli, clock } = await setUp(t);
  for (const line of [
    'jobs watch night',
    'import start --wait --name night',
    'jobs cancel night --wait --json',
  ]) {
    const stop = new AbortController();
    clock.onSleep = () => {
      stop.abort();
    };
    jobs.looks = [walking(1000)];
    t.match(
      await cli(line, { signal: stop.signal }),
      { code: ExitCode.INTERRUPTED, err: /^The job night goes on\. Watch it: .* jobs watch night; .*\n$/ },
      line,
    );
  }
  t.notMatch(
    jobs.asked.filter((asked) => JSON.stringify(asked).includes('cancel')),
    { length: 2 },
    'only the cancel has canceled',
  );
});

t.test('Ctrl-C before the job runs', async (t) => {
  const { jobs, cli } = await setUp(t);
  const stop = new AbortController();
  jobs.startable = new Promise(() => undefined);
  const command = cli('import start', { signal: stop.signal });
  while (jobs.asked.length === 0) await new Promise(setImmediate);
  stop.abort();
  t.match(await command, { code: 130, out: '', err: /Broken off before the job ran\. .*jobs list\n/ });
});

t.test('watch survives a restart of the daemon', async (t) => {
  const { jobs, cli, clock, stop, restart } = await setUp(t);
  clock.onSleep = async (count) => {
    if (count === 1) await stop();
    if (count === 20) await restart();
  };
  jobs.looks = [
    walking(1000),
    new LhsmError('not yet', { code: 'NOT_SERVING', op: 'jobs' }),
    walking(2000),
    ended('Completed'),
  ];
  const { code, err, out } = await cli('jobs watch night');
  t.equal(code, 0);
  t.match(
    err,
    /^lhsm-azblob: no daemon answers on .*; asking again for a minute\.\nlhsm-azblob: The daemon answers again\.\n$/,
  );
  t.match(out, /walked 2,000/);
});

t.test('a daemon that stays away for a minute is given up', async (t) => {
  const { jobs, cli, clock, stop } = await setUp(t);
  clock.onSleep = async (count) => {
    if (count === 1) await stop();
  };
  jobs.looks = [walking(1000)];
  const begun = clock.nowMs;
  t.match(await cli('jobs watch night'), { code: 7, err: /asking again.*\nlhsm-azblob: no daemon answers/ });
  t.ok(clock.nowMs - begun >= 60_000);
  t.ok(clock.nowMs - begun < 70_000);
});

t.test('what no waiting mends ends the watch at once', async (t) => {
  const { jobs, cli, clock } = await setUp(t);
  jobs.looks = [walking(1000), unknownJob('night')];
  t.match(await cli('jobs watch night'), {
    code: 1,
    err: 'lhsm-azblob: there is no job night (JOB_UNKNOWN)\n',
  });
  t.equal(clock.sleeps, 1);
});

t.test('jobs log passes a log of 50 MB on as it is read', async (t) => {
  const { jobs, cli } = await setUp(t);
  const chunk = Buffer.alloc(1 << 16, 'x');
  const total = 800;
  let made = 0;
  let taken = 0;
  let ahead = 0;
  jobs.chunks = async function* () {
    for (; made < total; made++) {
      ahead = Math.max(ahead, made * chunk.length - taken);
      await new Promise(setImmediate);
      yield chunk;
    }
  };
  const raw = async (bytes: Uint8Array): Promise<void> => {
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    taken += bytes.length;
  };
  t.match(await cli('jobs log night --format csv', { raw }), { code: 0, out: '', err: '' });
  t.equal(taken, total * chunk.length);
  t.ok(ahead < 4 * 2 ** 20, `the daemon ran ahead by ${ahead} bytes`);
  t.match(jobs.asked, [{ log: 'night', format: 'csv' }]);
});

t.test('jobs log: formats, and a log that breaks off', async (t) => {
  const { jobs, cli } = await setUp(t);
  jobs.chunks = async function* () {
    await Promise.resolve();
    yield Buffer.from('{"path":"ä"}\n');
  };
  t.match(await cli('jobs log night'), { code: 0, out: '{"path":"ä"}\n' });
  t.match(await cli('jobs log night --json'), { code: 0, out: '{"path":"ä"}\n' });
  t.match(jobs.asked, [{ format: 'jsonl' }, { format: 'jsonl' }]);
  jobs.chunks = async function* () {
    yield Buffer.from('{"a":1}\n');
    await new Promise(setImmediate);
    throw unknownJob('gone');
  };
  t.match(await cli('jobs log night'), { code: 7, err: /broke off its answer \(\w+\)\nIts log says why/ });
});

t.test('a daemon that dies while it answers', async (t) => {
  const { socket, cli, stop } = await setUp(t);
  await stop();
  await rm(socket, { force: true });
  const server = createServer((connection) => connection.once('data', () => connection.destroy()));
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  t.teardown(() => server.close());
  t.match(await cli('jobs list'), { code: 7, err: /broke off its answer/ });
});

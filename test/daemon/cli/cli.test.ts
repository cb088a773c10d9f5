import { writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import { formatBytes, formatDuration, table } from '../../../daemon/cli/format.js';
import { adminSocket } from '../../../daemon/config/mount-name.js';
import { startAdmin } from '../../../daemon/control/admin.js';
import { parseJobRequest } from '../../../daemon/jobs/job-request.js';
import { LhsmError } from '../../../native-bindings/errors.js';
import { FakeControl, fakeMetrics, shortDir, STATUS } from '../control/fake-control.js';
import { documentOf } from '../control/fake-jobs.js';
import { operationOf } from '../control/fake-operations.js';
import { cli } from './fake-io.js';

/** A daemon (its admin API at least) for each mount. */
async function setUp(t: Test, ...mounts: string[]) {
  const runDir = shortDir(t);
  const control = new FakeControl();
  for (const mount of mounts) {
    const own = mount === STATUS.mount ? control : new FakeControl();
    own.current = { ...STATUS, mount };
    const metrics = fakeMetrics(own);
    const server = await startAdmin({ socket: adminSocket(runDir, mount), control: own, metrics });
    t.teardown(async () => {
      await server.close();
      metrics.close();
    });
  }
  const env = { LHSM_AZBLOB_RUN_DIR: runDir };
  return { runDir, control, cli: (...argv: string[]) => cli(argv, env) };
}

t.test('status shows archives, lanes, what is in flight and the last errors', async (t) => {
  const { cli, control } = await setUp(t, '/mnt/lustre');
  const { code, out } = await cli('status');
  t.equal(code, 0);
  for (const part of [
    'lhsm-azblobd 1.2.3 (pid 4711), up 26 h 3 min, running',
    'mount /mnt/lustre, file system lustre: registered with the coordinator',
    'https://acct.blob.core.windows.net/cold',
    /archive +1234 +48 +1 min 5 s +12\.5 +3\.0 GiB\n/,
    /archive +20000 +1 +0 +0 +3\.0 TiB\n/,
    'In flight: 1; journal: 49 items, 8.0 KiB',
    /2\.5 s +restore, awaited +\[0x200000401:0x1:0x0\] +512 MiB of 1\.0 GiB \(50 %\) +fs1\/dir\/a file/,
    /FORBIDDEN \(EACCES\) Put Blob was refused .*Check the role\./,
  ]) {
    t.match(out, part);
  }
  t.notMatch(out, /c2VjcmV0/);
  control.current = {
    ...STATUS,
    registered: false,
    archives: STATUS.archives.map((each) => ({ ...each, ready: false, problem: 'refused' })),
    inFlight: Array.from({ length: 30 }, () => ({ ...STATUS.inFlight[0], blob: 'a\u001b[2Jb' })) as never,
  };
  const bad = await cli('status');
  t.match(bad.out, /NOT registered/);
  t.match(bad.out, /NOT READY: refused/);
  t.match(bad.out, /and 10 more/);
  t.match(bad.out, 'a\\x1b[2Jb', 'names cannot command the terminal');
});

t.test('status shows the agents of all nodes, the job and what runs', async (t) => {
  const { cli, control } = await setUp(t, '/mnt/lustre');
  t.notMatch((await cli('status')).out, /Agents|Job|Operations/);
  const job = documentOf(parseJobRequest({ kind: 'import', name: 'night' }));
  const operations = [operationOf({ kind: 'restore', paths: ['/mnt/lustre/a'], newestFirst: false })];
  control.current = { ...STATUS, job, operations };
  const agent = {
    schema: 1,
    version: '1.2.3',
    host: 'node1',
    mount: '/mnt/lustre',
    pid: 1,
    registered: true,
    archiveIds: [1, 2],
    lanes: STATUS.lanes,
    inFlight: 5,
    updatedTime: '2026-11-27T22:15:00.000Z',
    stale: false,
  } as const;
  control.others = [agent, { ...agent, host: 'node2', archiveIds: [], stale: true }];
  const { out } = await cli('status');
  t.match(out, /node1 +\/mnt\/lustre +1,2 +1234 +5 +12\.5 +3\.0 GiB +1 min 5 s +registered\n/);
  t.match(out, /node2 .* all .*SILENT since 2026-11-27T22:15:00\.000Z/);
  t.match(out, /Job\n {2}night: InProgress/);
  t.match(out, /Operations\n.*\n +restore-1 +running/);
  t.match(JSON.parse((await cli('status', '--json')).out), {
    agents: [{ host: 'node1' }, { host: 'node2', stale: true }],
    job: { name: 'night' },
    operations: [{ id: 'restore-1' }],
  });
  control.others = new LhsmError('it does not answer', { code: 'UNREACHABLE', op: 'x' });
  t.match(await cli('status'), { code: 0, out: /Agents of other nodes are not known: it does not answer/ });
});

t.test('status --json gives every field', async (t) => {
  const { cli } = await setUp(t, '/mnt/lustre');
  const { out } = await cli('status', '--json');
  t.match(JSON.parse(out), { pid: 4711, totals: { archive: { succeeded: 20_000 } } });
});

t.test('status --watch prints until it is stopped', async (t) => {
  const { runDir } = await setUp(t, '/mnt/lustre');
  const stop = new AbortController();
  let prints = 0;
  const { code } = await cli(
    ['status', '--watch'],
    { LHSM_AZBLOB_RUN_DIR: runDir },
    {
      out: () => {
        prints++;
        stop.abort();
      },
      err: (text) => t.fail(text),
      terminal: true,
      signal: stop.signal,
    },
  );
  t.equal(code, 0);
  t.equal(prints, 1);
});

t.test('reregister, reload, log-level, metrics, config show', async (t) => {
  const { cli, control } = await setUp(t, '/mnt/lustre');
  t.match(await cli('reregister'), { code: 0, out: 'Registered for archive ids 1, 2.\n' });
  t.match(await cli('reload'), { code: 0, out: 'In force: log.level.\nAfter a restart only: library.\n' });
  t.match(await cli('log-level', 'debug'), { code: 0, out: 'debug\n' });
  t.equal(control.level, 'debug');
  t.match(await cli('log-level'), { code: 0, out: 'debug\n' });
  t.match(await cli('metrics'), { code: 0, out: /^lhsm_azblob_build_info\{/m });
  t.match(await cli('config', 'show'), { code: 0, out: /^mount = "\/mnt\/lustre"$/m });
  t.match(JSON.parse((await cli('config', 'show', '--json')).out), { mount: '/mnt/lustre' });
  control.failure = new LhsmError('3 errors', { code: 'CONFIG', op: 'reload', hint: 'Mend them.' });
  t.match(await cli('reload'), { code: 1, out: '', err: /^lhsm-azblob: 3 errors \(\w+\)\nMend them\.\n$/ });
});

t.test('the daemon is found by itself, by its mount or by its socket', async (t) => {
  const { cli, runDir } = await setUp(t, '/mnt/lustre', '/mnt/other');
  t.match(await cli('status'), {
    code: 2,
    err: /several daemons run.*\nName one: --mount \/mnt\/lustre, --mount \/mnt\/other\./s,
  });
  t.match((await cli('status', '--mount', '/mnt/other/')).out, /mount \/mnt\/other,/);
  t.match((await cli('--mount', '/mnt/other', 'status')).out, /mount \/mnt\/other,/);
  t.match((await cli('status', '--socket', adminSocket(runDir, '/mnt/other'))).out, /mount \/mnt\/other,/);
  t.match((await cli('status', '--run-dir', `${runDir}/none`, '--mount', '/mnt/other')).code, 7);
});

t.test('LHSM_AZBLOB_SOCKET names the daemon, too', async (t) => {
  const { runDir } = await setUp(t, '/mnt/lustre', '/mnt/other');
  const { out } = await cli(['status'], { LHSM_AZBLOB_SOCKET: adminSocket(runDir, '/mnt/other') });
  t.match(out, /mount \/mnt\/other,/);
});

t.test('no daemon is a clear error with a way out', async (t) => {
  const { cli, runDir } = await setUp(t);
  t.match(await cli('status'), {
    code: 7,
    out: '',
    err: /no daemon runs on this machine.*\nStart it: systemctl start/s,
  });
  t.match(await cli('status', '--run-dir', `${runDir}/none`), { code: 7, err: /no daemon runs/ });
  t.match(await cli('reload', '--mount', '/mnt/lustre'), {
    code: 7,
    err: /no daemon answers on .*admin\.sock/,
  });
});

t.test('config check needs no daemon', async (t) => {
  const file = path.join(shortDir(t), 'c.toml');
  const archive = '[[archive]]\nid = 3\ncontainer = "https://a.blob.core.windows.net/abc"\n';
  writeFileSync(file, `${archive}credential = { type = "sas", file = "sas" }\n`);
  t.match(await cli(['config', 'check', file]), { code: 1, err: /mount is missing/ });
  t.match(await cli(['config', 'check', file, '--mount', '/mnt/x']), {
    code: 0,
    out: /well-formed: mount \/mnt\/x, archive ids 3\./,
  });
  writeFileSync(file, `mont = "/m"\n${archive}`);
  t.match(await cli(['config', 'check', file]), { code: 1, err: /3 errors.*Did you mean mount\?/s });
});

t.test('mistakes on the command line', async (t) => {
  t.match(await cli(['sttaus']), { code: 2, err: /unknown command 'sttaus'\n\(Did you mean status\?\)/ });
  t.match(await cli(['status', '--jsn']), { code: 2, err: /Did you mean --json/ });
  t.match(await cli(['log-level', 'loud']), { code: 2, err: /Allowed choices/ });
  t.match(await cli([]), { code: 2, err: /Usage: lhsm-azblob/ });
  t.match(await cli(['--help']), { code: 0, out: /Exit status:\n {4}0 {2}Done\..*\n {2}130 {2}Ctrl-C/s });
  t.match(await cli(['--version']), { code: 0, out: /^\d+\.\d+\.\d+/ });
});

t.test('numbers for people', (t) => {
  t.equal(formatBytes(0), '0 B');
  t.equal(formatBytes(1023), '1023 B');
  t.equal(formatBytes(1536), '1.5 KiB');
  t.equal(formatBytes(2 ** 60), '1024 PiB');
  t.equal(formatDuration(999.4), '999 ms');
  t.equal(formatDuration(61_000), '1 min 1 s');
  t.equal(formatDuration(72 * 3_600_000), '3 d 0 h');
  t.equal(
    table(
      ['a', 'b'],
      [
        ['x', 10],
        ['yy', 9],
      ],
    ),
    '  a    b\n  x   10\n  yy   9\n',
  );
  t.end();
});

// The daemon as a service: its end in two stages, registering anew, what the coordinator does to it, several archives,
// heartbeats, metrics, the operator's command.
import { execFile } from 'node:child_process';
import { unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { Daemon } from '../helpers/daemon.js';
import { repositoryRoot } from '../lustre-sim/build.js';
import { Site, type SiteOptions } from '../helpers/site.js';

const exec = promisify(execFile);

async function startSite(t: Test, options: SiteOptions = {}): Promise<Site> {
  const site = await Site.start(options);
  t.teardown(() => site.stop());
  return site;
}

/** The operator's command, told where this daemon's socket is. */
async function cli(daemon: Daemon, ...args: string[]): Promise<string> {
  const { socket } = await daemon.log((line) => line.msg === 'admin API');
  const main = join(repositoryRoot(), 'dist/daemon/cli/main.js');
  const { stdout } = await exec(process.execPath, [main, '--socket', String(socket), ...args]);
  return stdout;
}

function grace(seconds: number): string {
  return `[shutdown]\ngrace_s = ${seconds}\n[http]\nlisten = "127.0.0.1:0"\n`;
}

t.test(
  'SIGTERM: what is in flight finishes within the grace time, then it unregisters and exits 0',
  async (t) => {
    const site = await startSite(t, { more: grace(30) });
    const daemon = await site.daemon();
    const names = Array.from({ length: 100 }, (_, n) => `file-${n}`);
    for (const name of names) site.write(name, 10_000);
    site.gate.hold();
    await site.lfs('hsm_archive', ...names.map((name) => site.path(name)));
    await site.sim.wait('started==100');
    await site.gate.held(1);
    daemon.signal('SIGTERM');
    await daemon.log((line) => line.msg === 'stopping');
    site.gate.open();
    t.same(await daemon.exit(), { code: 0, signal: null });
    const { succeeded, started, agents } = await site.sim.counters();
    t.same({ succeeded, started, agents }, { succeeded: 100, started: 0, agents: 0 });
  },
);

t.test(
  'SIGTERM: what does not finish within the grace time is ended with RETRY, nothing stays STARTED',
  async (t) => {
    const site = await startSite(t, { more: grace(0.2), tunables: { 'hsm.policy': '-NRA' } });
    const daemon = await site.daemon();
    const names = Array.from({ length: 100 }, (_, n) => `file-${n}`);
    for (const name of names) site.write(name, 10_000);
    site.gate.hold();
    await site.lfs('hsm_archive', ...names.map((name) => site.path(name)));
    await site.sim.wait('started==100');
    await site.gate.held(1);
    // Else the coordinator would hand them out again before the daemon is gone.
    await site.sim.setParam('hsm_control', 'disabled');
    daemon.signal('SIGTERM');
    t.same(await daemon.exit(), { code: 0, signal: null });
    const { started, waiting } = await site.sim.counters();
    t.same({ started, waiting }, { started: 0, waiting: 100 }, 'RETRY put them back in the queue');
    site.gate.open();
    await site.sim.setParam('hsm_control', 'enabled');
    await site.daemon();
    await site.drained();
    t.equal((await site.sim.counters())['succeeded'], 100);
  },
);

t.test('SIGTERM: what the coordinator sends again meanwhile is left to the next process', async (t) => {
  // Rounds of 20 ms, the tests' default, would find the moment between the last look into the pipe and its end.
  const tunables = { 'hsm.policy': '-NRA', 'hsm.loop_period': '0.3' };
  const site = await startSite(t, { more: grace(0.2), tunables });
  const first = await Daemon.start(site.settings());
  const names = Array.from({ length: 100 }, (_, n) => `file-${n}`);
  for (const name of names) site.write(name, 10_000);
  site.gate.hold();
  await site.lfs('hsm_archive', ...names.map((name) => site.path(name)));
  await site.sim.wait('started==100');
  await site.gate.held(1);
  first.signal('SIGTERM');
  t.same(await first.exit(), { code: 0, signal: null });
  site.gate.open();
  await site.daemon(0, { dir: first.dir });
  await site.drained();
  t.equal((await site.sim.counters())['succeeded'], 100);
});

t.test('a second signal ends at once', async (t) => {
  const site = await startSite(t, { more: grace(3600) });
  const daemon = await site.daemon();
  site.write('file', 10_000);
  site.gate.hold();
  await site.lfs('hsm_archive', site.path('file'));
  await site.gate.held(1);
  daemon.signal('SIGTERM');
  await daemon.log((line) => line.msg === 'stopping');
  daemon.signal('SIGTERM');
  t.same(await daemon.exit(), { code: 0, signal: null });
  t.equal((await site.sim.counters())['started'], 0);
});

t.test('SIGTERM while it waits for the coordinator ends it', async (t) => {
  const site = await startSite(t);
  await site.sim.setParam('hsm_control', 'shutdown');
  const daemon = Daemon.spawn(site.settings());
  t.teardown(() => daemon.stop());
  await daemon.log((line) => line.msg.startsWith('cannot register yet'));
  daemon.signal('SIGTERM');
  t.same(await daemon.exit(), { code: 0, signal: null });
});

t.test('SIGTERM while the registration is under way ends it, and takes nothing up', async (t) => {
  const site = await startSite(t);
  await site.sim.fault('register delay_ms=5000');
  const daemon = Daemon.spawn(site.settings());
  t.teardown(() => daemon.stop());
  await daemon.log((line) => line.msg === 'the container is ready');
  daemon.signal('SIGTERM');
  t.same(await daemon.exit(), { code: 0, signal: null });
  t.notOk(daemon.lines.some((line) => line.msg === 'serving'));
  t.equal((await site.sim.counters())['agents'], 0);
});

t.test(
  'hsm_control=shutdown, then enabled, orphans the daemon silently; reregister mends it without a restart',
  async (t) => {
    const site = await startSite(t);
    const daemon = await site.daemon();
    await site.sim.setParam('hsm_control', 'shutdown');
    await site.sim.setParam('hsm_control', 'enabled');
    site.write('file', 100);
    await site.lfs('hsm_archive', site.path('file'));
    t.equal((await site.sim.counters())['agents'], 0, 'orphaned');
    t.match(await cli(daemon, 'reregister'), /registered/i);
    await site.drained();
    t.match(await site.state(site.path('file')), /exists archived/);
  },
);

t.test('registering anew while transfers run: they finish, nothing is lost', async (t) => {
  const site = await startSite(t);
  const daemon = await site.daemon();
  const names = Array.from({ length: 200 }, (_, n) => `file-${n}`);
  for (const name of names) site.write(name, 10_000);
  await site.lfs('hsm_archive', ...names.map((name) => site.path(name)));
  await cli(daemon, 'reregister');
  await site.drained();
  const { succeeded, failed } = await site.sim.counters();
  t.same({ succeeded, failed }, { succeeded: 200, failed: 0 });
});

t.test('a client eviction (ESHUTDOWN) does not end the daemon: it registers anew', async (t) => {
  const site = await startSite(t);
  const daemon = await site.daemon();
  await site.sim.evict(0);
  await daemon.log((line) => line.msg.startsWith('the registration was ended from outside'));
  await site.sim.wait('agents>=1');
  site.write('file', 100);
  await site.hsm('archive', site.path('file'));
  t.match(await site.state(site.path('file')), /exists archived/);
});

t.test('the file system going away ends the daemon cleanly', async (t) => {
  const site = await startSite(t);
  const daemon = await site.daemon();
  await site.crash();
  const { code } = await daemon.exit();
  t.equal(code, 0, daemon.output());
});

t.test('an MDT restart: the daemon is registered again by the kernel and goes on', async (t) => {
  const site = await startSite(t);
  const daemon = await site.daemon();
  site.write('in flight', 10_000);
  site.gate.hold();
  await site.lfs('hsm_archive', site.path('in flight'));
  await site.gate.held(1);
  await site.sim.restartMdt();
  site.gate.open();
  await daemon.log((line) => line['code'] === 'FORGOTTEN');
  await site.sim.wait('agents>=1');
  site.write('later', 100);
  await site.lfs('hsm_archive', site.path('later'));
  await site.sim.requestReaches(site.path('later'), 'SUCCEED');
  t.equal(daemon.lines.filter((line) => line.level === 'fatal').length, 0);
  // The record of the one in flight stays STARTED; a new request for its file is accepted and succeeds.
  await site.lfs('hsm_archive', site.path('in flight'));
  await site.sim.requestReaches(site.path('in flight'), 'SUCCEED');
});

t.test('heartbeats keep what runs and what waits alive beyond the timeout of the coordinator', async (t) => {
  const site = await startSite(t, {
    tunables: { 'hsm.active_request_timeout': '8' },
    more:
      '[scheduler]\nmax_actions = 2\nrestore_reserved = 1\n' +
      '[hsm]\nactive_request_timeout_s = 8\nheartbeat_s = 0.5\nrestore_first_progress_s = 1\n' +
      '[transfer]\nstall_timeout_s = 60\n[http]\nlisten = "127.0.0.1:0"\n',
  });
  await site.daemon();
  const bytes = site.write('to read', 1000);
  await site.hsm('archive', site.path('to read'));
  await site.hsm('release', site.path('to read'));
  const names = ['a', 'b', 'c', 'd'];
  for (const name of names) site.write(name, 1000);
  site.gate.hold();
  const reader = site.read('to read');
  await site.lfs('hsm_archive', ...names.map((name) => site.path(name)));
  await site.sim.wait('started==5');
  // Twice the timeout goes by: what showed no sign of life would be cancelled by then.
  await setTimeout(16_000);
  t.equal((await site.sim.counters())['started'], 5);
  site.gate.open();
  t.ok((await reader).equals(bytes));
  await site.drained();
  const { failed, canceled } = await site.sim.counters();
  t.same({ failed, canceled }, { failed: 0, canceled: 0 });
});

t.test('several archive ids go to their containers, with prefix and naming of each', async (t) => {
  const site = await startSite(t);
  const second = await site.azurite.container('second');
  const base = site.settings().archives[0] ?? { container: '', credential: '' };
  await site.daemon(0, {
    archives: [
      { ...base, id: 1, prefix: 'some/where/' },
      { ...base, id: 7, container: 'second', naming: 'fid' },
    ],
  });
  const bytes = site.write('by path', 100);
  const other = site.write('by fid', 200);
  await site.lfs('hsm_archive', site.path('by path'));
  await site.lfs('hsm_archive', '--archive', '7', site.path('by fid'));
  await site.drained();
  t.ok((await site.container.getBlobClient('some/where/by path').downloadToBuffer()).equals(bytes));
  const names = [];
  for await (const blob of second.listBlobsFlat()) names.push(blob.name);
  t.equal(names.length, 1);
  t.match(names[0], /^[0-9a-f]{4}\/0x[0-9a-f]+:0x[0-9a-f]+:0x0$|^[0-9a-f]{4}\/\[0x/);
  await site.hsm('release', site.path('by path'), site.path('by fid'));
  t.ok((await site.read('by path')).equals(bytes));
  t.ok((await site.read('by fid')).equals(other));
});

t.test(
  'remove on last unlink: with naming by FID the blob is deleted, by path the error says why not',
  async (t) => {
    const site = await startSite(t, { tunables: { 'hsm.remove_archive_on_last_unlink': '1' } });
    const base = site.settings().archives[0] ?? { container: '', credential: '' };
    const byFid = await site.azurite.container('by-fid');
    const daemon = await site.daemon(0, {
      archives: [base, { ...base, id: 2, container: 'by-fid', naming: 'fid' }],
    });
    site.write('path', 10);
    site.write('fid', 10);
    await site.lfs('hsm_archive', site.path('path'));
    await site.lfs('hsm_archive', '--archive', '2', site.path('fid'));
    await site.drained();
    unlinkSync(site.path('fid'));
    unlinkSync(site.path('path'));
    const line = await daemon.log((each) => each['op'] === 'remove' && each['result'] === 'failed');
    t.match(line.msg, /naming = "fid"/);
    await daemon.log((each) => each['op'] === 'remove' && each['result'] === 'succeeded');
    const left = [];
    for await (const blob of byFid.listBlobsFlat()) left.push(blob.name);
    t.same(left, []);
  },
);

t.test('metrics, status and readiness say what happened', async (t) => {
  const site = await startSite(t);
  const daemon = await site.daemon();
  const bytes = site.write('file', 5000);
  await site.hsm('archive', site.path('file'));
  await site.hsm('release', site.path('file'));
  t.ok((await site.read('file')).equals(bytes));
  await site.container.getBlobClient('file').delete();
  await site.hsm('release', site.path('file'));
  await site.hsm('restore', site.path('file'));
  const { address } = await daemon.log((line) => line.msg === 'metrics and health');
  const text = await (await fetch(`http://${String(address)}/metrics`)).text();
  const value = (pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? NaN);
  t.equal(value(/^lhsm_azblob_actions_total\{[^}]*kind="archive"[^}]*result="succeeded"[^}]*\} (\d+)/m), 1);
  t.equal(value(/^lhsm_azblob_actions_total\{[^}]*kind="restore"[^}]*result="succeeded"[^}]*\} (\d+)/m), 1);
  t.match(text, /^lhsm_azblob_actions_total\{[^}]*kind="restore"[^}]*errno="ENOENT"[^}]*\} 1/m);
  t.match(text, /^lhsm_azblob_transferred_bytes_total\{[^}]*\} 5000/m);
  t.match(text, /^lhsm_azblob_registered(\{[^}]*\})? 1/m);
  const status = JSON.parse(await cli(daemon, 'status', '--json')) as Record<string, unknown>;
  t.match(status, {
    state: 'running',
    registered: true,
    totals: { archive: { succeeded: 1 }, restore: { succeeded: 1, failed: 1 } },
    lastErrors: [{ code: 'BLOB_MISSING', errno: 'ENOENT' }],
    journal: { items: 0 },
  });
  t.match(await cli(daemon, 'status'), /BLOB_MISSING/);
});

t.test('the registration dies with the process: no child keeps the pipe open', async (t) => {
  const site = await startSite(t);
  const daemon = await site.daemon();
  t.equal((await site.sim.counters())['agents'], 1);
  await daemon.kill();
  await site.sim.wait('agents==0');
});

t.test('500 actions leave no descriptor behind', async (t) => {
  const site = await startSite(t);
  const daemon = await site.daemon();
  const count = async (): Promise<number> =>
    // Sockets are the pool of keep-alive connections, which comes and goes.
    Number((await exec('sh', ['-c', `ls -l /proc/${daemon.pid}/fd | grep -vc socket:`])).stdout);
  const names = Array.from({ length: 250 }, (_, n) => `file-${n}`);
  const paths = names.map((name) => site.path(name));
  for (const name of names) site.write(name, 1000);
  await site.hsm('archive', ...paths);
  await site.hsm('release', ...paths);
  const before = await count();
  await site.hsm('restore', ...paths);
  const after = await count();
  t.equal(after, before);
});

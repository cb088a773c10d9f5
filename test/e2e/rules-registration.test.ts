// Rules of the registration: what it meets at the start, what it outlives, what becomes of a dead process's requests, and
// that the daemon is one process. One file system, a daemon of its own for each test.
import { readdirSync, readFileSync } from 'node:fs';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { Daemon, type DaemonSettings } from '../helpers/daemon.js';
import { Site } from '../helpers/site.js';

const exec = promisify(execFile);

let site: Site;

t.before(async () => {
  site = await Site.start();
});

t.teardown(() => site.stop());

/** A daemon for one test. */
async function serve(t: Test, changes: Partial<DaemonSettings> = {}): Promise<Daemon> {
  const daemon = Daemon.spawn(site.settings(0, changes));
  t.teardown(() => daemon.stop());
  await daemon.log(({ msg }) => msg === 'serving');
  return daemon;
}

for (const [what, errno, hint] of [
  ['no MDT is active', 'ENOTCONN', /llapi_hsm_copytool_register/],
  ['it does not run as root', 'EACCES', /Run the daemon as root/],
] as const) {
  t.test(`registering fails because ${what}: exit status 1 and why`, async (t) => {
    await site.sim.fault(`register errno=${errno}`);
    const daemon = Daemon.spawn(site.settings());
    t.same(await daemon.exit(), { code: 1, signal: null });
    await site.sim.clearFaults();
    t.match(
      daemon.lines.find(({ level }) => level === 'fatal'),
      { msg: new RegExp(errno) },
    );
    t.match(daemon.output(), hint);
    await daemon.stop();
  });
}

t.test('registering while hsm_control=disabled works, and what waits comes once it is enabled', async (t) => {
  await site.sim.setParam('hsm_control', 'disabled');
  await serve(t);
  site.write('disabled', 100);
  await site.lfs('hsm_archive', site.path('disabled'));
  t.equal((await site.sim.counters())['agents'], 1);
  await site.sim.setParam('hsm_control', 'enabled');
  await site.drained();
  t.match(await site.state(site.path('disabled')), /exists archived/);
});

t.test('archive id 0 registers for every archive, and serves whichever id is asked for', async (t) => {
  const [base = { container: '', credential: '' }] = site.settings().archives;
  await serve(t, { archives: [{ ...base, id: 0 }] });
  t.match(await site.sim.getParam('hsm.agents'), /archive_id=ANY/);
  const bytes = site.write('any', 100);
  await site.lfs('hsm_archive', '--archive', '5', site.path('any'));
  await site.drained();
  t.match(await site.state(site.path('any')), /exists archived, archive_id:5/);
  t.ok((await site.container.getBlobClient('any').downloadToBuffer()).equals(bytes));
});

t.test('an eviction that the kernel mends by itself: the daemon does not even notice', async (t) => {
  const daemon = await serve(t);
  await site.sim.evict(0, true);
  await site.sim.wait('agents>=1');
  site.write('evicted', 100);
  await site.hsm('archive', site.path('evicted'));
  t.match(await site.state(site.path('evicted')), /exists archived/);
  t.notOk(
    daemon.lines.some(({ level }) => level === 'fatal' || level === 'error'),
    daemon.output(),
  );
});

t.test('an eviction during which the mount cannot be looked at is no end either', async (t) => {
  const daemon = await serve(t);
  await site.sim.fault('search_fsname errno=EIO');
  await site.sim.evict(0);
  await daemon.log(({ msg }) => msg.startsWith('the mount cannot be looked at now'));
  await site.sim.clearFaults();
  await site.sim.wait('agents>=1');
  site.write('blind', 100);
  await site.hsm('archive', site.path('blind'));
  t.match(await site.state(site.path('blind')), /exists archived/);
});

t.test(
  'a CANCEL of a cookie that only a dead process knew is answered, which clears the request',
  async (t) => {
    const first = await serve(t);
    const bytes = site.write('left', 100);
    await site.hsm('archive', site.path('left'));
    await site.hsm('release', site.path('left'));
    site.gate.hold();
    const reader = site.read('left').catch((error: unknown) => error);
    await site.gate.held(1);
    await first.kill();
    site.gate.open();
    // Another journal: nothing is known of the request.
    await serve(t);
    t.equal((await site.sim.counters())['started'], 1, 'left by the dead process');
    await site.lfs('hsm_cancel', site.path('left'));
    await site.sim.requestReaches(site.path('left'), 'CANCELED', { action: 'RESTORE' });
    t.match(String(((await reader) as { stderr?: unknown }).stderr), /No data available/);
    t.equal((await site.sim.counters())['started'], 0);
    t.ok((await site.read('left')).equals(bytes), 'and the next read restores');
  },
);

t.test('one process: pgrep finds it by its name, it has no children, SIGSTOP stops all of it', async (t) => {
  const daemon = await serve(t);
  t.ok((await exec('pgrep', ['lhsm-azblobd'])).stdout.split('\n').includes(String(daemon.pid)));
  t.ok((await exec('pgrep', ['-f', `lhsm-azblobd ${site.mount}`])).stdout.includes(String(daemon.pid)));
  site.write('before', 20_000_000);
  await site.hsm('archive', site.path('before'));
  const threads = readdirSync(`/proc/${daemon.pid}/task`);
  const children = threads.map((id) => readFileSync(`/proc/${daemon.pid}/task/${id}/children`, 'utf8'));
  t.equal(children.join(''), '', 'no child that would go on');
  t.teardown(() => {
    daemon.signal('SIGCONT');
  });
  daemon.signal('SIGSTOP');
  site.write('stopped', 100);
  await site.lfs('hsm_archive', site.path('stopped'));
  await site.sim.requestReaches(site.path('stopped'), 'STARTED');
  const states = threads.map((id) => readFileSync(`/proc/${daemon.pid}/task/${id}/stat`, 'utf8'));
  t.ok(
    states.every((stat) => /\) [Tt] /.test(stat)),
    'every thread is stopped',
  );
  t.notOk(await site.container.getBlobClient('stopped').exists());
  daemon.signal('SIGCONT');
  await site.drained();
  t.match(await site.state(site.path('stopped')), /exists archived/);
});

t.test('a request for an archive id that no daemon serves stays WAITING until one does', async (t) => {
  const daemon = await serve(t);
  site.write('nobody', 100);
  await site.lfs('hsm_archive', '--archive', '44', site.path('nobody'));
  site.write('somebody', 100);
  await site.lfs('hsm_archive', site.path('somebody'));
  await site.sim.requestReaches(site.path('somebody'), 'SUCCEED');
  t.match(await site.sim.counters(), { waiting: 1, started: 0 });
  t.equal(await daemon.stop(), 0);
  const [base = { container: '', credential: '' }] = site.settings().archives;
  await serve(t, { archives: [{ ...base, id: 44 }] });
  await site.drained();
  t.match(await site.state(site.path('nobody')), /archive_id:44/);
});

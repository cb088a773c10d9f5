// A stop of the daemon that meets a renewal of its registration, while the ends of actions do not reach the MDT.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { Daemon } from '../helpers/daemon.js';
import { repositoryRoot } from '../lustre-sim/build.js';
import { Site } from '../helpers/site.js';

const exec = promisify(execFile);

/** A daemon that registers anew, which waits for the end of an archive, which does not get through. */
async function stuckRenewal(t: Test, graceS: number): Promise<{ site: Site; daemon: Daemon }> {
  const site = await Site.start({
    more: `[shutdown]\ngrace_s = ${graceS}\n[http]\nlisten = "off"\n`,
  });
  t.teardown(() => site.stop());
  const daemon = await Daemon.start(site.settings());
  site.write('file', 10_000);
  site.gate.hold();
  await site.lfs('hsm_archive', site.path('file'));
  await site.gate.held(1);
  await site.sim.fault('end errno=ENOTCONN');
  const { socket } = await daemon.log((line) => line.msg === 'admin API');
  const main = join(repositoryRoot(), 'dist/daemon/cli/main.js');
  // It is answered when the renewal is over, or never.
  void exec(process.execPath, [main, '--socket', String(socket), 'reregister']).catch(() => undefined);
  await daemon.log(({ msg }) => msg.startsWith('registering anew'));
  return { site, daemon };
}

/** Nothing is lost: the next process ends what the journal holds. */
async function takenUp(t: Test, site: Site, dir: string): Promise<void> {
  site.gate.open();
  await site.sim.clearFaults();
  await site.daemon(0, { dir });
  await site.drained();
  t.equal((await site.sim.counters())['started'], 0);
}

t.test('SIGTERM ends it after the time that a shutdown has, too', async (t) => {
  const { site, daemon } = await stuckRenewal(t, 0.2);
  await daemon.log(({ msg }) => msg === 'the end does not reach the MDT');
  daemon.signal('SIGTERM');
  t.same(await daemon.exit(), { code: 0, signal: null });
  await takenUp(t, site, daemon.dir);
});

t.test('a second signal ends it at once', async (t) => {
  const { site, daemon } = await stuckRenewal(t, 3600);
  daemon.signal('SIGTERM');
  await daemon.log(({ msg }) => msg === 'stopping');
  daemon.signal('SIGTERM');
  t.same(await daemon.exit(), { code: 0, signal: null });
  await takenUp(t, site, daemon.dir);
});

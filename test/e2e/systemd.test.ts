// The daemon as systemd sees it: ready, reloading, stopping, and a watchdog that is fed.
import t, { type Test } from 'tap';
import { Daemon } from '../helpers/daemon.js';
import { NotifySocket } from '../helpers/notify-socket.js';
import { Site } from '../helpers/site.js';

let site: Site;

t.before(async () => {
  site = await Site.start();
});

t.teardown(() => site.stop());

/** A daemon and what it tells systemd. */
async function underSystemd(
  t: Test,
  env: Readonly<Record<string, string>> = {},
): Promise<{ daemon: Daemon; notify: NotifySocket }> {
  const notify = await NotifySocket.start();
  const daemon = Daemon.spawn(site.settings(0, { env: { NOTIFY_SOCKET: notify.path, ...env } }));
  t.teardown(async () => {
    site.gate.open();
    await daemon.stop();
    await notify.stop();
  });
  return { daemon, notify };
}

t.test(
  'READY when it serves, RELOADING and READY at a reload, STOPPING at its end, STATUS all along',
  async (t) => {
    const { daemon, notify } = await underSystemd(t);
    const waiting = await notify.line(/^STATUS=waiting for a container/);
    const ready = await notify.line(/^READY=1$/, waiting);
    const serving = await notify.line(/^STATUS=serving .*lustre/, ready);
    daemon.signal('SIGHUP');
    const reloading = await notify.line(/^RELOADING=1$/, serving);
    t.match(notify.lines[reloading + 1], /^MONOTONIC_USEC=\d+$/);
    const again = await notify.line(/^READY=1$/, reloading);
    daemon.signal('SIGTERM');
    await notify.line(/^STOPPING=1$/, again);
    t.same(await daemon.exit(), { code: 0, signal: null });
    t.notOk(notify.lines.includes('WATCHDOG=1'), 'no watchdog was asked for');
  },
);

t.test('a reload while it still starts does not make it ready', async (t) => {
  site.gate.hold();
  const { daemon, notify } = await underSystemd(t);
  await site.gate.held(1);
  daemon.signal('SIGHUP');
  await daemon.log(({ msg }) => msg === 'configuration read again');
  site.gate.open();
  await daemon.log(({ msg }) => msg === 'serving');
  await notify.line(/^STATUS=serving/);
  t.equal(notify.lines.filter((line) => line === 'READY=1').length, 1);
  t.notOk(notify.lines.includes('RELOADING=1'));
});

t.test('the watchdog is fed for as long as it lives', async (t) => {
  const { daemon, notify } = await underSystemd(t, { WATCHDOG_USEC: '60000' });
  await daemon.log(({ msg }) => msg === 'serving');
  let fed = await notify.line(/^STATUS=serving/);
  for (let times = 0; times < 3; times += 1) fed = await notify.line(/^WATCHDOG=1$/, fed + 1);
  daemon.signal('SIGTERM');
  t.same(await daemon.exit(), { code: 0, signal: null });
});

t.test("another process's watchdog is not fed", async (t) => {
  const { daemon, notify } = await underSystemd(t, { WATCHDOG_USEC: '3000', WATCHDOG_PID: '1' });
  await daemon.log(({ msg }) => msg === 'serving');
  daemon.signal('SIGTERM');
  await notify.line(/^STOPPING=1$/);
  t.notOk(notify.lines.includes('WATCHDOG=1'));
});

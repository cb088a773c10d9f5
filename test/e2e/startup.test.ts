// What the daemon says when something is wrong at its start, and what it waits for.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Daemon, type DaemonSettings } from '../helpers/daemon.js';
import { NotifySocket } from '../helpers/notify-socket.js';
import { Site } from '../helpers/site.js';

let site: Site;

t.before(async () => {
  site = await Site.start({ nodes: 2 });
});

t.teardown(() => site.stop());

/** Runs the daemon to its end, which it must come to by itself. */
async function fails(t: Test, settings: DaemonSettings, flags: string[] = []) {
  const daemon = Daemon.spawn(settings, flags);
  const { code } = await daemon.exit();
  const output = daemon.output();
  await daemon.stop();
  t.notMatch(output, /\n\s+at /, 'no stack trace for people');
  return { code, output };
}

t.test('a mistyped key: exit status 2, the key and the nearest right one', async (t) => {
  const { code, output } = await fails(t, site.settings(0, { more: '[scheduler]\nmax_action = 3\n' }));
  t.equal(code, 2);
  t.match(output, /max_action\b/);
  t.match(output, /max_actions/);
});

t.test('an unreadable secret names the file, never its content', async (t) => {
  const { code, output } = await fails(
    t,
    site.settings(0, {
      archives: [
        { container: 'archive', credential: '{ type = "connection-string", file = "/nowhere/secret" }' },
      ],
    }),
  );
  t.equal(code, 1);
  t.match(output, /\/nowhere\/secret/);
});

t.test('a mount point that is not there', async (t) => {
  const { code, output } = await fails(t, site.settings(0, { mount: '/nowhere/lustre' }));
  t.equal(code, 1);
  t.match(output, /\/nowhere\/lustre.*Mount the file system first/);
});

t.test('a mount point that is not Lustre', async (t) => {
  const { code, output } = await fails(t, site.settings(0, { mount: site.azurite.dir }));
  t.equal(code, 1);
  t.match(output, /is not in a Lustre file system/);
});

t.test('a mount that is already served: the second daemon names the first', async (t) => {
  const first = await Daemon.start(site.settings());
  const { code, output } = await fails(t, site.settings());
  t.equal(code, 1);
  t.match(output, new RegExp(`already served by the lhsm-azblobd with pid ${first.pid}`));
  t.equal(await first.stop(), 0);
});

t.test('a library that is missing', async (t) => {
  const { code, output } = await fails(t, site.settings(0, { library: '/nowhere/liblustreapi.so.1' }));
  t.equal(code, 1);
  t.match(output, /\/nowhere\/liblustreapi\.so\.1/);
  t.match(output, /lustre-client/);
});

t.test('a container that is missing: not ready, no crash, serving once it is there', async (t) => {
  const daemon = Daemon.spawn(
    site.settings(0, {
      archives: [{ ...(site.settings().archives[0] ?? { credential: '' }), container: 'comes-later' }],
    }),
  );
  const { address } = await daemon.log((line) => line.msg === 'metrics and health');
  const { msg } = await daemon.log((line) => line.msg.startsWith('the container is not ready'));
  t.match(msg, /comes-later/);
  const ready = await fetch(`http://${String(address)}/readyz`);
  t.equal(ready.status, 503);
  t.match(await ready.text(), /comes-later/);
  t.equal((await fetch(`http://${String(address)}/healthz`)).status, 200);
  await site.azurite.container('comes-later');
  await daemon.log((line) => line.msg === 'serving');
  t.equal((await fetch(`http://${String(address)}/readyz`)).status, 200);
  t.equal(await daemon.stop(), 0);
});

t.test('a container that is forbidden: not ready, and the reason is said without the secret', async (t) => {
  const file = join(site.azurite.dir, 'wrong-key');
  const key = Buffer.from('this is not the key of the account').toString('base64');
  writeFileSync(file, key);
  const daemon = Daemon.spawn(
    site.settings(0, {
      archives: [
        {
          container: `${site.azurite.url}/archive`,
          credential: `{ type = "account-key", account = "devstoreaccount1", file = ${JSON.stringify(file)} }`,
        },
      ],
    }),
  );
  const line = await daemon.log(({ msg }) => msg.startsWith('the container is not ready'));
  t.match(JSON.stringify(line), /FORBIDDEN/);
  t.notMatch(daemon.output(), key);
  t.equal(await daemon.stop(), 0);
});

t.test(
  'an account that does not answer: not ready, no crash, and why is said long before systemd gives up',
  async (t) => {
    const notify = await NotifySocket.start();
    const daemon = Daemon.spawn(
      site.settings(0, {
        archives: [
          {
            container: 'http://127.0.0.1:9/devstoreaccount1/archive',
            credential: site.settings().archives[0]?.credential ?? '',
          },
        ],
        env: { NOTIFY_SOCKET: notify.path },
      }),
    );
    const beganMs = performance.now();
    const { address } = await daemon.log(({ msg }) => msg === 'metrics and health');
    const line = await daemon.log(({ msg }) => msg.startsWith('the container is not ready'));
    t.match(JSON.stringify(line), /UNREACHABLE/);
    await notify.line(/^READY=1$/);
    t.ok(performance.now() - beganMs < 60_000, 'not the patience of transfers, which is minutes');
    const ready = await fetch(`http://${String(address)}/readyz`);
    t.equal(ready.status, 503);
    t.match(await ready.text(), /closed port/);
    t.equal(await daemon.stop(), 0);
    await notify.stop();
  },
);

t.test('hsm_control=shutdown at the start: it waits, and serves once it is enabled', async (t) => {
  await site.sim.setParam('hsm_control', 'shutdown');
  const daemon = Daemon.spawn(site.settings());
  await daemon.log((line) => line.msg.startsWith('cannot register yet'));
  await site.sim.setParam('hsm_control', 'enabled');
  await daemon.log((line) => line.msg === 'serving');
  t.equal(await daemon.stop(), 0);
});

t.test('--check says line by line what is well and what is not', async (t) => {
  await site.azurite.container('logs');
  const more = '[jobs]\nlogging_container = "logs"\n';
  const good = Daemon.spawn(site.settings(0, { more }), ['--check']);
  const { code } = await good.exit();
  t.equal(code, 0, good.output());
  t.notMatch(good.output(), /FAIL/);
  t.match(good.output(), /ok {4}logging container logs\n/);
  await good.stop();

  const { code: badCode, output } = await fails(
    t,
    site.settings(0, {
      library: '/nowhere/lib.so',
      archives: [{ ...(site.settings().archives[0] ?? { credential: '' }), container: 'not-there' }],
      more: '[jobs]\nlogging_container = "no-logs"\nuser_map = "/nowhere/users.toml"\n',
    }),
    ['--check'],
  );
  t.equal(badCode, 1);
  t.match(output, /ok {4}mount/);
  t.match(output, /FAIL {2}library \/nowhere\/lib\.so/);
  t.match(output, /FAIL {2}archive 1, container not-there/);
  t.match(output, /FAIL {2}logging container no-logs: .*does not exist/);
  t.match(output, /FAIL {2}map \/nowhere\/users\.toml/);
});

t.test('a state_dir that cannot be written', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'lhsm-state-'));
  t.teardown(() => {
    rmSync(dir, { recursive: true });
  });
  writeFileSync(join(dir, 'state'), 'a file, where the folder should be');
  chmodSync(join(dir, 'state'), 0o400);
  const { code, output } = await fails(t, site.settings(0, { dir }));
  t.equal(code, 1);
  t.match(output, /cannot open the journal/);
});

// The systemd files: what they say, and what systemd itself says of them where it is installed.
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import t, { type Test } from 'tap';
import { defaults } from '../../daemon/config/defaults.js';
import { parseDaemonFlags } from '../../daemon/config/flags.js';

const DIR = path.join(import.meta.dirname, '../../../systemd');
const UNIT = 'lhsm-azblobd@.service';
/** Of 100; the lower the safer. What is left is what HSM and Azure need. */
const EXPOSURE_LIMIT = 32;

const read = (file: string): string => readFileSync(path.join(DIR, file), 'utf8');
const has = (tool: string): boolean => spawnSync(tool, ['--version']).status === 0;

const settings = new Map<string, string[]>();
for (const line of read(UNIT).split('\n')) {
  const [, key, value] = /^([A-Za-z]+)=(.*)$/.exec(line) ?? [];
  if (key !== undefined && value !== undefined) settings.set(key, [...(settings.get(key) ?? []), value]);
}
const one = (key: string): string | undefined => settings.get(key)?.[0];

function seconds(span: string | undefined): number {
  const [, number = '', unit = 's'] = /^(\d+)(s|min)?$/.exec(span ?? '') ?? [];
  return Number(number) * (unit === 'min' ? 60 : 1);
}

function temporary(t: Test): string {
  const dir = mkdtempSync(path.join(tmpdir(), 'lhsm-unit-'));
  t.teardown(() => {
    rmSync(dir, { recursive: true, force: true });
  });
  return dir;
}

/** The template as an instance, under a name that systemd-analyze takes. */
function instance(t: Test): string {
  const file = path.join(temporary(t), 'lhsm-azblobd@mnt-my\\x2dfs.service');
  copyFileSync(path.join(DIR, UNIT), file);
  return file;
}

t.test('the service starts the daemon of its mount, with flags that the daemon knows', (t) => {
  const [env, command, ...argv] = (one('ExecStart') ?? '').split(' ');
  t.same([env, command], ['/usr/bin/env', 'lhsm-azblobd']);
  t.match(parseDaemonFlags(argv), {
    configFile: '/etc/lhsm-azblob/%i.toml',
    overrides: [{ key: 'mount', text: '%f' }],
  });
  t.equal(one('RequiresMountsFor'), '%f');
  t.equal(one('ReadWritePaths'), '%f');
  t.equal(one('Type'), 'notify');
  t.equal(one('NotifyAccess'), 'main');
  t.equal(one('ExecReload'), '/bin/kill -HUP $MAINPID');
  t.equal(one('Restart'), 'on-failure');
  t.ok(seconds(one('WatchdogSec')) >= 30);
  t.ok(Number(one('LimitNOFILE')) >= 65_536);
  t.match(one('Environment'), /^UV_THREADPOOL_SIZE=\d+$/);
  t.match(read(UNIT), /^#LoadCredential=/m);
  t.end();
});

t.test('stopping leaves time for the grace period and for the ends after it', (t) => {
  t.ok(seconds(one('TimeoutStopSec')) >= defaults.shutdown.grace_s + 30);
  t.equal(one('KillMode'), 'mixed');
  t.end();
});

t.test('folders are those of the configuration, and outlive one of several daemons', (t) => {
  t.equal(`/var/lib/${one('StateDirectory') ?? ''}`, defaults.state_dir);
  t.equal(`/run/${one('RuntimeDirectory') ?? ''}`, defaults.run_dir);
  t.equal(one('RuntimeDirectoryPreserve'), 'yes');
  t.end();
});

t.test('the daemon has the capabilities that HSM needs, and no other', (t) => {
  t.same((one('CapabilityBoundingSet') ?? '').split(' ').sort(), [
    'CAP_CHOWN',
    'CAP_DAC_OVERRIDE',
    'CAP_DAC_READ_SEARCH',
    'CAP_FOWNER',
    'CAP_SYS_ADMIN',
  ]);
  t.equal(one('AmbientCapabilities'), '');
  t.equal(one('NoNewPrivileges'), 'yes');
  for (const never of [
    'MemoryDenyWriteExecute',
    'RestrictSUIDSGID',
    'PrivateNetwork',
    'PrivateUsers',
    'ProcSubset',
  ]) {
    t.notOk(settings.has(never), `${never} would break the daemon`);
  }
  t.end();
});

t.test('the group of tmpfiles.d is made by sysusers.d', (t) => {
  const groups = [...read('lhsm-azblob.sysusers.conf').matchAll(/^g (\S+)/gm)].map(([, name]) => name);
  const lines = [...read('lhsm-azblob.tmpfiles.conf').matchAll(/^d (\S+) +(\d+) (\S+) (\S+)/gm)];
  t.same(
    lines.map(([, dir]) => dir),
    ['/etc/lhsm-azblob', '/etc/lhsm-azblob/secrets', '/run/lhsm-azblob', '/var/lib/lhsm-azblob'],
  );
  for (const [, , mode = '', user, group] of lines) {
    t.match(mode, /^0[0-7]{2}[05]$/);
    t.equal(user, 'root');
    t.ok(group === 'root' || groups.includes(group));
  }
  t.end();
});

t.test('systemd-analyze verify', { skip: !has('systemd-analyze') && 'no systemd here' }, (t) => {
  const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', instance(t)], {
    encoding: 'utf8',
  });
  const ours = stderr.split('\n').filter((line) => line.includes('lhsm-azblobd'));
  t.same(ours, []);
  t.equal(status, 0, stderr);
  t.end();
});

t.test('systemd-analyze security', { skip: !has('systemd-analyze') && 'no systemd here' }, (t) => {
  const args = ['security', '--offline=true', `--threshold=${EXPOSURE_LIMIT}`, '--no-pager', instance(t)];
  const { status, stdout, stderr } = spawnSync('systemd-analyze', args, { encoding: 'utf8' });
  if (/unrecognized option|Unknown/.test(stderr)) t.comment('this systemd is too old for --offline');
  else t.equal(status, 0, `${stdout.split('\n').at(-2) ?? ''}${stderr}`);
  t.end();
});

const cannotCreate =
  (!has('systemd-tmpfiles') && 'no systemd here') || (process.getuid?.() !== 0 && 'needs root');

t.test('systemd-sysusers and systemd-tmpfiles make what the unit expects', { skip: cannotCreate }, (t) => {
  const root = temporary(t);
  mkdirSync(path.join(root, 'etc'));
  writeFileSync(path.join(root, 'etc/group'), 'root:x:0:\n');
  writeFileSync(path.join(root, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\n');
  const quiet = { stdio: 'pipe' } as const;
  execFileSync('systemd-sysusers', [`--root=${root}`, path.join(DIR, 'lhsm-azblob.sysusers.conf')], quiet);
  t.match(readFileSync(path.join(root, 'etc/group'), 'utf8'), /^lhsm-azblob:x:\d+:/m);
  execFileSync(
    'systemd-tmpfiles',
    ['--create', `--root=${root}`, path.join(DIR, 'lhsm-azblob.tmpfiles.conf')],
    quiet,
  );
  const mode = (dir: string): number => statSync(path.join(root, dir)).mode & 0o777;
  t.equal(mode('/etc/lhsm-azblob'), 0o750);
  t.equal(mode('/etc/lhsm-azblob/secrets'), 0o700);
  t.equal(mode(defaults.run_dir), 0o755);
  t.equal(mode(defaults.state_dir), 0o700);
  t.end();
});

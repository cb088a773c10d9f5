// What the doctor says of trouble that is really there, and of a site that is well.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, writeFileSync } from 'node:fs';
import { createServer, request as ask } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { DoctorFinding } from '../../daemon/doctor/doctor-report.js';
import { holderMetadata } from '../../daemon/jobs/lock-holder.js';
import type { Daemon } from '../helpers/daemon.js';
import { JobSite } from '../helpers/job-site.js';
import { repositoryRoot } from '../lustre-sim/build.js';

const CLI = join(repositoryRoot(), 'dist/daemon/cli/main.js');
const LCTL = join(repositoryRoot(), 'build/lustre-sim/lctl');

interface Answer {
  readonly code: number;
  readonly checks: readonly string[];
  readonly findings: readonly DoctorFinding[];
  /** Of errors and warnings. */
  readonly codes: readonly string[];
}

function doctor(site: JobSite, daemon: Daemon, ...args: string[]): Promise<Answer> {
  const argv = [CLI, '--run-dir', join(daemon.dir, 'run'), 'doctor', '--json', ...args];
  const env = { ...process.env, LUSTRE_SIM_SOCKET: site.site.sim.socket };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, argv, { env }, (error, stdout, stderr) => {
      try {
        const { checks, findings } = JSON.parse(stdout) as Omit<Answer, 'code' | 'codes'>;
        const codes = findings.filter(({ severity }) => severity !== 'note').map(({ code }) => code);
        resolve({ code: error ? Number(error.code) : 0, checks, findings, codes });
      } catch {
        reject(new Error(`${stdout}\n${stderr}`));
      }
    });
  });
}

t.test('a site that is well, and what its coordinator may have', async (t) => {
  const site = await JobSite.start(t);
  const daemon = await site.daemon();
  const { sim } = site.site;
  const well = await doctor(site, daemon, '--lctl', LCTL, '--probe');
  t.match(well, { code: 0, codes: [] }, JSON.stringify(well.findings));
  t.match(well.findings, [{ code: 'PROBE_ARCHIVED', severity: 'note' }]);
  t.ok(well.checks.includes('coordinator') && well.checks.length > 8, well.checks.join());
  t.same(readdirSync(site.mount), [], 'the probe is gone');
  for await (const { name } of site.site.container.listBlobsFlat()) t.fail(name);

  await sim.setParam('hsm_control', 'disabled');
  const disabled = await doctor(site, daemon, '--lctl', LCTL);
  t.match(disabled, { code: 1, codes: ['COORDINATOR_DISABLED'] });
  t.match(disabled.findings[0]?.hint, /lctl set_param mdt\.\w+-MDT\*\.hsm_control=enabled/);
  await sim.setParam('hsm_control', 'enabled');

  writeFileSync(site.path('lost'), 'x');
  await site.site.lfs('hsm_archive', '--archive', '7', site.path('lost'));
  const unserved = await doctor(site, daemon, '--lctl', LCTL);
  t.match(unserved, { code: 1, codes: ['ARCHIVE_UNSERVED'] });
  t.match(unserved.findings[0]?.what, /1 requests wait for archive id 7/);

  await sim.setParam('hsm_control', 'shutdown');
  await sim.setParam('hsm_control', 'enabled');
  const orphaned = await doctor(site, daemon, '--lctl', LCTL);
  t.ok(orphaned.codes.includes('AGENT_UNKNOWN'), orphaned.codes.join());
  t.equal((await site.cli('reregister')).code, 0);
  const again = await doctor(site, daemon, '--lctl', LCTL);
  t.notOk(again.codes.includes('AGENT_UNKNOWN'), again.codes.join());
});

t.test('a lock that a dead holder has', async (t) => {
  const site = await JobSite.start(t);
  const daemon = await site.daemon();
  await site.cli('import', 'start', '--name', 'first', '--wait');
  let lock = '';
  for await (const { name } of site.logs.listBlobsFlat()) if (name.endsWith('/lock')) lock = name;
  const started = new Date(Date.now() - 3_600_000).toISOString();
  const holder = { kind: 'import', name: 'dead', host: 'node9', mount: '/mnt/x', pid: 7, started } as const;
  const blob = site.logs.getBlockBlobClient(lock);
  await blob.upload('', 0, { metadata: holderMetadata(holder) });
  const orphaned = await doctor(site, daemon);
  t.match(orphaned, { code: 1, codes: ['JOB_ORPHANED'] });
  t.match(orphaned.findings[0]?.what, /import job dead of node9 .* has said nothing for 60 min/);
  const lease = blob.getBlobLeaseClient();
  await lease.acquireLease(-1);
  const held = await doctor(site, daemon);
  t.match(held, { code: 1, codes: ['LOCK_HELD'] });
  await lease.breakLease(0);
  await blob.upload('', 0, { metadata: holderMetadata({ ...holder, host: hostname(), mount: site.mount }) });
  t.match((await doctor(site, daemon)).codes, ['JOB_ORPHANED'], 'a former process of this very daemon');
  await blob.upload('', 0);
  t.match(await doctor(site, daemon), { code: 0 });
});

t.test('a wrong key, a logging container that is not there', async (t) => {
  const site = await JobSite.start(t, { jobs: '' });
  const settings = site.settings();
  const file = join(site.site.azurite.dir, 'wrong-key');
  const wrong = Buffer.alloc(64, 1).toString('base64');
  writeFileSync(file, site.site.azurite.connectionString.replace(/AccountKey=[^;]+/, `AccountKey=${wrong}`), {
    mode: 0o600,
  });
  const credential = `{ type = "connection-string", file = ${JSON.stringify(file)} }`;
  const { Daemon: Daemons } = await import('../helpers/daemon.js');
  const daemon = Daemons.spawn({ ...settings, archives: [{ container: 'archive', credential }] });
  t.teardown(() => daemon.stop());
  await daemon.log(({ msg }) => msg === 'admin API');
  const refused = await doctor(site, daemon);
  t.equal(refused.code, 1);
  t.ok(refused.codes.includes('FORBIDDEN') && refused.codes.includes('NOT_SERVING'), refused.codes.join());
  await daemon.stop();

  await site.logs.delete();
  const other = await site.daemon();
  t.match(await doctor(site, other), { code: 1, codes: ['LOGGING_CONTAINER_MISSING'] });
});

/** A proxy whose answers come from another time. */
async function startTimeProxy(t: Test, url: string, aheadMs: number): Promise<number> {
  const target = new URL(url);
  const server = createServer((request, response) => {
    const { method, headers } = request;
    const onward = ask({ host: target.hostname, port: target.port, path: request.url, method, headers });
    onward.on('response', (answer) => {
      response.sendDate = false;
      const date = new Date(Date.now() + aheadMs).toUTCString();
      response.writeHead(answer.statusCode ?? 500, { ...answer.headers, date });
      answer.pipe(response);
    });
    onward.on('error', () => request.socket.destroy());
    request.pipe(onward);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

t.test('a clock that is off', async (t) => {
  const site = await JobSite.start(t);
  const { azurite } = site.site;
  for (const [minutes, severity] of [
    [-3, 'warning'],
    [20, 'error'],
  ] as const) {
    const port = await startTimeProxy(t, azurite.url, minutes * 60_000);
    const file = join(azurite.dir, `skewed-${minutes}`);
    const direct = `:${new URL(azurite.url).port}/`;
    writeFileSync(file, azurite.connectionString.replace(direct, `:${port}/`), { mode: 0o600 });
    const credential = `{ type = "connection-string", file = ${JSON.stringify(file)} }`;
    const daemon = await site.daemon(0, { archives: [{ container: 'archive', credential }] });
    const skewed = await doctor(site, daemon);
    t.match(skewed, { code: 1, codes: ['CLOCK_SKEW'] }, JSON.stringify(skewed.findings));
    t.equal(skewed.findings[0]?.severity, severity);
    t.match(skewed.findings[0]?.what, minutes < 0 ? /ahead of/ : /behind/);
    await daemon.stop();
  }
});

t.test('no daemon', async (t) => {
  const site = await JobSite.start(t);
  const daemon = await site.daemon();
  await daemon.kill();
  const dead = await doctor(site, daemon, '--mount', site.mount, '--config', daemon.configFile);
  t.match(dead, { code: 1, codes: ['NO_DAEMON'] }, 'and nothing else is wrong');
  writeFileSync(daemon.configFile, 'mont = "/x"\n');
  const broken = await doctor(site, daemon, '--mount', site.mount, '--config', daemon.configFile);
  t.match(broken.codes, ['NO_DAEMON', 'CONFIG']);
  const human = await site.cli('doctor', '--mount', site.mount, '--config', daemon.configFile);
  t.match(human, {
    code: 1,
    stdout: /^ERROR {4}NO_DAEMON: no daemon answers on .*\. Start it: .*\nERROR {4}CONFIG: /m,
  });
});

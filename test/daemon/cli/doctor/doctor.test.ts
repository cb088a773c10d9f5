// The command `doctor` against an admin API whose report is scripted.
import { chmodSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import type { DoctorFinding } from '../../../../daemon/doctor/doctor-report.js';
import { serveControl } from '../../control/fake-control.js';
import { cli } from '../fake-io.js';

async function setUp(t: Test) {
  const { control, dir, socket } = await serveControl(t);
  const lctl = (script: string): string => {
    const file = path.join(dir, 'lctl');
    writeFileSync(file, `#!/bin/sh\n${script}\n`);
    chmodSync(file, 0o755);
    return file;
  };
  const doctor = (...args: string[]) => cli(['doctor', ...args], { LHSM_AZBLOB_SOCKET: socket, PATH: '' });
  return { control, doctor, lctl };
}

const finding = (severity: DoctorFinding['severity'], code: string): DoctorFinding => ({
  severity,
  code,
  what: `it is \u001b[2J${code}`,
  hint: 'Mend it.',
});

t.test('one finding a line, the worst first; notes are no trouble', async (t) => {
  const { control, doctor } = await setUp(t);
  t.match(await doctor('--lctl', '/nowhere'), {
    code: 0,
    out: /^NOTE {5}COORDINATOR_NOT_ASKED: .*\nAll well: all\.\n$/,
  });
  const { report } = control.doctor;
  control.doctor.report = { ...report, findings: [finding('warning', 'B'), finding('error', 'A')] };
  const bad = await doctor('--lctl', '/nowhere');
  t.equal(bad.code, 1);
  t.match(bad.out, 'ERROR    A: it is \\x1b[2JA. Mend it.\nWARNING  B: it is \\x1b[2JB. Mend it.\nNOTE     ');
  const asJson = JSON.parse((await doctor('--json', '--lctl', '/nowhere')).out) as object;
  t.match(asJson, { well: false, checks: ['all'], findings: [{ code: 'A' }, { code: 'B' }, {}] });
});

t.test('an lctl on a client, and one that knows the MDT', async (t) => {
  const { doctor, lctl } = await setUp(t);
  t.match((await doctor('--lctl', lctl('echo no such parameter >&2; exit 2'))).out, /COORDINATOR_NOT_ASKED/);
  const knows = lctl(`case $2 in
  *hsm_control) echo mdt.lustre-MDT0000.hsm_control=disabled;;
  *agents) printf 'mdt.lustre-MDT0000.hsm.agents=\\nuuid=u archive_id=1 requests=[current:0 ok:0 errors:0]\\n';;
  *max_requests) echo mdt.lustre-MDT0000.hsm.max_requests=3;;
  *) echo mdt.lustre-MDT0000.hsm.actions=;;
esac`);
  const { code, out } = await doctor('--lctl', knows);
  t.equal(code, 1);
  t.match(out, /^ERROR {4}COORDINATOR_DISABLED: .*mdt\.lustre-MDT\*\.hsm_control=enabled\.\n$/);
});

t.test('a probe, in the root or where it is told', async (t) => {
  const { control, doctor } = await setUp(t);
  t.equal((await doctor('--lctl', '/nowhere', '--probe')).code, 0);
  t.equal((await doctor('--lctl', '/nowhere', '--probe', 'sub')).code, 0);
  t.same(control.doctor.probed, [undefined, '/mnt/lustre/home/sub']);
});

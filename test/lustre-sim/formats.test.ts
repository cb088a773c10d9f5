// What lfs, lctl and the parameters print, and how they exit.
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { archivedFile, fixture, onRealLustre, program, simOnly } from './simtool.js';

const f = await fixture(t);
const sh = (name: string) => join(f.dir, name);
const tool = f.tool();
await tool.register(f.mount);
const lctl = (...args: string[]) =>
  program('env', `LUSTRE_SIM_SOCKET=${f.sim.socket}`, f.sim.build.lctl, ...args).result;

t.test('lfs hsm_action: NOOP, waiting, running', async (t) => {
  await writeFile(sh('a1'), 'x');
  t.equal((await f.lfs('hsm_action', sh('a1'))).stdout, `${sh('a1')}: NOOP\n`);
  await f.lfs('hsm_archive', sh('a1'));
  const item = await tool.item();
  await tool.rc(`begin ${item.index}`);
  t.equal((await f.lfs('hsm_action', sh('a1'))).stdout, `${sh('a1')}: ARCHIVE running (0 bytes moved)\n`);
  await tool.rc(`progress ${item.index} 7`);
  await tool.rc(`progress ${item.index} 5`);
  t.match(
    (await f.lfs('hsm_action', sh('a1'))).stdout,
    / running \(12 bytes moved\)/,
    'progress counts deltas',
  );
  await tool.rc(`end ${item.index} 0`);
});

t.test('lfs hsm_state: the flags in their order, the archive id', async (t) => {
  await writeFile(sh('f2'), 'x');
  t.equal((await f.lfs('hsm_state', sh('f2'))).stdout, `${sh('f2')}: (0x00000000)\n`);
  await f.lfs('hsm_archive', '--archive', '2', sh('f2'));
  await tool.archiveOne(await tool.item());
  await f.lfs('hsm_release', sh('f2'));
  t.equal(
    (await f.lfs('hsm_state', sh('f2'))).stdout,
    `${sh('f2')}: (0x0000000d) released exists archived, archive_id:2\n`,
  );
  await f.lfs('hsm_set', '--norelease', '--noarchive', '--lost', sh('f2'));
  t.match(
    (await f.lfs('hsm_state', sh('f2'))).stdout,
    /released exists archived never_release never_archive lost_from_hsm/,
  );
});

t.test('several files, one line each; a missing one does not stop the rest', async (t) => {
  const { stdout, stderr, code } = await f.lfs('hsm_state', sh('none'), sh('a1'), sh('f2'));
  t.equal(stdout.trim().split('\n').length, 2);
  t.match(stderr, /none: No such file or directory/);
  t.not(code, 0);
});

t.test('what is refused: exit code and message', async (t) => {
  await writeFile(sh('f3'), 'x');
  const released = await f.lfs('hsm_release', sh('f3'));
  t.match(released.stderr, /^Cannot send HSM request \(use of .*f3\): Operation not permitted\n$/);
  t.equal(released.code, 1);
  await symlink('f3', sh('link'));
  await mkdir(sh('folder'));
  t.match(await f.lfs('hsm_archive', sh('link')), { code: 22, stderr: /not a regular file/ });
  t.match(await f.lfs('hsm_archive', sh('folder')), { code: 22, stderr: /not a regular file/ });
  t.match(await f.lfs('hsm_archive', sh('none')), { code: 2, stderr: /No such file/ });
  t.not((await f.lfs('hsm_archive')).code, 0);
  t.not((await f.lfs('hsm_wrong', sh('f3'))).code, 0);
});

t.test('--filelist, and more files than one request takes', async (t) => {
  const paths = Array.from({ length: 120 }, (_, i) => sh(`list ${i}`));
  for (const path of paths) await writeFile(path, 'x');
  await writeFile(sh('filelist'), paths.join('\n') + '\n');
  t.equal((await f.lfs('hsm_archive', '--filelist', sh('filelist'))).code, 0);
  for (const item of await tool.items(120)) await tool.archiveOne(item);
  t.equal((await f.lfs('hsm_release', ...paths)).code, 0);
  t.match(await f.state(paths[119] ?? ''), /released/);
});

t.test('path2fid and fid2path, hard links too', async (t) => {
  await mkdir(sh('sub dir'));
  await writeFile(sh('sub dir/ä #1'), 'x');
  await program('ln', sh('sub dir/ä #1'), sh('second')).result;
  const fid = (await f.lfs('path2fid', sh('second'))).stdout.trim();
  t.match(fid, /^\[0x[0-9a-f]+:0x[0-9a-f]+:0x0\]$/);
  const relative = f.dir.slice(f.mount.length + 1);
  const { stdout } = await f.lfs('fid2path', f.mount, fid);
  t.strictSame(stdout.trim().split('\n').sort(), [`${relative}/second`, `${relative}/sub dir/ä #1`]);
  t.match(await tool.run(`fid2path ${f.mount} ${fid} 1`), { rc: 0, linkno: 1 });
  t.match(await tool.run(`fid2path ${f.mount} ${fid} 2`), { rc: -61 });
});

t.test('hsm.actions: the record of a restore shows its volatile file', simOnly, async (t) => {
  await writeFile(sh('actions'), 'x');
  await archivedFile(f, tool, sh('actions'), { release: true });
  await f.lfs('hsm_restore', sh('actions'));
  const item = await tool.item();
  await tool.restoreOne(item, 'x');
  const lines = (await f.sim.getParam('hsm.actions'))
    .split('\n')
    .filter((line) => line.includes(item.cookie));
  t.match(
    lines[0],
    /^lrh=\[type=10680000 len=136 idx=\d+\/\d+\] fid=\[0x\w+:0x\w+:0x0\] dfid=\[0x\w+:0x\w+:0x0\] compound\/cookie=0x0\/0x\w+ action=RESTORE archive#=1 flags=0x0 extent=0x0-0xffffffffffffffff gid=0x0 datalen=0 status=SUCCEED data=\[\]$/,
  );
  t.notMatch(lines[0], `dfid=${item.fid}`);
});

t.test('hsm.agents, hsm.active_requests', simOnly, async (t) => {
  await writeFile(sh('active'), 'x');
  await f.lfs('hsm_archive', sh('active'));
  const item = await tool.item();
  t.match(
    await f.sim.getParam('hsm.agents'),
    /^uuid=[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12} archive_id=ANY requests=\[current:1 ok:\d+ errors:\d+\]\n$/,
  );
  t.match(await f.sim.getParam('hsm.active_requests'), /action=ARCHIVE .* canceled=0 uuid=.* done=0\n$/);
  await tool.archiveOne(item);
});

t.test('lctl get_param and set_param', simOnly, async (t) => {
  t.match(await lctl('get_param', '-n', 'mdt.*.hsm.max_requests'), { stdout: '1000\n', code: 0 });
  t.match(await lctl('get_param', 'mdt.*.hsm_control'), {
    stdout: 'mdt.lustre-MDT0000.hsm_control=enabled\n',
  });
  t.match(await lctl('set_param', 'mdt.lustre-MDT0000.hsm.max_requests=77'), { code: 0 });
  t.equal(await f.sim.getParam('hsm.max_requests'), '77');
  t.equal(await f.sim.getParam('hsm.policy'), 'NonBlockingRestore [NoRetryAction]');
  t.match(await lctl('get_param', 'mdt.other-MDT0000.hsm_control'), { code: 1, stderr: /No such file/ });
  t.match(await lctl('set_param', 'hsm.max_requests=many'), { code: 1, stderr: /Invalid argument/ });
  t.match(await lctl('wait', '1000', 'agents==1'), { code: 0 });
  t.match(await lctl('wait', '10', 'agents>=5'), { code: 1, stderr: /timed out/ });
  await t.rejects(f.sim.wait('nonsense'), /errno 22/);
});

t.test('the file system has a name; another directory has none', async (t) => {
  const name = await tool.run(`fsname ${f.dir}`);
  t.equal(name.rc, 0);
  if (!onRealLustre) t.equal(name['fsname'], 'lustre');
  t.ok([-19, -2].includes(await tool.rc('fsname /tmp')));
  t.equal(await tool.rc('fsname /does/not/exist'), -2);
});

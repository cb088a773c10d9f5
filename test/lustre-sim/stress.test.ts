// Many clients, tools, readers and writers at once: nothing is lost, nothing is left, no reader waits for ever.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { fixture, onRealLustre, program, type SimTool } from './simtool.js';

if (onRealLustre) {
  t.pass('needs the simulator');
} else {
  const f = await fixture(t, { mounts: 2, tunables: { 'hsm.max_requests': '64' } });
  const archive = join(f.sim.socket, '..', '..', 'archive');
  await mkdir(archive);
  const COUNT = 1000;

  const serving = async (mount: string): Promise<SimTool> => {
    const tool = f.tool();
    t.equal(await tool.register(mount), 0);
    await tool.rc(`serve ${archive} 6`);
    return tool;
  };
  const list = join(f.dir, 'list');
  const paths = Array.from({ length: COUNT }, (_, i) => join(f.dir, `f${i}`));

  t.test('two nodes share the archives of 1000 files', async (t) => {
    for (const [i, path] of paths.entries()) await writeFile(path, `content of ${i}`);
    await writeFile(list, paths.join('\n'));
    const tools = [await serving(f.mounts[0] ?? ''), await serving(f.mounts[1] ?? '')];
    await f.sim.lfsOk('hsm_archive', '--filelist', list);
    await f.sim.drained();
    for (const tool of tools) {
      const served = (await tool.run('served')) as unknown as { ok: number; failed: number };
      t.ok(served.ok > 300, `${served.ok} by one of the two`);
      t.equal(served.failed, 0);
    }
    t.match(await f.sim.counters(), { succeeded: COUNT, failed: 0, canceled: 0 });
    for (const tool of tools) await tool.kill();
    await f.sim.wait('agents==0');
  });

  t.test('released, then read by 40 readers on both nodes while one of two tools is killed', async (t) => {
    await f.sim.lfsOk('hsm_release', '--filelist', list);
    const [victim] = [await serving(f.mounts[0] ?? ''), await serving(f.mounts[1] ?? '')];
    await f.sim.setParam('hsm.active_request_timeout', '2');
    const reader = f.tool();
    const read = reader.run(`read_many ${f.dir} f ${COUNT} 40`);
    await f.sim.wait('succeeded>=1300');
    await victim.kill();
    await read; // those that the victim had begun fail, with ENODATA, at the timeout
    await f.sim.drained();
    const again = f.tool();
    t.equal((await again.run(`read_many ${f.dir} f ${COUNT} 40`)).rc, 0, 'and the next read gets them all');
    for (const [i, path] of paths.entries()) {
      if ((await readFile(path, 'utf8')) !== `content of ${i}`) t.fail(path);
    }
    t.equal((await f.sim.counters())['blocked'], 0);
    t.strictSame(await f.sim.violations(), []);
  });

  t.test('writers, renames, archives, releases, reads and cancels of the same files', async (t) => {
    await f.sim.setParam('hsm.active_request_timeout', '3600');
    const few = paths.slice(0, 40);
    const script = `
      set +e; cd '${f.dir}'; i=0
      while [ $i -lt 12 ]; do i=$((i+1)); for n in 0 7 14 21 28 35; do $1; done; done 2>/dev/null; exit 0`;
    const loops = [
      'echo again >> f$n',
      'timeout 5 cat f$n > /dev/null',
      'mv f$n g$n; mv g$n f$n',
      `'${f.sim.build.lfs}' hsm_archive f$n`,
      `'${f.sim.build.lfs}' hsm_release f$n`,
      `'${f.sim.build.lfs}' hsm_cancel f$n`,
      'truncate -s 5 f$n',
    ];
    await Promise.all(loops.map((loop) => program('sh', '-c', script.replace('$1', loop)).result));
    await f.sim.drained();
    for (const path of few) await f.sim.hsmState(path);
    t.equal((await f.sim.counters())['blocked'], 0);
    t.strictSame(await f.sim.violations(), []);
  });
}

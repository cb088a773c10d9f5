// Starting and stopping: several at once, with blocked readers, when the starter dies. Nothing may stay mounted.
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import t from 'tap';
import { buildLustreSim } from './build.js';
import { LustreSim } from './lustre-sim.js';
import { cat, ERRNO, onRealLustre, program, SimTool } from './simtool.js';

const mounted = async (path: string) => (await readFile('/proc/self/mounts', 'utf8')).includes(` ${path} `);

if (onRealLustre) {
  t.pass('needs the simulator');
} else {
  const build = await buildLustreSim();

  t.test('several simulators stand beside each other; stop leaves nothing', async (t) => {
    const sims = await Promise.all([LustreSim.start({ mounts: 3 }), LustreSim.start({ fsname: 'scratch' })]);
    t.equal(sims[0].mounts.length, 3);
    t.equal(await sims[1].getParam('mdt.scratch-MDT0000.hsm_control'), 'enabled');
    await writeFile(join(sims[0].mount, 'f'), 'x');
    t.strictSame(await readdir(sims[1].mount), []);
    for (const sim of sims) await sim.stop();
    for (const sim of sims) {
      await sim.stop();
      for (const mount of sim.mounts) t.notOk(await mounted(mount));
      await t.rejects(readdir(dirname(sim.mount)), { code: 'ENOENT' });
    }
  });

  t.test('stop with readers blocked and a tool registered: an error for both', async (t) => {
    const sim = await LustreSim.start();
    const tool = new SimTool(build.simtool, sim.library);
    await tool.register(sim.mount);
    await tool.run(`import ${sim.mount}/stub 1 5 644 0 0 0 0`);
    const reader = cat(join(sim.mount, 'stub'));
    await sim.wait('blocked==1');
    await tool.item();
    await sim.stop();
    t.not((await reader.result).code, 0);
    t.equal((await tool.recv()).rc, ERRNO.ESHUTDOWN);
    t.notOk(await mounted(sim.mount));
    await tool.kill();
  });

  t.test('stop after a kill -9 of the simulator takes the dead mounts away', async (t) => {
    const sim = await LustreSim.start({ mounts: 2 });
    process.kill(sim.pid, 'SIGKILL');
    await sim.stop();
    for (const mount of sim.mounts) t.notOk(await mounted(mount));
  });

  t.test('the simulator goes away with the process that started it', async (t) => {
    const module = pathToFileURL(join(dirname(fileURLToPath(import.meta.url)), 'lustre-sim.js')).href;
    const script = `import { LustreSim } from '${module}';
      const sim = await LustreSim.start({ mounts: 2 });
      console.log(JSON.stringify({ pid: sim.pid, mounts: sim.mounts }));
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script]);
    const line = await new Promise<string>((resolve) =>
      child.stdout.once('data', (data: Buffer) => {
        resolve(data.toString());
      }),
    );
    const { pid, mounts } = JSON.parse(line) as { pid: number; mounts: string[] };
    child.kill('SIGKILL');
    // tail ends when the process does.
    await new Promise((resolve) =>
      execFile('tail', [`--pid=${pid}`, '-s', '0.05', '-f', '/dev/null'], resolve),
    );
    for (const mount of mounts) t.notOk(await mounted(mount));
    await t.rejects(readdir(dirname(mounts[0] ?? '')), { code: 'ENOENT' });
  });

  t.test('it ends when its mounts are taken away from outside', async (t) => {
    const sim = await LustreSim.start();
    await program('umount', sim.mount).result;
    await new Promise((resolve) =>
      execFile('tail', [`--pid=${sim.pid}`, '-s', '0.05', '-f', '/dev/null'], resolve),
    );
    t.notOk(await mounted(sim.mount));
    await sim.stop();
  });

  t.test('mount points and a work directory of one’s own', async (t) => {
    const base = await mkdtemp(join(tmpdir(), 'own-'));
    t.teardown(() => rm(base, { recursive: true }));
    const [mountPoint, workDir] = [join(base, 'a'), join(base, 'work')];
    await program('mkdir', mountPoint, workDir).result;
    const sim = await LustreSim.start({ mountPoints: [mountPoint], workDir });
    t.equal(sim.mount, mountPoint);
    await writeFile(join(mountPoint, 'f'), 'x');
    await sim.stop();
    t.strictSame(await readdir(workDir), [], 'cleaned');
  });

  t.test('what cannot start says why', async (t) => {
    await t.rejects(LustreSim.start({ tunables: { 'hsm.nonsense': '1' } }), /ended before it was ready/);
    await t.rejects(LustreSim.start({ mountPoints: ['/does/not/exist'] }), /ended before it was ready/);
  });
}

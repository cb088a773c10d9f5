// Strict misuse checks: a copytool that calls the library wrongly fails loudly here, not silently on a real system.
// Nothing of this runs on a real Lustre.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import {
  archivedFile,
  cat,
  ERRNO,
  fixture,
  type Item,
  onRealLustre,
  simOnly,
  type SimTool,
} from './simtool.js';

if (onRealLustre) {
  t.pass('needs the simulator');
} else {
  const f = await fixture(t);
  const sh = (name: string) => join(f.dir, name);

  const archiving = async (name: string): Promise<[SimTool, Item]> => {
    const tool = f.tool();
    await tool.register(f.mount);
    await writeFile(sh(name), name);
    await f.lfs('hsm_archive', sh(name));
    return [tool, await tool.item()];
  };
  const restoring = async (name: string): Promise<[SimTool, Item]> => {
    const tool = f.tool();
    await tool.register(f.mount);
    await writeFile(sh(name), name);
    await archivedFile(f, tool, sh(name), { release: true });
    await f.lfs('hsm_restore', sh(name));
    return [tool, await tool.item()];
  };

  t.beforeEach(async () => {
    await f.sim.clearViolations();
  });

  t.test('an item ended twice', simOnly, async (t) => {
    const [tool, item] = await archiving('twice');
    await tool.archiveOne(item);
    await tool.failOne(item, 5);
    t.match(await f.sim.violations(), [
      /^begin on cookie .* this process has ended/,
      /^item with cookie .* ended twice$/,
    ]);
    await tool.run('unregister');
  });

  t.test('an end after EBUSY is a second end, too', async (t) => {
    const [tool, item] = await archiving('busy');
    await tool.rc(`begin ${item.index}`);
    await writeFile(sh('busy'), 'changed');
    t.equal(await tool.rc(`end ${item.index} 0`), ERRNO.EBUSY);
    t.strictSame(await f.sim.violations(), []);
    t.strictSame(await tool.failOne(item, 16), [0, ERRNO.ENOENT]);
    t.equal((await f.sim.violations()).length, 2);
    await tool.run('unregister');
  });

  t.test('an end without begin', async (t) => {
    const [tool, item] = await archiving('without');
    t.equal(await tool.rc(`end ${item.index} 0`), ERRNO.EINVAL);
    t.match(await f.sim.violations(), [/^end without begin$/]);
    await tool.archiveOne(item);
    await tool.run('unregister');
  });

  t.test('a handle used after its end', async (t) => {
    const [tool, item] = await archiving('stale');
    await tool.archiveOne(item);
    t.equal(await tool.rc(`progress_stale ${item.index}`), ERRNO.EINVAL);
    t.equal(await tool.rc(`end_stale ${item.index}`), ERRNO.EINVAL);
    t.match(await f.sim.violations(), [/^progress after the end of cookie/, /^end after the end of cookie/]);
    await tool.run('unregister');
  });

  t.test('begin twice on one live item', async (t) => {
    const [tool, item] = await archiving('begin');
    await tool.rc(`begin ${item.index}`);
    await tool.rc(`begin ${item.index}`);
    t.match(await f.sim.violations(), [/^begin twice on cookie/]);
    await tool.rc(`end ${item.index} 0`);
    await tool.run('unregister');
  });

  t.test('begin without is_error on a CANCEL item', async (t) => {
    const [tool, item] = await archiving('cancel');
    await tool.rc(`begin ${item.index}`);
    await f.lfs('hsm_cancel', sh('cancel'));
    const cancel = await tool.item();
    t.equal(await tool.rc(`begin ${cancel.index}`), ERRNO.EINVAL);
    t.match(await f.sim.violations(), [/^begin without is_error on a CANCEL item/]);
    await tool.rc(`end ${item.index} 125`);
    await tool.run('unregister');
  });

  t.test('progress on a cookie that was never issued, or on an error handle', async (t) => {
    const tool = f.tool();
    await tool.register(f.mount);
    const bytes = Buffer.alloc(72);
    bytes.writeUInt32LE(72, 0);
    bytes.writeUInt32LE(20, 4);
    bytes.writeBigUInt64LE(0x1234n, 56);
    const { index } = (await tool.run(`item ${bytes.toString('hex')}`)) as unknown as { index: number };
    t.equal(await tool.rc(`begin ${index}`), ERRNO.ENOENT, 'begin on it is only a stray item: no misuse');
    t.strictSame(await f.sim.violations(), []);
    t.equal(await tool.rc(`begin ${index} error`), 0);
    t.equal(await tool.rc(`progress ${index} 1`), ERRNO.ENOENT);
    t.match(await f.sim.violations(), [/never issued/, /begun with is_error/]);
    await tool.rc(`end ${index} 2`);
    await tool.run('unregister');
  });

  t.test('a write after the end of a restore', async (t) => {
    const [tool, item] = await restoring('write');
    await tool.rc(`begin ${item.index} 0`);
    const fd = await tool.rc(`get_fd ${item.index}`);
    await tool.rc(`write ${fd} 7772697465`);
    t.equal(await tool.rc(`end ${item.index} 0`), 0);
    t.equal(await tool.rc(`write ${fd} 00`), ERRNO.EIO);
    t.equal(await tool.rc(`truncate ${fd} 0`), ERRNO.EIO);
    t.match(await f.sim.violations(), [
      /^write of volatile file .* after the end/,
      /^truncate of volatile file/,
    ]);
    await tool.rc(`close ${fd}`);
    t.equal((await cat(sh('write')).result).stdout, 'write', 'the restored file is whole');
    await tool.run('unregister');
  });

  t.test('a descriptor of get_fd that is open at unregister', async (t) => {
    const [tool, item] = await archiving('leak');
    await tool.rc(`begin ${item.index}`);
    await tool.rc(`get_fd ${item.index}`);
    await tool.rc(`end ${item.index} 0`);
    await tool.run('unregister');
    t.match(await f.sim.violations(), [/^descriptor \d+ of get_fd is still open at unregister$/]);
    await tool.kill();
  });

  t.test('a receive buffer used after the next recv ends the process', async (t) => {
    const [tool, item] = await archiving('buffer');
    await tool.run('keep_list');
    await f.lfs('hsm_cancel', sh('buffer'));
    await tool.item();
    t.equal((await tool.run('use_kept_list')).rc, -1000);
    t.equal(await tool.exited, 'SIGABRT');
    t.match(await f.sim.violations(), [/^receive buffer used after the next recv$/]);
    t.match(tool.stderr, /VIOLATION: receive buffer used after the next recv/);
    const next = f.tool();
    await next.register(f.mount);
    const { index } = (await next.run(`item ${item.bytes}`)) as unknown as { index: number };
    await next.failOne({ ...item, index }, 125);
    await next.run('unregister');
  });

  t.test('an errno that is no small, positive one, and ENOSYS', async (t) => {
    for (const errno of [-5, 500, 38]) {
      const [tool, item] = await archiving(`errno${errno}`);
      await tool.rc(`begin ${item.index}`);
      await tool.rc(`end ${item.index} ${errno}`);
      await tool.run('unregister');
    }
    t.match(await f.sim.violations(), [/^end with errno -5 /, /^end with errno 500 /, /^end with ENOSYS/]);
  });

  t.test('a begin that failed, then is_error and end, is the right way', async (t) => {
    const [tool, item] = await archiving('right');
    await f.sim.fault('begin errno=EIO count=1');
    t.equal(await tool.rc(`begin ${item.index}`), ERRNO.EIO);
    t.strictSame(await tool.failOne(item, 5), [0, 0]);
    await f.sim.clearFaults();
    t.strictSame(await f.sim.violations(), []);
    await tool.run('unregister');
  });
}

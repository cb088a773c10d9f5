// Injected faults: at library calls, at file operations, in the action list, of space.
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { archivedFile, cat, ERRNO, fixture, onRealLustre, program } from './simtool.js';

if (onRealLustre) {
  t.pass('needs the simulator');
} else {
  const f = await fixture(t);
  const sh = (name: string) => join(f.dir, name);
  const tool = f.tool();
  await tool.register(f.mount);
  t.afterEach(async () => {
    await f.sim.clearFaults();
  });

  t.test('an errno at each call of the library', async (t) => {
    await writeFile(sh('calls'), 'x');
    const fid = await f.sim.fidOf(sh('calls'));
    const calls: [name: string, command: string][] = [
      ['state_get', `state ${sh('calls')}`],
      ['state_set', `state_set ${sh('calls')} 16 0 0`],
      ['current_action', `current_action ${sh('calls')}`],
      ['data_version', `data_version ${sh('calls')}`],
      ['path2fid', `path2fid ${sh('calls')}`],
      ['open_by_fid', `open_fid ${f.mount} ${fid}`],
      ['fid2path', `fid2path ${f.mount} ${fid}`],
      ['mdt_index', `mdt_index ${f.mount} ${fid}`],
      ['search_fsname', `fsname ${f.mount}`],
      ['request', `request ${f.mount} 10 1 0 - ${fid}`],
      ['import', `import ${sh('never')} 1 1 644 0 0 0 0`],
      ['recv', 'recv_now'],
    ];
    for (const [name, command] of calls) {
      await f.sim.fault(`${name} errno=EIO count=1`);
      t.equal(await tool.rc(command), ERRNO.EIO, name);
    }
    await f.sim.fault('register errno=EIO count=1');
    t.equal(await f.tool().register(f.mount), ERRNO.EIO, 'register');
    t.strictSame((await f.sim.getParam('sim.fault')).match(/hits=1/g)?.length, calls.length + 1);
    t.match(
      await program('ls', sh('never')).result,
      { stderr: /No such file/ },
      'a failed import leaves nothing',
    );
  });

  t.test('at begin, get_fd, get_dfid, progress and end, by action and by file', async (t) => {
    await writeFile(sh('action'), 'x');
    await writeFile(sh('other'), 'x');
    await f.lfs('hsm_archive', sh('action'), sh('other'));
    const [item, other] = await tool.items(2);
    if (item === undefined || other === undefined) throw new Error('two items');
    await f.sim.fault('begin errno=EAGAIN action=RESTORE');
    await f.sim.fault(`begin errno=ENOENT count=1 fid=${item.fid}`);
    t.equal(await tool.rc(`begin ${other.index}`), 0);
    t.equal(await tool.rc(`begin ${item.index}`), ERRNO.ENOENT);
    t.equal(await tool.rc(`begin ${item.index}`), 0);
    for (const call of ['get_fd', 'get_dfid']) {
      await f.sim.fault(`${call} errno=EIO count=1`);
      t.equal(await tool.rc(`${call} ${item.index}`), ERRNO.EIO, call);
    }
    await f.sim.fault('progress errno=ECANCELED nth=2');
    t.strictSame(
      [await tool.rc(`progress ${item.index} 1`), await tool.rc(`progress ${item.index} 1`)],
      [0, ERRNO.ECANCELED],
      'the second call, once',
    );
    t.equal(await tool.rc(`progress ${item.index} 1`), 0);
    await f.sim.fault('end errno=EIO count=1');
    t.equal(await tool.rc(`end ${item.index} 0`), ERRNO.EIO);
    t.strictSame(await tool.failOne(item, 5), [0, 0], 'an end that did not get through can be told again');
    t.equal(await tool.rc(`end ${other.index} 0`), 0);
    t.strictSame(await f.sim.violations(), []);
  });

  t.test('a delay blocks the caller, and only it', async (t) => {
    await f.sim.fault('state_get delay_ms=3000 count=1');
    const from = performance.now();
    const slow = tool.rc(`state ${f.dir}`);
    await f.sim.hsmState(f.dir);
    const quick = performance.now() - from;
    t.equal(await slow, 0);
    t.ok(performance.now() - from >= 3000);
    t.ok(quick < 3000, 'another one is not held up');
  });

  t.test('at file operations', async (t) => {
    await writeFile(sh('file'), 'content');
    const fid = await f.sim.fidOf(sh('file'));
    await f.sim.fault(`read errno=EIO fid=${fid} count=1`);
    await t.rejects(readFile(sh('file')), { code: 'EIO' });
    t.equal(await readFile(sh('file'), 'utf8'), 'content');
    await f.sim.fault(`write errno=EIO fid=${fid} count=1`);
    await t.rejects(writeFile(sh('file'), 'x'), { code: 'EIO' });
    await f.sim.fault(`open errno=EACCES fid=${fid} count=1`);
    await t.rejects(readFile(sh('file')), { code: 'EACCES' });
    const file = await open(sh('file'), 'r+');
    await f.sim.fault(`fsync errno=EIO fid=${fid} count=1`);
    await t.rejects(file.sync(), { code: 'EIO' });
    await file.close();
    await f.sim.fault(`setxattr errno=ENOSPC fid=${fid} count=1`);
    const set = `import os,sys; os.setxattr(sys.argv[1], 'user.a', b'1')`;
    t.match((await program('python3', '-c', set, sh('file')).result).stderr, /No space left/);
  });

  t.test('a fault that makes no sense is refused', async (t) => {
    for (const spec of [
      'nothing errno=EIO',
      'begin',
      'begin errno=EWHAT',
      'begin errno=EIO wrong=1',
      'begin errno=EIO nth=x',
    ]) {
      await t.rejects(f.sim.fault(spec), /errno 22/, spec);
    }
  });

  t.test('a full file system, and a quota: restores get ENOSPC and EDQUOT', async (t) => {
    await writeFile(sh('full'), 'content');
    await archivedFile(f, tool, sh('full'), { release: true });
    await f.sim.setParam('sim.enospc_after', 10);
    await f.lfs('hsm_restore', sh('full'));
    const item = await tool.item();
    await tool.rc(`begin ${item.index} 0`);
    const fd = await tool.rc(`get_fd ${item.index}`);
    t.equal(await tool.rc(`write ${fd} ${'00'.repeat(8)}`), 8);
    t.equal(await tool.rc(`write ${fd} ${'00'.repeat(8)} 8`), ERRNO.ENOSPC);
    await f.sim.setParam('sim.enospc_after', -1);
    await f.sim.setParam('sim.edquot_after', '0:4');
    t.equal(await tool.rc(`write ${fd} ${'00'.repeat(8)}`), ERRNO.EDQUOT);
    await f.sim.setParam('sim.edquot_after', '77:4');
    t.equal(await tool.rc(`write ${fd} ${'00'.repeat(8)}`), 8, "another user's quota");
    await f.sim.setParam('sim.edquot_after', '0:-1');
    t.equal(await tool.rc(`end ${item.index} 28`), 0);
    await tool.rc(`close ${fd}`);
    t.match(await f.state(sh('full')), /^\(0x0000000d\)/);
  });

  t.test('raw receive buffers arrive as they are', async (t) => {
    for (const bytes of [Buffer.alloc(3, 1), Buffer.alloc(200, 0xff), Buffer.alloc(0)]) {
      await f.sim.inject(0, bytes);
      const list = await tool.recv();
      t.match(list, { rc: 0, size: bytes.length, raw: bytes.toString('hex') });
    }
    await tool.run('unregister');
    await t.rejects(f.sim.inject(0, Buffer.alloc(8)), /errno 6/, 'nobody is registered');
    await tool.register(f.mount);
  });

  t.test('a list larger than the pipe arrives whole', async (t) => {
    const bytes = Buffer.alloc(1 << 20, 'lustre');
    for (let i = 0; i < 3; i++) await f.sim.inject(0, bytes);
    for (let i = 0; i < 3; i++) t.ok((await tool.recv()).raw === bytes.toString('hex'));
  });

  t.test('no reader is left waiting by a restore that could not even begin', async (t) => {
    await writeFile(sh('begin'), 'x');
    await archivedFile(f, tool, sh('begin'), { release: true });
    await f.sim.fault('begin errno=EIO count=1 action=RESTORE');
    const reader = cat(sh('begin'));
    const item = await tool.item();
    t.equal(await tool.rc(`begin ${item.index} 0`), ERRNO.EIO);
    await tool.failOne(item, 5);
    t.match((await reader.result).stderr, /No data available/);
  });
}

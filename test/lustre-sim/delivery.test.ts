// How actions reach a copytool: lists, registration, agents. Each test's name is a rule of the real system.
import { mkdtemp, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { ACTION, archivedFile, cat, ERRNO, fixture, onRealLustre, simOnly, USER } from './simtool.js';

const f = await fixture(t, { mounts: 3 });
const sh = (name: string) => join(f.dir, name);

t.test('an explicit request of many files arrives as lists of several items', async (t) => {
  const tool = f.tool();
  t.equal(await tool.register(f.mount), 0);
  const paths = Array.from({ length: 30 }, (_, i) => sh(`many${i}`));
  for (const path of paths) await writeFile(path, 'x');
  t.equal((await f.lfs('hsm_archive', ...paths)).code, 0);
  const list = await tool.recv();
  t.ok(list.items.length > 1, `${list.items.length} items in the first list`);
  const items = [...list.items, ...(await tool.items(30 - list.items.length))];
  t.equal(new Set(items.map((item) => item.cookie)).size, 30);
  for (const item of items) await tool.archiveOne(item);
  await tool.run('unregister');
});

t.test('--data X arrives behind each item, without NUL, len = 72 + length', async (t) => {
  const tool = f.tool();
  await tool.register(f.mount);
  await writeFile(sh('data'), 'x');
  const data = '{"name":"é%20x"}';
  await f.lfs('hsm_archive', '--data', data, sh('data'));
  const item = await tool.item();
  t.equal(item.len, 72 + Buffer.byteLength(data));
  t.equal(Buffer.from(item.data, 'hex').toString(), data);
  await tool.archiveOne(item);
  await tool.run('unregister');
});

t.test('the list is byte for byte what a real client delivers', simOnly, async (t) => {
  const tool = f.tool();
  await tool.register(f.mount);
  await writeFile(sh('bytes'), 'x');
  await f.lfs('hsm_archive', '--archive', '2', sh('bytes'));
  const list = await tool.recv();
  const [item] = list.items;
  if (item === undefined) throw new Error('no item');
  const expected = Buffer.alloc(112);
  expected.writeUInt32LE(1, 0); // version
  expected.writeUInt32LE(1, 4); // count
  expected.writeUInt32LE(2, 24); // archive id
  expected.write('lustre', 32);
  expected.writeUInt32LE(72, 40);
  expected.writeUInt32LE(ACTION.ARCHIVE, 44);
  for (const at of [48, 64]) {
    const [seq = 0n, oid = 0n] = item.fid.slice(1, -1).split(':').map(BigInt);
    expected.writeBigUInt64LE(seq, at);
    expected.writeUInt32LE(Number(oid), at + 8);
  }
  expected.fill(0xff, 88, 96);
  expected.writeBigUInt64LE(BigInt(item.cookie), 96);
  t.equal(list.raw, expected.toString('hex'));
  await tool.archiveOne(item);
  await tool.run('unregister');
});

t.test(
  'a restore that somebody waits for has list flags 4, an explicit one 0; dfid equals fid',
  async (t) => {
    const tool = f.tool();
    await tool.register(f.mount);
    await writeFile(sh('flags'), 'body');
    await archivedFile(f, tool, sh('flags'), { release: true });
    const reader = cat(sh('flags'));
    const blocking = await tool.recv();
    t.match(blocking, {
      flags: 4,
      items: [{ action: ACTION.RESTORE, offset: '0x0', length: '0xffffffffffffffff' }],
    });
    const [first] = blocking.items;
    if (first === undefined) throw new Error('no item');
    t.equal(first.fid, first.dfid);
    t.equal(await tool.restoreOne(first, 'body'), 0);
    t.equal((await reader.result).stdout, 'body');
    await f.lfs('hsm_release', sh('flags'));
    await f.lfs('hsm_restore', sh('flags'));
    const explicit = await tool.recv();
    t.match(explicit, { flags: 0, items: [{ action: ACTION.RESTORE }] });
    const [second] = explicit.items;
    if (second !== undefined) await tool.restoreOne(second, 'body');
    await tool.run('unregister');
  },
);

t.test('recv returns EAGAIN on an empty non-blocking pipe', async (t) => {
  const tool = f.tool();
  await tool.register(f.mount);
  t.equal(await tool.rc('recv_now'), ERRNO.EAGAIN);
  await tool.run('unregister');
});

t.test('registering where .lustre/fid does not exist returns ENOENT', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'no-lustre-'));
  t.teardown(() => rm(dir, { recursive: true }));
  t.equal(await f.tool().register(dir), ERRNO.ENOENT);
});

t.test(
  'two tools on one mount both receive every item; the second gets ENOENT from begin and from end',
  async (t) => {
    const [a, b] = [f.tool(), f.tool()];
    t.equal(await a.register(f.mount, 1), 0);
    t.equal(await b.register(f.mount, 7), 0, 'the second register returns 0');
    if (!onRealLustre)
      t.match(await f.sim.getParam('hsm.agents'), / archive_id=1 /, 'and adds no archive ids');
    await writeFile(sh('both'), 'x');
    await f.lfs('hsm_archive', sh('both'));
    const [first, second] = [await a.item(), await b.item()];
    t.equal(first.cookie, second.cookie);
    await a.archiveOne(first);
    t.equal(await b.rc(`begin ${second.index}`), ERRNO.ENOENT);
    t.strictSame(await b.failOne(second, 2), [0, ERRNO.ENOENT]);
    t.strictSame(onRealLustre ? [] : await f.sim.violations(), [], 'harmless: no misuse');
    await a.run('unregister');
    await b.run('unregister');
  },
);

t.test(
  'if one of two tools on a mount unregisters, the agent is dropped and the other hears nothing',
  async (t) => {
    const [a, b] = [f.tool(), f.tool()];
    await a.register(f.mount);
    await b.register(f.mount);
    await a.run('unregister');
    await writeFile(sh('dropped'), 'x');
    await f.lfs('hsm_archive', sh('dropped'));
    t.equal((await b.recv(300)).rc, ERRNO.ETIMEDOUT);
    await b.run('unregister');
    const c = f.tool();
    await c.register(f.mount);
    await c.archiveOne(await c.item());
    await c.run('unregister');
  },
);

t.test("if one of two tools on a mount is killed, the other's recv returns ESHUTDOWN", async (t) => {
  const [a, b] = [f.tool(), f.tool()];
  await a.register(f.mount);
  await b.register(f.mount);
  await a.kill();
  t.equal((await b.recv()).rc, ERRNO.ESHUTDOWN);
  t.equal(await b.rc('recv_now'), ERRNO.ESHUTDOWN, 'and stays so');
  await b.kill();
});

t.test('kill -9 deregisters the agent at once', simOnly, async (t) => {
  const tool = f.tool();
  await tool.register(f.mount);
  await f.sim.wait('agents==1');
  await tool.kill();
  await f.sim.wait('agents==0', 2000);
  t.equal(await f.sim.getParam('hsm.agents'), '');
});

t.test('a child that inherited the pipe keeps the registration alive', simOnly, async (t) => {
  const tool = f.tool();
  await tool.register(f.mount);
  const child = await tool.rc('fork');
  t.ok(child > 0);
  await tool.kill();
  await t.rejects(f.sim.wait('agents==0', 200), /errno 110/);
  process.kill(child, 'SIGKILL');
  await f.sim.wait('agents==0', 2000);
});

t.test('one request takes 52 FIDs, 53 give E2BIG, and 300 fail whole', async (t) => {
  const tool = f.tool();
  const fids = (count: number) => Array.from({ length: count }, () => '[0x200000401:0x1ffff:0x0]').join(' ');
  const send = (count: number, data = '-') =>
    tool.rc(`request ${f.mount} ${USER.CANCEL} 0 0 ${data} ${fids(count)}`);
  t.equal(await send(52), 0);
  t.equal(await send(53), ERRNO.E2BIG);
  t.equal(await send(300), ERRNO.E2BIG);
  t.equal(await send(52, 'd'.repeat(17)), 0, '24 + 32 * 52 + 17 = 1705');
  t.equal(await send(52, 'd'.repeat(18)), ERRNO.E2BIG);
});

t.test('a non-root register returns EACCES', async (t) => {
  const tool = f.tool();
  t.equal(await tool.rc('setuid 65534'), 0);
  t.equal(await tool.register(f.mount), ERRNO.EACCES);
});

t.test('register while hsm_control=shutdown: ENXIO; while disabled: works', simOnly, async (t) => {
  const tool = f.tool();
  await f.sim.setParam('hsm_control', 'shutdown');
  t.equal(await f.sim.getParam('hsm_control'), 'stopped');
  t.equal(await tool.register(f.mount), ERRNO.ENXIO);
  await f.sim.setParam('hsm_control', 'disabled');
  t.equal(await tool.register(f.mount), 0);
  await writeFile(sh('disabled'), 'x');
  await f.lfs('hsm_archive', sh('disabled'));
  t.equal((await tool.recv(200)).rc, ERRNO.ETIMEDOUT, 'nothing is handed out while disabled');
  await f.sim.setParam('hsm_control', 'enabled');
  await tool.archiveOne(await tool.item());
  await tool.run('unregister');
});

t.test(
  'after shutdown and enabled a registered tool is silently orphaned; registering anew mends it',
  simOnly,
  async (t) => {
    const tool = f.tool();
    await tool.register(f.mount);
    await f.sim.setParam('hsm_control', 'shutdown');
    await f.sim.setParam('hsm_control', 'enabled');
    await writeFile(sh('orphaned'), 'x');
    await f.lfs('hsm_archive', sh('orphaned'));
    t.equal((await tool.recv(300)).rc, ERRNO.ETIMEDOUT);
    t.equal(await f.sim.getParam('hsm.agents'), '');
    t.equal(await tool.rc('unregister'), 0);
    t.equal(await tool.register(f.mount), 0);
    await tool.archiveOne(await tool.item());
    await tool.run('unregister');
  },
);

t.test('after an MDT restart the kernel registers the tool again by itself', simOnly, async (t) => {
  const tool = f.tool();
  await tool.register(f.mount);
  await f.sim.setParam('sim.reregister_delay', '0.2');
  await f.sim.restartMdt();
  t.equal(await f.sim.getParam('hsm.agents'), '');
  await writeFile(sh('restarted'), 'x');
  await f.lfs('hsm_archive', sh('restarted'));
  await f.sim.wait('agents==1');
  await tool.archiveOne(await tool.item());
  await tool.run('unregister');
});

t.test('a client that is evicted: recv returns ESHUTDOWN, or quietly it comes back', simOnly, async (t) => {
  const tool = f.tool();
  await tool.register(f.mount);
  await f.sim.evict(0, true);
  await f.sim.wait('agents==0');
  await f.sim.wait('agents==1');
  await f.sim.evict(0);
  t.equal((await tool.recv()).rc, ERRNO.ESHUTDOWN);
  await tool.kill();
});

t.test('agents of one archive id take turns; others get none of it', simOnly, async (t) => {
  const [a, b, c] = [f.tool(), f.tool(), f.tool()];
  await a.register(f.mounts[0] ?? '', 3);
  await b.register(f.mounts[1] ?? '', 3);
  await c.register(f.mounts[2] ?? '', 4);
  const paths = Array.from({ length: 20 }, (_, i) => sh(`turn${i}`));
  for (const path of paths) await writeFile(path, 'x');
  await f.lfs('hsm_archive', '--archive', '3', ...paths);
  const [left, right] = [await a.items(10), await b.items(10)];
  t.equal((await c.recv(100)).rc, ERRNO.ETIMEDOUT);
  t.match(await f.sim.getParam('hsm.agents'), / archive_id=3 requests=\[current:10 ok:0 errors:0\]/);
  for (const item of left) await a.archiveOne(item);
  for (const item of right) await b.failOne(item, 5);
  t.match(await f.sim.getParam('hsm.agents'), /archive_id=3 requests=\[current:0 ok:10 errors:0\]/);
  t.match(await f.sim.getParam('hsm.agents'), /archive_id=3 requests=\[current:0 ok:0 errors:10\]/);
  for (const tool of [a, b, c]) await tool.run('unregister');
});

t.test('max_requests limits what is STARTED at once, over all agents', simOnly, async (t) => {
  const [a, b] = [f.tool(), f.tool()];
  await a.register(f.mounts[0] ?? '');
  await b.register(f.mounts[1] ?? '');
  await f.sim.setParam('hsm.max_requests', '3');
  const paths = Array.from({ length: 8 }, (_, i) => sh(`limit${i}`));
  for (const path of paths) await writeFile(path, 'x');
  await f.lfs('hsm_archive', ...paths);
  await f.sim.wait('started==3');
  t.equal((await f.sim.counters())['waiting'], 5);
  const [left, right] = [await a.recv(), await b.recv()];
  t.equal(left.items.length + right.items.length, 3);
  const [item] = left.items;
  if (item !== undefined) await a.archiveOne(item);
  await f.sim.wait('waiting==4');
  await f.sim.setParam('hsm_control', 'purge');
  await f.sim.setParam('hsm.max_requests', '1000');
  for (const tool of [a, b]) await tool.kill();
});

t.test('the coordinator hands out new work at most once a loop_period', simOnly, async (t) => {
  const tool = f.tool();
  await tool.register(f.mount);
  await f.sim.setParam('hsm.loop_period', '0.3');
  const times: number[] = [];
  for (const name of ['p1', 'p2', 'p3']) {
    await writeFile(sh(name), 'x');
    await f.lfs('hsm_archive', sh(name));
    await tool.archiveOne(await tool.item());
    times.push(performance.now());
  }
  await f.sim.setParam('hsm.loop_period', '0.02');
  t.ok((times[2] ?? 0) - (times[0] ?? 0) > 500, 'three sequential ones take two periods at least');
  await tool.run('unregister');
});

t.test(
  'a request cancelled before it was handed out arrives with its CANCEL in one list; begin: ECANCELED',
  simOnly,
  async (t) => {
    const tool = f.tool();
    await writeFile(sh('early'), 'x');
    await f.lfs('hsm_archive', sh('early'));
    await f.lfs('hsm_cancel', sh('early'));
    await tool.register(f.mount);
    const list = await tool.recv();
    t.match(list.items, [
      { action: ACTION.ARCHIVE },
      { action: ACTION.CANCEL, cookie: list.items[0]?.cookie },
    ]);
    t.equal(await tool.rc('begin 0'), ERRNO.ECANCELED);
    t.strictSame(await tool.failOne(list.items[0] as never, 125), [0, 0]);
    await f.sim.requestReaches(sh('early'), 'CANCELED');
    await f.sim.requestReaches(sh('early'), 'SUCCEED', { action: 'CANCEL' });
    await tool.run('unregister');
  },
);

t.test('remove-on-last-unlink sends REMOVE with dfid 0:0:0', simOnly, async (t) => {
  const tool = f.tool();
  await tool.register(f.mount);
  await writeFile(sh('last'), 'x');
  await archivedFile(f, tool, sh('last'));
  const fid = await f.sim.fidOf(sh('last'));
  await f.sim.setParam('hsm.remove_archive_on_last_unlink', '1');
  await unlink(sh('last'));
  const item = await tool.item();
  t.match(item, { action: ACTION.REMOVE, fid, dfid: '[0x0:0x0:0x0]' });
  t.equal(await tool.rc(`begin ${item.index}`), 0);
  t.equal(await tool.rc(`end ${item.index} 0`), 0);
  await f.sim.setParam('hsm.remove_archive_on_last_unlink', '0');
  await tool.run('unregister');
});

t.test('a request for an archive id that no agent serves stays WAITING', simOnly, async (t) => {
  const tool = f.tool();
  await tool.register(f.mount, 1, 2);
  await writeFile(sh('unserved'), 'x');
  await f.lfs('hsm_archive', '--archive', '300', sh('unserved'));
  t.equal((await tool.recv(200)).rc, ERRNO.ETIMEDOUT);
  await f.sim.requestReaches(sh('unserved'), 'WAITING');
  await f.sim.setParam('hsm_control', 'purge');
  await tool.run('unregister');
});

t.test('no test misused the library', simOnly, async (t) => {
  t.strictSame(await f.sim.violations(), []);
});

// The coordinator: cancel, retry, timeouts, purge, a restart of the metadata server.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { ACTION, archivedFile, cat, ERRNO, fixture, onRealLustre, simOnly } from './simtool.js';

const f = await fixture(t);
const sh = (name: string) => join(f.dir, name);
const tool = f.tool();
await tool.register(f.mount);

t.test(
  'a cancelled archive: progress ECANCELED, state exists, CANCELED, the CANCEL record SUCCEED',
  async (t) => {
    await writeFile(sh('cancel'), 'x');
    await f.lfs('hsm_archive', sh('cancel'));
    const item = await tool.item();
    t.equal(await tool.rc(`begin ${item.index}`), 0);
    t.equal(await tool.rc(`progress ${item.index} 1`), 0);
    await f.lfs('hsm_cancel', sh('cancel'));
    const cancel = await tool.item();
    t.match(cancel, { action: ACTION.CANCEL, cookie: item.cookie, fid: item.fid });
    t.equal(await tool.rc(`progress ${item.index} 1`), ERRNO.ECANCELED);
    t.equal(await tool.rc(`end ${item.index} 125`), 0);
    t.match(await f.state(sh('cancel')), /^\(0x00000001\) exists/);
    if (onRealLustre) return;
    await f.sim.requestReaches(sh('cancel'), 'CANCELED', { action: 'ARCHIVE' });
    await f.sim.requestReaches(sh('cancel'), 'SUCCEED', { action: 'CANCEL' });
  },
);

t.test('a cancelled restore: the blocked reader gets ENODATA', async (t) => {
  await writeFile(sh('reader'), 'x');
  await archivedFile(f, tool, sh('reader'), { release: true });
  const reader = cat(sh('reader'));
  const item = await tool.item();
  t.equal(await tool.rc(`begin ${item.index} 0`), 0);
  await f.lfs('hsm_cancel', sh('reader'));
  await tool.item();
  t.equal(await tool.rc(`end ${item.index} 125`), 0);
  t.match((await reader.result).stderr, /No data available/);
});

t.test('cancelled too late: the action succeeds, and no CANCEL is left waiting', simOnly, async (t) => {
  await writeFile(sh('late'), 'x');
  await f.lfs('hsm_archive', sh('late'));
  const item = await tool.item();
  t.equal(await tool.rc(`begin ${item.index}`), 0);
  await f.lfs('hsm_cancel', sh('late'));
  await tool.item();
  t.equal(await tool.rc(`end ${item.index} 0`), 0);
  await f.sim.drained(2000);
  t.match(await f.state(sh('late')), /^\(0x00000009\)/);
  t.equal((await f.lfs('hsm_cancel', sh('late'))).code, 0, 'nothing to cancel is no error');
});

t.test(
  'HP_FLAG_RETRY under the default policy: FAILED; with -NRA the record goes back to WAITING',
  simOnly,
  async (t) => {
    await writeFile(sh('retry'), 'x');
    await f.lfs('hsm_archive', sh('retry'));
    const item = await tool.item();
    await tool.rc(`begin ${item.index}`);
    t.equal(await tool.rc(`end ${item.index} 5 retry`), 0);
    await f.sim.requestReaches(sh('retry'), 'FAILED');

    await f.sim.setParam('hsm.policy', '-NRA');
    await f.lfs('hsm_archive', sh('retry'));
    const again = await tool.item();
    await tool.rc(`begin ${again.index}`);
    t.equal(await tool.rc(`end ${again.index} 5 retry`), 0);
    const third = await tool.item();
    t.equal(third.cookie, again.cookie);
    await tool.archiveOne(third);
    await f.sim.requestReaches(sh('retry'), 'SUCCEED');
    await f.sim.setParam('hsm.policy', '+NRA');
  },
);

t.test(
  'a restore that is retried keeps its reader waiting, and may get another volatile file',
  simOnly,
  async (t) => {
    await f.sim.setParam('hsm.policy', '-NRA');
    await writeFile(sh('patient'), 'x');
    await archivedFile(f, tool, sh('patient'), { release: true });
    const reader = cat(sh('patient'));
    const item = await tool.item();
    await tool.rc(`begin ${item.index} 0`);
    await tool.rc(`progress ${item.index} 1`);
    await tool.rc(`end ${item.index} 5 retry`);
    t.equal(await tool.restoreOne(await tool.item(), 'x'), 0);
    t.equal((await reader.result).stdout, 'x');
    await f.sim.setParam('hsm.policy', '+NRA');
  },
);

t.test('NonBlockingRestore: the reader gets ENODATA at once, and the restore comes', simOnly, async (t) => {
  await writeFile(sh('nbr'), 'x');
  await archivedFile(f, tool, sh('nbr'), { release: true });
  await f.sim.setParam('hsm.policy', '+NBR');
  t.match((await cat(sh('nbr')).result).stderr, /No data available/);
  t.equal(await tool.restoreOne(await tool.item(), 'x'), 0);
  await f.sim.setParam('hsm.policy', '-NBR');
  t.equal((await cat(sh('nbr')).result).stdout, 'x');
});

t.test(
  'NonBlockingRestore: a request is recorded, and answered with ENODATA all the same',
  simOnly,
  async (t) => {
    await writeFile(sh('nbr-asked'), 'x');
    await archivedFile(f, tool, sh('nbr-asked'), { release: true });
    await f.sim.setParam('hsm.policy', '+NBR');
    t.match((await f.lfs('hsm_restore', sh('nbr-asked'))).stderr, /No data available/);
    t.equal(await tool.restoreOne(await tool.item(), 'x'), 0);
    await f.sim.setParam('hsm.policy', '-NBR');
  },
);

t.test(
  'no sign of life for active_request_timeout cancels; progress, and begin too, are signs of life',
  simOnly,
  async (t) => {
    await f.sim.setParam('hsm.active_request_timeout', '1');
    await writeFile(sh('alive'), 'x');
    await writeFile(sh('silent'), 'x');
    await f.lfs('hsm_archive', sh('alive'), sh('silent'));
    const [alive, silent] = await tool.items(2);
    if (alive === undefined || silent === undefined) throw new Error('two items');
    await tool.rc(`begin ${alive.index}`);
    await tool.rc(`begin ${silent.index}`);
    const beat = setInterval(() => void tool.rc(`progress ${alive.index} 0`), 300);
    await f.sim.requestReaches(sh('silent'), 'CANCELED');
    clearInterval(beat);
    await f.sim.requestReaches(sh('alive'), 'STARTED', { timeoutMs: 0 });
    await f.sim.setParam('hsm.active_request_timeout', '3600');
    t.equal(await tool.rc(`progress ${silent.index} 0`), ERRNO.ENOENT, 'the coordinator forgot it');
    t.equal(await tool.rc(`end ${silent.index} 0`), ERRNO.ENOENT);
    t.equal(await tool.rc(`end ${alive.index} 0`), 0);
  },
);

t.test('hsm.actions keeps finished requests for grace_delay', simOnly, async (t) => {
  await writeFile(sh('grace'), 'x');
  await archivedFile(f, tool, sh('grace'));
  const fid = await f.sim.fidOf(sh('grace'));
  t.ok((await f.sim.requests()).some((r) => r.fid === fid && r.status === 'SUCCEED'));
  await f.sim.setParam('hsm.grace_delay', '0');
  await writeFile(sh('grace2'), 'x');
  await archivedFile(f, tool, sh('grace2'));
  await f.sim.setParam('hsm.grace_delay', '60');
  t.notOk((await f.sim.requests()).some((r) => r.fid === fid));
});

t.test('sim.counters tell the most that were WAITING or STARTED at once', simOnly, async (t) => {
  await writeFile(sh('peak1'), 'x');
  await writeFile(sh('peak2'), 'x');
  await f.sim.setParam('sim.queue_peak', 'clear');
  const { waiting = 0, started = 0, queue_peak: before } = await f.sim.counters();
  t.equal(before, waiting + started);
  await f.lfs('hsm_archive', sh('peak1'), sh('peak2'));
  for (const item of await tool.items(2)) {
    t.equal(await tool.rc(`begin ${item.index}`), 0);
    t.equal(await tool.rc(`end ${item.index} 0`), 0);
  }
  await f.sim.requestReaches(sh('peak2'), 'SUCCEED');
  t.equal((await f.sim.counters())['queue_peak'], waiting + started + 2);
});

t.test(
  'in flight over an MDT restart: progress and end return ENOENT, STARTED until the timeout',
  simOnly,
  async (t) => {
    await f.sim.setParam('sim.reregister_delay', '0.05');
    await writeFile(sh('flight'), 'x');
    await f.lfs('hsm_archive', sh('flight'));
    const item = await tool.item();
    await tool.rc(`begin ${item.index}`);
    await f.sim.restartMdt();
    t.equal(await tool.rc(`progress ${item.index} 1`), ERRNO.ENOENT);
    t.equal(await tool.rc(`end ${item.index} 0`), ERRNO.ENOENT);
    await f.sim.requestReaches(sh('flight'), 'STARTED', { timeoutMs: 0 });
    await f.sim.wait('agents==1');
    await f.sim.setParam('hsm.active_request_timeout', '0');
    await f.sim.requestReaches(sh('flight'), 'CANCELED');
    await f.sim.setParam('hsm.active_request_timeout', '3600');
  },
);

t.test('what waits survives an MDT restart', simOnly, async () => {
  await f.sim.setParam('hsm_control', 'disabled');
  await writeFile(sh('survives'), 'x');
  await f.lfs('hsm_archive', sh('survives'));
  await f.sim.restartMdt();
  await f.sim.setParam('hsm_control', 'enabled');
  await tool.archiveOne(await tool.item());
});

t.test(
  'purge cancels what waits and what runs; the tool is told, and blocked readers get ENODATA',
  simOnly,
  async (t) => {
    await writeFile(sh('purge'), 'x');
    await archivedFile(f, tool, sh('purge'), { release: true });
    const reader = cat(sh('purge'));
    const item = await tool.item();
    await tool.rc(`begin ${item.index} 0`);
    await f.sim.setParam('hsm_control', 'purge');
    t.match((await reader.result).stderr, /No data available/);
    t.match(await tool.item(), { action: ACTION.CANCEL, cookie: item.cookie });
    t.equal(await tool.rc(`progress ${item.index} 1`), ERRNO.ECANCELED);
    t.equal(await tool.rc(`end ${item.index} 125`), 0);
    t.equal(await f.sim.getParam('hsm_control'), 'enabled', 'and the coordinator goes on');
  },
);

t.test('requests while hsm_control=shutdown are refused with EAGAIN', simOnly, async (t) => {
  await writeFile(sh('down'), 'x');
  await f.sim.setParam('hsm_control', 'shutdown');
  t.match((await f.lfs('hsm_archive', sh('down'))).stderr, /Resource temporarily unavailable/);
  await f.sim.setParam('hsm_control', 'enabled');
});

t.test('no test misused the library', simOnly, async (t) => {
  t.strictSame(await f.sim.violations(), []);
});

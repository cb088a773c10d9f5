// A copytool killed with work in hand, and what a new one can do about what it left.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { archivedFile, cat, ERRNO, fixture, type Item, type SimTool, simOnly } from './simtool.js';

const f = await fixture(t);
const sh = (name: string) => join(f.dir, name);

/** A tool that registers, begins what the request gives, and dies. */
async function killedWith(
  request: () => Promise<unknown>,
  before: (tool: SimTool, item: Item) => Promise<void>,
) {
  const tool = f.tool();
  await tool.register(f.mount);
  await request();
  const item = await tool.item();
  await before(tool, item);
  await tool.kill();
  const fresh = f.tool();
  while ((await fresh.register(f.mount)) !== 0);
  const { index } = (await fresh.run(`item ${item.bytes}`)) as unknown as { index: number };
  return { tool: fresh, item: { ...item, index } };
}

const begun = async (tool: SimTool, item: Item) => {
  await tool.rc(`begin ${item.index} 0`);
};
const progressed = async (tool: SimTool, item: Item) => {
  await tool.rc(`begin ${item.index} 0`);
  await tool.rc(`progress ${item.index} 1`);
};

t.test('its requests stay STARTED, and a new tool is not sent them again', simOnly, async (t) => {
  await writeFile(sh('stay'), 'x');
  const { tool, item } = await killedWith(() => f.lfs('hsm_archive', sh('stay')), begun);
  t.equal((await tool.recv(200)).rc, ERRNO.ETIMEDOUT);
  t.match(await f.lfs('hsm_action', sh('stay')), { stdout: /ARCHIVE running \(0 bytes moved\)/ });
  await tool.failOne(item, 5);
  await tool.run('unregister');
});

t.test('a new process can take an ARCHIVE up again, with or without progress', async (t) => {
  for (const before of [begun, progressed]) {
    await writeFile(sh('archive'), String(Math.random()));
    const { tool, item } = await killedWith(() => f.lfs('hsm_archive', sh('archive')), before);
    await tool.archiveOne(item);
    t.match(await f.state(sh('archive')), /^\(0x00000009\)/);
    await tool.run('unregister');
  }
});

t.test(
  'begin(is_error) + end for a journaled ARCHIVE gives FAILED and leaves the file as it was',
  async (t) => {
    await writeFile(sh('cleared'), 'x');
    const { tool, item } = await killedWith(() => f.lfs('hsm_archive', sh('cleared')), begun);
    t.strictSame(await tool.failOne(item, 5), [0, 0]);
    t.match((await f.lfs('hsm_action', sh('cleared'))).stdout, /NOOP/);
    t.match(await f.state(sh('cleared')), /^\(0x00000001\) exists/);
    await tool.run('unregister');
  },
);

t.test('a RESTORE without progress is taken up again, and the blocked reader gets its data', async (t) => {
  const first = f.tool();
  await first.register(f.mount);
  await writeFile(sh('restore'), 'kept');
  await archivedFile(f, first, sh('restore'), { release: true });
  await first.run('unregister');
  let reader: ReturnType<typeof cat> | undefined;
  const { tool, item } = await killedWith(async () => {
    reader = cat(sh('restore'));
    await Promise.resolve();
  }, begun);
  t.equal(await tool.restoreOne(item, 'kept'), 0);
  t.equal((await reader?.result)?.stdout, 'kept');
  await tool.run('unregister');
});

t.test(
  'a RESTORE with progress is refused with EINVAL, stays STARTED, and only begin(is_error) + end clears it',
  async (t) => {
    const first = f.tool();
    await first.register(f.mount);
    await writeFile(sh('claimed'), 'kept');
    await archivedFile(f, first, sh('claimed'), { release: true });
    await first.run('unregister');
    let reader: ReturnType<typeof cat> | undefined;
    const { tool, item } = await killedWith(async () => {
      reader = cat(sh('claimed'));
      await Promise.resolve();
    }, progressed);
    t.equal(await tool.rc(`begin ${item.index} 0`), 0);
    t.equal(await tool.rc(`progress ${item.index} 1`), ERRNO.EINVAL);
    t.equal(await tool.rc(`end ${item.index} 0`), ERRNO.EINVAL);
    t.match((await f.lfs('hsm_action', sh('claimed'))).stdout, /RESTORE running/);
    t.strictSame(await tool.failOne(item, 5), [0, 0]);
    t.match((await reader?.result)?.stderr, /No data available/);
    await tool.run('unregister');
  },
);

t.test(
  'a CANCEL whose cookie the tool does not know is cleared by begin(is_error) + end(ECANCELED)',
  async (t) => {
    await writeFile(sh('unknown'), 'x');
    const { tool } = await killedWith(() => f.lfs('hsm_archive', sh('unknown')), begun);
    await f.lfs('hsm_cancel', sh('unknown'));
    const cancel = await tool.item();
    t.equal(cancel.action, 23);
    t.strictSame(await tool.failOne(cancel, 125), [0, 0]);
    t.match((await f.lfs('hsm_action', sh('unknown'))).stdout, /NOOP/);
    await tool.run('unregister');
  },
);

t.test('a new archive request for a file with an orphaned one is accepted and succeeds', async (t) => {
  await writeFile(sh('orphan'), 'x');
  const { tool, item } = await killedWith(() => f.lfs('hsm_archive', sh('orphan')), begun);
  await archivedFile(f, tool, sh('orphan'));
  t.match(await f.state(sh('orphan')), /^\(0x00000009\)/);
  await tool.failOne(item, 5);
  await tool.run('unregister');
});

t.test('a reader left behind gets ENODATA when active_request_timeout has passed', simOnly, async (t) => {
  const first = f.tool();
  await first.register(f.mount);
  await writeFile(sh('timeout'), 'x');
  await archivedFile(f, first, sh('timeout'), { release: true });
  await first.run('unregister');
  await f.sim.setParam('hsm.active_request_timeout', '1');
  let reader: ReturnType<typeof cat> | undefined;
  const { tool, item } = await killedWith(async () => {
    reader = cat(sh('timeout'));
    await Promise.resolve();
  }, begun);
  t.match(await reader?.result, { code: 1, stderr: /No data available/ });
  await f.sim.requestReaches(sh('timeout'), 'CANCELED');
  t.equal(await tool.rc(`begin ${item.index} 0`), ERRNO.ENOENT, 'forgotten by now');
  await f.sim.setParam('hsm.active_request_timeout', '3600');
  await tool.run('unregister');
});

t.test('no test misused the library', simOnly, async (t) => {
  t.strictSame(await f.sim.violations(), []);
});

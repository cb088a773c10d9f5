// Rules of the queue: the pipe is always drained, restores have their lane, one file's actions follow each other, and
// what is cancelled ends with ECANCELED wherever it is. The daemon has four slots, two of them for restores.
import { setTimeout } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { AgentStatus, LaneStatus } from '../../daemon/control/agent-control.js';
import { ask } from '../daemon/control/request.js';
import type { Daemon, LogLine } from '../helpers/daemon.js';
import { Site } from '../helpers/site.js';

const SLOTS = 4;
const ARCHIVE_SLOTS = 2;
/** Their items are more than twice what a pipe holds. */
const FLOOD = 2000;

let site: Site;
let daemon: Daemon;

t.before(async () => {
  site = await Site.start({
    tunables: { 'hsm.max_requests': '10000' },
    more:
      `[scheduler]\nmax_actions = ${SLOTS}\nrestore_reserved = ${SLOTS - ARCHIVE_SLOTS}\n` +
      '[transfer]\nstall_timeout_s = 60\n[http]\nlisten = "off"\n',
  });
  daemon = await site.daemon();
});

t.teardown(() => site.stop());

async function status(): Promise<AgentStatus> {
  const { socket } = await daemon.log((line) => line.msg === 'admin API');
  return (await ask(String(socket), 'GET', '/v1/status')).body as AgentStatus;
}

/** Asks for the status until it is so; gives up long before the test is. */
async function statusIs(fits: (now: AgentStatus) => boolean): Promise<AgentStatus> {
  const until = performance.now() + 100_000;
  for (;;) {
    const now = await status();
    if (fits(now)) return now;
    if (performance.now() > until) throw new Error(`it stays so: ${JSON.stringify(now)}`);
    await setTimeout(20);
  }
}

function lane(now: AgentStatus, name: LaneStatus['lane']): { queued: number; running: number } {
  const { queued = 0, running = 0 } = now.lanes.find((each) => each.lane === name) ?? {};
  return { queued, running };
}

/** Files of some bytes; answers their paths. */
function files(name: string, count: number): string[] {
  return Array.from({ length: count }, (_, n) => {
    site.write(`${name}-${n}`, 100);
    return site.path(`${name}-${n}`);
  });
}

async function ended(path: string, op: string): Promise<LogLine> {
  const fid = await site.sim.fidOf(path);
  return daemon.log((line) => line['fid'] === fid && line['op'] === op && 'result' in line);
}

/** Everything is over, and no slot or queue holds anything. */
async function empty(t: Test): Promise<void> {
  site.gate.open();
  await site.drained();
  const now = await statusIs(({ journal }) => journal.items === 0);
  t.match(now, { inFlight: [] });
}

t.test(
  'restores first: archives cannot fill their lane, and a blocked reader does not wait for them',
  async (t) => {
    const [wanted = ''] = files('wanted', 1);
    await site.hsm('archive', wanted);
    await site.hsm('release', wanted);
    const archives = files('many', 20);
    site.gate.hold();
    await site.lfs('hsm_archive', ...archives);
    await statusIs((now) => lane(now, 'archive').queued === archives.length - ARCHIVE_SLOTS);
    const reader = site.read('wanted-0');
    const now = await statusIs(({ inFlight }) => inFlight.some(({ kind }) => kind === 'restore'));
    t.same(lane(now, 'archive'), { running: ARCHIVE_SLOTS, queued: archives.length - ARCHIVE_SLOTS });
    t.match(
      now.inFlight.filter(({ kind }) => kind === 'restore'),
      [{ blocking: true }],
      'a restore with list flags 4 is one that somebody waits for',
    );
    site.gate.open();
    t.equal((await reader).length, 100);
    await empty(t);
  },
);

t.test('a restore with list flags 0 is one that nobody waits for', async (t) => {
  const [path = ''] = files('explicit', 1);
  await site.hsm('archive', path);
  await site.hsm('release', path);
  site.gate.hold();
  await site.lfs('hsm_restore', path);
  const now = await statusIs(({ inFlight }) => inFlight.length === 1);
  t.match(now.inFlight, [{ kind: 'restore', blocking: false }]);
  await empty(t);
});

t.test('two actions for one file run one after the other', async (t) => {
  const [path = ''] = files('twice', 1);
  await site.hsm('archive', path);
  site.write('twice-0', 200);
  site.gate.hold();
  await site.lfs('hsm_archive', path);
  await site.gate.held(1);
  await site.lfs('hsm_remove', path);
  const now = await statusIs((each) => lane(each, 'remove').queued + lane(each, 'remove').running === 1);
  t.same(
    [lane(now, 'archive'), lane(now, 'remove')],
    [
      { running: 1, queued: 0 },
      { running: 0, queued: 1 },
    ],
    'there are free slots, but the remove waits for the archive',
  );
  site.gate.open();
  await site.drained();
  t.match(await ended(path, 'remove'), { result: 'succeeded' });
  t.notOk(await site.container.getBlobClient('twice-0').exists());
  await empty(t);
});

t.test('cancel of a queued action: it ends with ECANCELED at once, and what runs goes on', async (t) => {
  const paths = files('queue', 6);
  site.gate.hold();
  await site.lfs('hsm_archive', ...paths);
  await statusIs((now) => lane(now, 'archive').queued === 4);
  const last = paths.at(-1) ?? '';
  await site.lfs('hsm_cancel', last);
  await site.sim.requestReaches(last, 'CANCELED', { action: 'ARCHIVE' });
  await site.sim.requestReaches(last, 'SUCCEED', { action: 'CANCEL' });
  t.match(await ended(last, 'archive'), { level: 'info', result: 'canceled' });
  t.notMatch(await site.state(last), /archived/);
  t.match(await status(), { inFlight: [{}, {}] });
  site.gate.open();
  await site.drained();
  for (const path of paths.slice(0, -1)) t.match(await site.state(path), /exists archived/);
  await empty(t);
});

t.test(
  'cancel of a running action: both records are closed, and the CANCEL itself is neither begun nor ended',
  async (t) => {
    const [path = ''] = files('running', 1);
    site.gate.hold();
    await site.lfs('hsm_archive', path);
    await site.gate.held(1);
    await site.lfs('hsm_cancel', path);
    await site.sim.requestReaches(path, 'CANCELED', { action: 'ARCHIVE' });
    await site.sim.requestReaches(path, 'SUCCEED', { action: 'CANCEL' });
    t.match(await ended(path, 'archive'), { result: 'canceled' });
    t.notOk(daemon.lines.some((line) => line['op'] === 'cancel' && 'result' in line));
    await empty(t);
  },
);

t.test(
  'cancelled before it was handed out: action and CANCEL in one list, ended once with ECANCELED',
  async (t) => {
    const [path = ''] = files('early', 1);
    await site.sim.setParam('hsm_control', 'disabled');
    await site.lfs('hsm_archive', path);
    await site.lfs('hsm_cancel', path);
    await site.sim.setParam('hsm_control', 'enabled');
    await site.sim.requestReaches(path, 'CANCELED', { action: 'ARCHIVE' });
    t.match(await ended(path, 'archive'), { level: 'info', result: 'canceled' });
    await site.hsm('archive', path);
    t.match(await site.state(path), /exists archived/);
    await empty(t);
  },
);

t.test(
  'the pipe is always drained: thousands of items are taken in while a few run, and a purge ends them all',
  async (t) => {
    const paths = files('flood', FLOOD);
    site.gate.hold();
    await site.lfs('hsm_archive', ...paths);
    const now = await statusIs((each) => lane(each, 'archive').queued === FLOOD - ARCHIVE_SLOTS);
    t.equal(lane(now, 'archive').running, ARCHIVE_SLOTS, 'in memory, in no slot');
    t.equal(now.journal.items, FLOOD, 'and in the journal, before any of them begins');
    const { delivered = 0 } = await site.sim.counters();
    t.ok(delivered >= FLOOD);
    await site.sim.setParam('hsm_control', 'purge');
    await statusIs(({ journal }) => journal.items === 0);
    t.equal((await site.sim.counters())['started'], 0, 'each had its end');
    await empty(t);
  },
);

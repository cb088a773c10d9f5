// kill -9 of the daemon with everything in flight: the next process finishes it all, and nobody notices but by waiting.
import { once } from 'node:events';
import { readdirSync, readFileSync, watch } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Daemon } from '../helpers/daemon.js';
import { Site } from '../helpers/site.js';

const RESTORES = 50;
const ARCHIVES = 450;

/** Requests by status, from the coordinator's own list. */
async function statuses(site: Site): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  for (const { status } of await site.sim.requests()) counts.set(status, (counts.get(status) ?? 0) + 1);
  return counts;
}

/** Resolves when the journals of these daemons together hold so many lines of a kind (`r`eceived, `p`rogressed). */
async function journaled(daemons: readonly Daemon[], kind: string, lines: number): Promise<void> {
  const files = daemons.map(({ dir }) => {
    const [folder = ''] = readdirSync(join(dir, 'state'));
    return join(dir, 'state', folder, 'journal');
  });
  const enough = (): boolean =>
    files
      .map((file) => readFileSync(file, 'utf8').split(`"t":"${kind}"`).length - 1)
      .reduce((a, n) => a + n) >= lines;
  const watchers = files.map((file) => watch(file));
  try {
    while (!enough()) await Promise.race(watchers.map((watcher) => once(watcher, 'change')));
  } finally {
    for (const watcher of watchers) watcher.close();
  }
}

t.test('kill -9 in the middle of 500 actions, readers blocked on 50 restores', async (t) => {
  const site = await Site.start();
  t.teardown(() => site.stop());
  const first = await Daemon.start(site.settings());
  const name = (kind: string, n: number): string => `${kind}-${n}`;
  const content = new Map<string, Buffer>();

  const released = Array.from({ length: RESTORES }, (_, n) => name('released', n));
  for (const each of released) content.set(each, site.write(each, 20_000));
  await site.hsm('archive', ...released.map((each) => site.path(each)));
  await site.hsm('release', ...released.map((each) => site.path(each)));
  const fresh = Array.from({ length: ARCHIVES }, (_, n) => name('fresh', n));
  for (const each of fresh) content.set(each, site.write(each, 5000));

  site.gate.hold();
  const readers = released.map((each) => site.read(each));
  for (const reader of readers) reader.catch(() => undefined);
  await site.lfs('hsm_archive', ...fresh.map((each) => site.path(each)));
  await site.gate.held(20);
  await site.sim.wait(`started==${RESTORES + ARCHIVES}`);
  // What the dead process has not even read is beyond it: the coordinator times it out.
  await journaled([first], 'r', RESTORES + RESTORES + ARCHIVES);
  await first.kill();
  t.equal(
    (await statuses(site)).get('STARTED'),
    RESTORES + ARCHIVES,
    'all 500 are left STARTED by the dead process',
  );

  site.gate.open();
  const second = await Daemon.start({ ...site.settings(), dir: first.dir });
  t.teardown(() => second.stop());
  const read = await Promise.all(readers);
  t.ok(
    read.every((bytes, n) => content.get(released[n] ?? '')?.equals(bytes)),
    'every reader gets its data without an error',
  );
  await site.drained();
  const after = await statuses(site);
  t.equal(after.get('STARTED') ?? 0, 0, 'nothing stays STARTED');
  t.equal(after.get('WAITING') ?? 0, 0);
  t.equal(after.get('FAILED') ?? 0, 0, 'nothing failed');

  const states = await site.lfs('hsm_state', ...[...content.keys()].map((each) => site.path(each)));
  t.equal(
    states.match(/\(0x00000009\) exists archived/g)?.length,
    RESTORES + ARCHIVES,
    'every archive is complete',
  );
  let intact = 0;
  for (const [each, bytes] of content) {
    const blob = await site.container.getBlobClient(each).downloadToBuffer();
    if (blob.equals(bytes) && (await site.read(each)).equals(bytes)) intact += 1;
  }
  t.equal(intact, RESTORES + ARCHIVES, 'every file and every blob is intact');
});

t.test(
  'a restore that had sent progress is cleared at the next start: the reader gets ENODATA, the next read its data',
  async (t) => {
    const site = await Site.start({
      more: '[hsm]\nheartbeat_s = 0.05\nrestore_first_progress_s = 0.01\n[http]\nlisten = "127.0.0.1:0"\n',
    });
    t.teardown(() => site.stop());
    const first = await Daemon.start(site.settings());
    const bytes = site.write('file', 100_000);
    await site.hsm('archive', site.path('file'));
    await site.hsm('release', site.path('file'));
    site.gate.hold();
    const reader = site.read('file').catch((error: unknown) => error);
    await journaled([first], 'p', 1);
    await first.kill();
    site.gate.open();
    const second = await Daemon.start({ ...site.settings(), dir: first.dir });
    t.teardown(() => second.stop());
    t.match(String(((await reader) as { stderr?: unknown }).stderr), /No data available/);
    t.ok((await site.read('file')).equals(bytes));
    await site.drained();
    t.equal((await statuses(site)).get('STARTED') ?? 0, 0);
  },
);

t.test('a remove left by a dead process and given up by the MDT meanwhile deletes nothing', async (t) => {
  const site = await Site.start();
  t.teardown(() => site.stop());
  const first = await Daemon.start(site.settings());
  const bytes = site.write('file', 1000);
  await site.hsm('archive', site.path('file'));
  site.gate.hold();
  await site.lfs('hsm_remove', site.path('file'));
  await site.gate.held(1);
  await first.kill();
  // The coordinator times the request out: the file stays archived, its copy is wanted again.
  await site.sim.setParam('hsm.active_request_timeout', 1);
  await site.drained();
  await site.sim.setParam('hsm.active_request_timeout', 3600);
  site.gate.open();
  const second = await Daemon.start({ ...site.settings(), dir: first.dir });
  t.teardown(() => second.stop());
  await site.hsm('release', site.path('file'));
  t.ok((await site.read('file')).equals(bytes));
});

t.test('two daemons share 2,000 actions; one is killed and comes back; all finish', async (t) => {
  const site = await Site.start({ nodes: 2, tunables: { 'hsm.max_requests': '2000' } });
  t.teardown(() => site.stop());
  const [one, two] = await Promise.all([Daemon.start(site.settings(0)), Daemon.start(site.settings(1))]);
  t.teardown(() => one.stop());
  const names = Array.from({ length: 2000 }, (_, n) => `file-${n}`);
  for (const each of names) site.write(each, 1000);
  site.gate.hold();
  await site.lfs('hsm_archive', ...names.map((each) => site.path(each)));
  await site.gate.held(20);
  await site.sim.wait('started==2000');
  await journaled([one, two], 'r', 2000);
  await two.kill();
  site.gate.open();
  const again = await Daemon.start({ ...site.settings(1), dir: two.dir });
  t.teardown(() => again.stop());
  await site.drained();
  const states = await site.lfs('hsm_state', ...names.map((each) => site.path(each)));
  t.equal(states.match(/\(0x00000009\) exists archived/g)?.length, 2000);
  await Promise.all([one.stop(), again.stop()]);
  const done = (daemon: Daemon): number => daemon.lines.filter((line) => line.msg === 'archive done').length;
  t.equal(done(one) + done(again) + done(two), 2000, 'each was done once');
  t.ok(done(one) > 500 && done(again) > 500, `shared: ${done(one)} and ${done(again)}`);
});

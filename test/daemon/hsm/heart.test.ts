// Beats and early begins: what keeps a request alive at the coordinator.
import { CopytoolAction } from '../../../native-bindings/constants.js';
import { Heart } from '../../../daemon/hsm/heart.js';
import { makeItem, makeList } from './fake-coordinator.js';
import { rule } from './rig.js';

const { ARCHIVE, RESTORE } = CopytoolAction;

rule(
  'a queued action that waits too long is begun early and kept alive',
  async (t, { receiver, copytool, job }) => {
    const [first, second] = [makeItem(ARCHIVE), makeItem(ARCHIVE)];
    receiver.accept(makeList([first, second]));
    const running = await job(0);
    const heart = new Heart({
      actions: () => receiver.actions(),
      timings: () => ({ heartbeatMs: 0, activeRequestTimeoutMs: 3000 }),
    });
    const soon = performance.now() + 500;
    await heart.pump(soon);
    t.same(copytool.begun, [first.cookie], 'not yet');
    await heart.pump(soon + 1000);
    t.same(copytool.begun, [first.cookie, second.cookie]);
    await heart.pump(soon + 2000);
    running.done();
    (await job(1)).done();
    await receiver.settled();
    t.ok(
      copytool.progress.some(({ cookie }) => cookie === second.cookie),
      'it beats while it waits',
    );
    t.match(copytool.ended, [{ errno: 0 }, { errno: 0 }]);
    t.equal(copytool.begun.length, 2, 'begun once');
  },
  { maxActions: 1 },
);

/** A promise and what fulfils it. */
function latch(): { readonly opened: Promise<void>; open: () => void } {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

rule(
  'a begin that does not return keeps no other action from its beats, and none from its early begin',
  async (t, { receiver, copytool, events, job }) => {
    const [first, second, third] = [makeItem(ARCHIVE), makeItem(ARCHIVE), makeItem(ARCHIVE)];
    receiver.accept(makeList([first, second, third]));
    const running = await job(0);
    const hung = latch();
    copytool.stuck.set(second.cookie, hung.opened);
    const heart = new Heart({
      actions: () => receiver.actions(),
      timings: () => ({ heartbeatMs: 0, activeRequestTimeoutMs: 3000 }),
    });
    const begun = events.next('begun');
    const late = performance.now() + 2000;
    const round = heart.pump(late);
    await begun;
    t.same(copytool.begun, [first.cookie, third.cookie]);
    void heart.pump(late + 1);
    const [one, , three] = receiver.actions();
    await one?.settled();
    await three?.settled();
    const beaten = copytool.progress.map(({ cookie }) => cookie);
    t.ok(beaten.includes(first.cookie) && beaten.includes(third.cookie), 'both beat');
    heart.pause();
    hung.open();
    await round;
    running.done();
    (await job(1)).done();
    (await job(2)).done();
    await receiver.settled();
    t.equal(copytool.ended.length, 3);
  },
  { maxActions: 1 },
);

rule(
  'archives whose begins hang keep no restore from its early begin',
  async (t, { receiver, copytool, events, job }) => {
    const archives = Array.from({ length: 9 }, () => makeItem(ARCHIVE));
    receiver.accept(makeList(archives));
    (await job(0)).done();
    const running = await job(1);
    const hung = latch();
    for (const { cookie } of archives.slice(2)) copytool.stuck.set(cookie, hung.opened);
    const restore = makeItem(RESTORE);
    receiver.accept(makeList([restore]));
    const heart = new Heart({
      actions: () => receiver.actions(),
      timings: () => ({ heartbeatMs: 0, activeRequestTimeoutMs: 3000 }),
    });
    const begun = events.next('begun');
    void heart.pump(performance.now() + 2000);
    t.match(await begun, { kind: 'restore' });
    hung.open();
    running.done();
    for (let n = 2; n < 10; n += 1) (await job(n)).done();
    await receiver.settled();
    t.equal(copytool.ended.length, 10);
  },
  { maxActions: 1 },
);

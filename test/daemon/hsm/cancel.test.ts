// A CANCEL, or the end of the daemon, that meets an action whose end is under way.
import { setImmediate } from 'node:timers/promises';
import { CopytoolAction, ProgressFlag } from '../../../native-bindings/constants.js';
import { LhsmError } from '../../../native-bindings/errors.js';
import { STOP_REASONS } from '../../../daemon/hsm/action.js';
import { makeItem, makeList, type FakeCopytool } from './fake-coordinator.js';
import { rule } from './rig.js';

const { ARCHIVE, CANCEL } = CopytoolAction;
const ECANCELED = 125;

/** Holds the ends of a coordinator back. */
function hold(copytool: Pick<FakeCopytool, 'holdEnds'>): { readonly held: Promise<void>; open: () => void } {
  let [tell, open] = [(): void => undefined, (): void => undefined];
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const held = new Promise<void>((resolve) => {
    tell = resolve;
  });
  copytool.holdEnds = () => {
    tell();
    return opened;
  };
  return { held, open };
}

for (const again of ['a second CANCEL', 'the end of the daemon'] as const) {
  rule(
    `${again} does not forget an action whose end is under way`,
    async (t, { receiver, copytool, job }) => {
      const [first, second] = [makeItem(ARCHIVE), makeItem(ARCHIVE)];
      receiver.accept(makeList([first, second]));
      const running = await job(0);
      const { held, open } = hold(copytool);
      const cancel = makeList([{ ...second, action: CANCEL }]);
      receiver.accept(cancel);
      let stopped: Promise<void> | undefined;
      if (again === 'a second CANCEL') receiver.accept(cancel);
      else stopped = receiver.stopAll(STOP_REASONS.shutdown());
      await held;
      // Every promise that can be fulfilled without the coordinator is, then.
      await setImmediate();
      const inHand = [...receiver.actions()].map(({ item }) => item.cookie);
      t.ok(inHand.includes(second.cookie), 'until the coordinator has answered');
      open();
      running.done();
      await stopped;
      await receiver.settled();
      t.equal(copytool.ended.length, 2, 'one end for each');
      t.match(
        copytool.ended.find(({ cookie }) => cookie === second.cookie),
        { errno: ECANCELED },
      );
    },
    { maxActions: 1 },
  );
}

rule(
  'a CANCEL while the former life of an item is ending reaches the one that came again',
  async (t, { receiver, copytool, job, jobs }) => {
    const item = makeItem(ARCHIVE);
    receiver.accept(makeList([item]));
    const { held, open } = hold(copytool);
    (await job(0)).done(new LhsmError('busy', { code: 'EAGAIN', op: 'x', retryable: true }));
    await held;
    receiver.accept(makeList([item]));
    receiver.accept(makeList([{ ...item, action: CANCEL }]));
    open();
    await receiver.settled();
    t.match(copytool.ended, [
      { errno: 11, flags: ProgressFlag.RETRY },
      { errno: ECANCELED, isError: true },
    ]);
    t.equal(jobs.length, 1, 'and it is not carried out');
  },
);

// The registration: what becomes of items that arrive at its edges, and of a pipe that ends.
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { CopytoolAction } from '../../native-bindings/constants.js';
import type { ActionList, Copytool, Lustre } from '../../native-bindings/lustre.js';
import type { LhsmError } from '../../native-bindings/errors.js';
import { STOP_REASONS } from '../../daemon/hsm/action.js';
import { Heart } from '../../daemon/hsm/heart.js';
import { Registration } from '../../daemon/registration.js';
import { failure, FakeCopytool, makeItem, makeList } from './hsm/fake-coordinator.js';
import { rig } from './hsm/rig.js';

const { ARCHIVE } = CopytoolAction;

/** A registration whose every copytool comes from `register`. */
function registrationOf(
  t: Test,
  register: () => Promise<Copytool>,
  stillMounted: () => Promise<boolean> = () => Promise.resolve(true),
) {
  const made = rig(t);
  const stopping = new AbortController();
  const over: (LhsmError | undefined)[] = [];
  const registration = new Registration({
    mount: '/mnt/lustre',
    archiveIds: [1],
    lustre: { register } as unknown as Lustre,
    receiver: made.receiver,
    scheduler: made.scheduler,
    heart: new Heart({
      actions: () => [],
      timings: () => ({ heartbeatMs: 1, activeRequestTimeoutMs: 1 }),
    }),
    events: made.events,
    log: pino({ level: 'silent' }),
    graceMs: () => 0,
    stopping: stopping.signal,
    stillMounted,
    onOver: (error) => over.push(error),
  });
  return { ...made, registration, stopping, over };
}

/** Receives nothing until it is told to stop, and has a list left then. */
class LastList extends FakeCopytool {
  readonly #last: ActionList;

  constructor(last: ActionList) {
    super();
    this.#last = last;
  }

  override unregister(take?: (list: ActionList) => void): Promise<void> {
    take?.(this.#last);
    return Promise.reject(failure('EIO', 'llapi_hsm_copytool_unregister'));
  }
}

/** Its pipe is closed at the other end. */
class HungUp extends FakeCopytool {
  override receive(): Promise<ActionList[]> {
    return Promise.reject(failure('EPIPE', 'poll'));
  }
}

/** Waits for lists in vain. */
class Quiet extends FakeCopytool {
  override receive(signal?: AbortSignal): Promise<ActionList[]> {
    return new Promise((resolve) => {
      signal?.addEventListener('abort', () => {
        resolve([]);
      });
    });
  }
}

t.test('the daemon stops while it registers: what has arrived is left to the next process', async (t) => {
  const copytool = new LastList(makeList([makeItem(ARCHIVE)]));
  const { registration, stopping, journal, jobs } = registrationOf(t, () => {
    stopping.abort(STOP_REASONS.shutdown());
    return Promise.resolve(copytool);
  });
  await t.rejects(registration.register(), { code: 'SHUTDOWN' });
  t.equal(registration.registered, false);
  t.equal(journal.items, 1);
  t.equal(jobs.length, 0, 'and is not begun');
});

t.test('a pipe that hangs up (EPIPE) is a registration to make anew', async (t) => {
  const copytools = [new HungUp(), new Quiet()];
  const { registration, events, over, stopping } = registrationOf(t, () =>
    Promise.resolve(copytools.shift() ?? new Quiet()),
  );
  await registration.register();
  const again = events.next('registered');
  registration.receive();
  t.match(await again, { again: true });
  await registration.settled();
  t.equal(registration.registered, true);
  t.same(over, []);
  stopping.abort();
  await registration.unregister('shutdown');
});

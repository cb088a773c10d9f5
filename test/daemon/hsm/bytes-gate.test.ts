// The gate of bytes in flight.
import t from 'tap';
import { BytesGate } from '../../../daemon/hsm/bytes-gate.js';

const never = new AbortController().signal;

/** Whether a promise has settled by the next turn of the event loop. */
async function settled(promise: Promise<unknown>): Promise<boolean> {
  let done = false;
  void promise.then(
    () => (done = true),
    () => (done = true),
  );
  await new Promise((resolve) => setImmediate(resolve));
  return done;
}

t.test('what does not fit waits, first come first served', async (t) => {
  const gate = new BytesGate(4096);
  const leave = await Promise.all(Array.from({ length: 4 }, () => gate.enter(1024n, never)));
  const fifth = gate.enter(1024n, never);
  const sixth = gate.enter(1024n, never);
  t.notOk(await settled(fifth));
  leave[0]?.();
  t.ok(await settled(fifth));
  t.notOk(await settled(sixth));
  leave[1]?.();
  t.ok(await settled(sixth));
});

t.test('a file larger than the limit counts for a quarter: it stops nobody', async (t) => {
  const gate = new BytesGate(4096);
  await gate.enter(1n << 60n, never);
  t.ok(await settled(gate.enter(1024n, never)));
});

t.test('small files never wait', async (t) => {
  const gate = new BytesGate(4096);
  for (let n = 0; n < 4; n += 1) await gate.enter(4096n, never);
  t.ok(await settled(gate.enter(4n, never)));
  t.ok(await settled(gate.enter(0n, never)));
  t.notOk(await settled(gate.enter(5n, never)));
});

t.test('who stops waiting leaves the queue to the others', async (t) => {
  const gate = new BytesGate(4096);
  for (let n = 0; n < 4; n += 1) await gate.enter(1024n, never);
  const stop = new AbortController();
  const waiting = gate.enter(1024n, stop.signal);
  stop.abort(new Error('enough'));
  await t.rejects(waiting, { message: 'enough' });
  await t.rejects(gate.enter(1024n, stop.signal), { message: 'enough' });
});

t.test('leaving twice counts once; a new limit lets in what fits now', async (t) => {
  const gate = new BytesGate(4096);
  const leave = await gate.enter(1024n, never);
  for (let n = 0; n < 3; n += 1) await gate.enter(1024n, never);
  leave();
  leave();
  t.ok(await settled(gate.enter(1024n, never)));
  const waiting = gate.enter(1024n, never);
  t.notOk(await settled(waiting));
  gate.setLimit(8192);
  t.ok(await settled(waiting));
});

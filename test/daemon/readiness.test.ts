// Containers that do not answer: asked again with growing pauses, and asked again when they answered, too.
import { Writable } from 'node:stream';
import { pino } from 'pino';
import t from 'tap';
import { LhsmError } from '../../native-bindings/errors.js';
import type { ArchiveContainer } from '../../daemon/blobs/archive-container.js';
import { AgentEmitter } from '../../daemon/events.js';
import { Readiness } from '../../daemon/readiness.js';

const down = new LhsmError('no answer', { code: 'UNREACHABLE', op: 'probe', hint: 'Look at the network.' });

// The timers of Readiness keep no process alive.
const alive = setInterval(() => undefined, 1000);
t.teardown(() => {
  clearInterval(alive);
});

/** Probes that go as told, one after the other; the last answer stays. */
function readinessOf(answers: readonly (LhsmError | undefined)[]) {
  let at = 0;
  const pauses: unknown[] = [];
  const log = pino(
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        pauses.push((JSON.parse(chunk.toString()) as { next_try_ms?: number }).next_try_ms);
        done();
      },
    }),
  );
  const container = {
    archiveId: 1,
    container: 'archive',
    probe: () => {
      const answer = answers[Math.min(at, answers.length - 1)];
      at += 1;
      return answer ? Promise.reject(answer) : Promise.resolve();
    },
  } as unknown as ArchiveContainer;
  const events = new AgentEmitter();
  const probes: boolean[] = [];
  const readiness = new Readiness({
    containers: [container],
    events,
    log,
    minRetryMs: 1,
    maxRetryMs: 4,
    recheckMs: 2,
  });
  const probed = (count: number): Promise<void> =>
    new Promise((resolve) => {
      events.on('probed', ({ ready }) => {
        probes.push(ready);
        if (probes.length === count) resolve();
      });
    });
  return { readiness, probed, probes, pauses };
}

t.test(
  'a container that does not answer is asked again, with pauses that double up to a limit',
  async (t) => {
    const { readiness, probed, pauses } = readinessOf([down, down, down, down, undefined]);
    const over = probed(5);
    const ready = readiness.enoughReady(60_000, new AbortController().signal);
    readiness.start();
    await ready;
    await over;
    t.same(pauses.slice(0, 4), [1, 2, 4, 4]);
    t.equal(readiness.problem(1), undefined);
    readiness.stop();
  },
);

t.test('a container that answered is asked again, and not ready when it does not answer later', async (t) => {
  const { readiness, probed, probes } = readinessOf([undefined, down, undefined, down]);
  const over = probed(4);
  readiness.start();
  await over;
  t.same(probes, [true, false, true, false]);
  t.match(readiness.problem(1), /no answer.*Look at the network/);
  readiness.stop();
});

t.test('who waits for a container is told when the daemon stops', async (t) => {
  const { readiness } = readinessOf([down]);
  const stop = new AbortController();
  const ready = readiness.enoughReady(60_000, stop.signal);
  readiness.start();
  stop.abort(down);
  await t.rejects(ready, { code: 'UNREACHABLE' });
  readiness.stop();
});

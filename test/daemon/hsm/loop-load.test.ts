// Fewer actions at once while the main thread is busy, so that a reader's restore does not queue behind all of them.
import fc from 'fast-check';
import t from 'tap';
import { LoopLoad, nextLimit } from '../../../daemon/hsm/loop-load.js';

t.test('down fast while there is no time to spare, up again when there is', (t) => {
  const most = 64;
  const down: number[] = [most];
  while (down.at(-1) !== nextLimit(down.at(-1) ?? 0, most, 1))
    down.push(nextLimit(down.at(-1) ?? 0, most, 1));
  t.same(down, [64, 48, 36, 27, 20, 15, 11, 8]);
  let limit = 8;
  let samples = 0;
  for (; limit < most; samples += 1) limit = nextLimit(limit, most, 0.5);
  t.ok(samples < 25, `${samples} samples`);
  t.equal(nextLimit(30, most, 0.9), 30, 'neither busy nor idle');
  t.end();
});

t.test('never above what is configured, never none', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 10_000 }),
      fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 100 }),
      (most, loads) => {
        let limit = most;
        for (const load of loads) {
          limit = nextLimit(limit, most, load);
          if (limit < 1 || limit > most || limit < Math.min(8, most)) return false;
        }
        return true;
      },
    ),
  );
  t.end();
});

t.test('a main thread that is kept busy lowers the limit, and raises it when it is left alone', async (t) => {
  const limits: number[] = [];
  let tell: (() => void) | undefined;
  const load = new LoopLoad(
    () => 64,
    (limit) => {
      limits.push(limit);
      tell?.();
    },
  );
  load.start();
  t.teardown(() => {
    load.stop();
  });
  // In turns, for the sample is taken between them.
  const spin = (): void => {
    const until = performance.now() + 20;
    while (performance.now() < until);
    if (limits.length < 3) setImmediate(spin);
  };
  // The timer alone keeps no process alive.
  const alive = setInterval(() => undefined, 1000);
  spin();
  await new Promise<void>((resolve) => {
    tell = () => {
      if (limits.at(-1) === 64) resolve();
    };
  });
  clearInterval(alive);
  t.same(limits.slice(0, 3), [48, 36, 27]);
  t.ok(limits.length > 3);
});

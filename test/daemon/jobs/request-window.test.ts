import t from 'tap';
import { RequestWindow } from '../../../daemon/jobs/request-window.js';

/** Agents that take `serviceMs` for a file and do so many at once: what the window makes of them. */
function settle(
  window: RequestWindow,
  agents: { slots: number; serviceMs: () => number },
  ms: number,
): number[] {
  const limits: number[] = [];
  const queue: number[] = [];
  const running: { readonly since: number; readonly until: number }[] = [];
  for (let now = 0; now < ms; now += 5) {
    clock = now;
    for (const one of running.filter(({ until }) => until <= now)) {
      running.splice(running.indexOf(one), 1);
      window.settled(now - one.since);
    }
    while (queue.length + running.length < window.limit) queue.push(now);
    while (running.length < agents.slots && queue.length > 0) {
      running.push({ since: queue.shift() ?? now, until: now + agents.serviceMs() });
    }
    limits.push(window.limit);
  }
  return limits;
}

let clock = 0;
const made = (most: number): RequestWindow => new RequestWindow(most, 256, () => clock);

t.test('it grows to what the agents can do, and no further', (t) => {
  const limits = settle(made(5000), { slots: 1000, serviceMs: () => 500 }, 30_000);
  const last = limits.at(-1) ?? 0;
  t.ok(last > 1000 && last <= 2500, `${last} outstanding for 1000 slots`);
  t.ok(Math.max(...limits) <= 5000);
  t.end();
});

t.test('few slots keep it at the floor, so that readers wait for little', (t) => {
  const limits = settle(made(5000), { slots: 64, serviceMs: () => 100 }, 20_000);
  t.ok(Math.max(...limits) <= 2 * 256, `${Math.max(...limits)}`);
  t.end();
});

t.test('files that take longer later do not leave it too small', (t) => {
  let serviceMs = 50;
  const window = made(5000);
  settle(window, { slots: 1000, serviceMs: () => serviceMs }, 10_000);
  serviceMs = 4000;
  const limits = settle(window, { slots: 1000, serviceMs: () => serviceMs }, 120_000);
  t.ok((limits.at(-1) ?? 0) >= 1000, `${limits.at(-1)}`);
  t.end();
});

t.test("the operator's bound is the bound, below the floor too", (t) => {
  t.ok(settle(made(300), { slots: 1000, serviceMs: () => 500 }, 10_000).every((limit) => limit <= 300));
  t.equal(made(10).limit, 10);
  t.end();
});

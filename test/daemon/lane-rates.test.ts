import t from 'tap';
import { AgentEmitter, type FinishedEvent } from '../../daemon/events.js';
import { LaneRates } from '../../daemon/lane-rates.js';

t.test('actions and bytes of the last minute, those in flight included', (t) => {
  const events = new AgentEmitter();
  let nowMs = 0;
  let inFlight: { kind: 'restore'; bytes: number }[] = [];
  const rates = new LaneRates(
    events,
    () => inFlight,
    () => nowMs,
  );
  t.same(rates.rate('restore'), { actionsPerSecond: 0, bytesPerSecond: 0 });
  inFlight = [{ kind: 'restore', bytes: 4000 }];
  for (let n = 0; n < 20; n += 1) events.emit('finished', { kind: 'archive', bytes: 100 } as FinishedEvent);
  events.emit('finished', { kind: 'cancel', bytes: 0 } as FinishedEvent);
  nowMs = 10_000;
  rates.sample();
  t.same(rates.rate('restore'), { actionsPerSecond: 0, bytesPerSecond: 400 });
  t.same(rates.rate('archive'), { actionsPerSecond: 2, bytesPerSecond: 200 });
  inFlight = [];
  events.emit('finished', { kind: 'restore', bytes: 4000 } as FinishedEvent);
  nowMs = 20_000;
  rates.sample();
  t.same(rates.rate('restore'), { actionsPerSecond: 0.1, bytesPerSecond: 200 }, 'nothing counts twice');
  rates.close();
  events.emit('finished', { kind: 'archive', bytes: 1 } as FinishedEvent);
  nowMs = 200_000;
  rates.sample();
  rates.sample();
  t.same(rates.rate('archive'), { actionsPerSecond: 0, bytesPerSecond: 0 });
  t.end();
});

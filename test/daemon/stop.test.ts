// A stop is to who looks and listens what an AbortSignal is.
import t from 'tap';
import { Stop, signalOf } from '../../daemon/stop.js';

const ONCE = { once: true } as const;

t.test('who listens hears of it once', (t) => {
  const stop = new Stop();
  const heard: string[] = [];
  const left = (): void => void heard.push('left');
  stop.addEventListener('abort', () => heard.push('first'), ONCE);
  stop.addEventListener('abort', left, ONCE);
  stop.addEventListener('abort', () => heard.push('second'), ONCE);
  stop.removeEventListener('abort', left);
  stop.removeEventListener('abort', left);
  t.equal(stop.aborted, false);
  stop.abort();
  stop.abort();
  t.equal(stop.aborted, true);
  stop.addEventListener('abort', left, ONCE);
  t.same(heard, ['first', 'second'], 'and not who comes when it is over');
  t.end();
});

t.test('a listener may leave while it is called', (t) => {
  const stop = new Stop();
  let heard = 0;
  const both = [0, 1].map(() => () => {
    heard += 1;
    for (const each of both) stop.removeEventListener('abort', each);
  });
  for (const each of both) stop.addEventListener('abort', each, ONCE);
  stop.abort();
  t.equal(heard, 2);
  t.end();
});

t.test('its signal says the same, whenever it is asked for', (t) => {
  const stop = new Stop();
  const { signal } = stop;
  t.equal(stop.signal, signal);
  t.equal(signalOf(stop), signal);
  t.equal(signal.aborted, false);
  stop.abort();
  t.equal(signal.aborted, true);
  const late = new Stop();
  late.abort();
  t.equal(late.signal.aborted, true);
  t.equal(signalOf(signal), signal);
  t.end();
});

t.test('its reason is the one that it was given', (t) => {
  const [stop, late] = [new Stop(), new Stop()];
  const why = new Error('why');
  const { signal } = stop;
  stop.throwIfAborted();
  stop.abort(why);
  stop.abort(new Error('too late'));
  late.abort(why);
  for (const each of [stop.reason, signal.reason, late.reason, late.signal.reason]) t.equal(each, why);
  t.throws(() => {
    stop.throwIfAborted();
  }, why);
  const bare = new Stop();
  t.equal(bare.reason, undefined);
  bare.abort();
  t.match(bare.reason, { name: 'AbortError' });
  t.end();
});

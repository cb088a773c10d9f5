import t from 'tap';
import { SharedWindow } from '../../../daemon/jobs/shared-window.js';

t.test('one alone has the window, two have half of it each, and never more together', (t) => {
  const shared = new SharedWindow();
  const one = shared.join(100);
  t.match(one, { limit: 100, room: 100 });
  one.outstanding = 100;
  t.equal(one.room, 0);
  const other = shared.join(100);
  t.match(other, { limit: 50, room: 0 }, 'what the first has asked for already counts');
  t.equal(one.room, -50);
  one.outstanding = 60;
  t.match(other, { limit: 50, room: 40 });
  other.outstanding = 40;
  t.equal(shared.outstanding, 100);
  one.leave();
  t.match(other, { limit: 100, room: 60 });
  t.end();
});

t.test('each is bound by what it was told, whatever others may', (t) => {
  const shared = new SharedWindow();
  const small = shared.join(10);
  const large = shared.join(1000);
  t.equal(small.limit, 5);
  t.equal(large.limit, 128, 'half of the floor of all');
  large.outstanding = 9;
  t.equal(small.room, 1);
  t.end();
});

t.test('one that may have a single request goes on beside others', (t) => {
  const shared = new SharedWindow();
  const members = [1, 1, 1].map((most) => shared.join(most));
  t.same(
    members.map(({ limit }) => limit),
    [1, 1, 1],
  );
  t.same(
    members.map(({ room }) => room),
    [1, 1, 1],
  );
  t.end();
});

t.test('what was learned is forgotten with the last', (t) => {
  const shared = new SharedWindow();
  const before = shared.window;
  shared.join(10).leave();
  t.not(shared.window, before);
  t.end();
});

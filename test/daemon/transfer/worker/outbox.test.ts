// One message for one turn of the event loop, in order, nothing lost.
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import { Outbox } from '../../../../daemon/transfer/worker/outbox.js';

t.test('what is said in one turn is one message', async (t) => {
  const posted: (readonly number[])[] = [];
  const outbox = new Outbox<number>((items) => posted.push(items));
  outbox.add(1);
  await Promise.resolve();
  outbox.add(2);
  t.same(posted, [], 'nothing yet');
  await turn();
  t.same(posted, [[1, 2]]);
  outbox.add(3);
  await turn();
  t.same(posted, [[1, 2], [3]]);
  await turn();
  t.equal(posted.length, 2, 'and no empty message');
});

t.test('flush says it now, and nothing twice', async (t) => {
  const posted: (readonly number[])[] = [];
  const outbox = new Outbox<number>((items) => posted.push(items));
  outbox.flush();
  outbox.add(1);
  outbox.flush();
  outbox.add(2);
  t.same(posted, [[1]]);
  await turn();
  t.same(posted, [[1], [2]]);
});

t.test('what is added while a message is posted comes in the next one', async (t) => {
  const posted: (readonly number[])[] = [];
  const outbox: Outbox<number> = new Outbox<number>((items) => {
    posted.push(items);
    if (items.includes(1)) outbox.add(2);
  });
  outbox.add(1);
  await turn();
  await turn();
  t.same(posted, [[1], [2]]);
});

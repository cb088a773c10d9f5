// Memory of asynchronous calls: C has it until the trip is over, and it comes back clean.
import t from 'tap';
import { CallFrame } from '../../native-bindings/call-frame.js';
import { callOnce } from '../../native-bindings/call-sequence.js';
import { Fake } from './fake.js';

t.test('a frame holds one call at a time and its memory until reset', async (t) => {
  const { fake_errno: one } = Fake.build(t).functions;
  const frame = new CallFrame(64);
  const pending = callOnce(frame, one, [0]);
  await t.rejects(callOnce(frame, one, [0]), { message: /in use/ });
  t.throws(() => {
    frame.reset();
  }, /still used/);
  await pending;
  const small = frame.copy(Buffer.from('abc'));
  const large = frame.copy(Buffer.alloc(1000, 'x'));
  t.equal(small.bytes.toString(), 'abc');
  t.equal(large.bytes.length, 1000, 'what does not fit has memory of its own');
  frame.reset();
  t.same(frame.alloc(16).bytes, Buffer.alloc(16), 'memory is zeroed when it is lent again');
  t.equal(frame.cstring('é').bytes.toString('hex'), 'c3a900');
  t.throws(() => frame.cstring('a\0b'), { code: 'EINVAL' });
});

t.test('asynchronous calls leave memory flat', async (t) => {
  const { fake_errno: one } = Fake.build(t).functions;
  const frame = new CallFrame();
  const turn = async (calls: number): Promise<void> => {
    for (let i = 0; i < calls; i++) {
      await callOnce(frame, one, [0]);
      frame.reset();
    }
  };
  await turn(2000);
  const before = process.memoryUsage().rss;
  const start = process.hrtime.bigint();
  await turn(20_000);
  const us = Number(process.hrtime.bigint() - start) / 1000 / 20_000;
  const grownMiB = (process.memoryUsage().rss - before) / 2 ** 20;
  t.comment(`${us.toFixed(1)} µs a call, ${grownMiB.toFixed(1)} MiB grown`);
  t.ok(grownMiB < 32, `grown by ${grownMiB.toFixed(1)} MiB`);
});

// Several calls in one trip: each result and errno its own, in order, with arguments that earlier calls have given.
import t from 'tap';
import { CallFrame } from '../../native-bindings/call-frame.js';
import { callOnce, CallSequence, Load } from '../../native-bindings/call-sequence.js';
import { Fake } from './fake.js';
import { fixture, gcc } from './helpers.js';

const ENOENT = 2;
const EEXIST = 17;

t.test('every call has its own result and errno', async (t) => {
  const { fake_errno: one } = Fake.build(t).functions;
  const sequence = new CallSequence(new CallFrame());
  const calls = [0, ENOENT, 0, EEXIST].map((errno) => sequence.add(one, [errno]));
  await sequence.run();
  t.same(
    calls.map(({ name, value, errno }) => [name, value, errno]),
    [
      ['fake_errno', 0, 0],
      ['fake_errno', -1, ENOENT],
      ['fake_errno', 0, 0],
      ['fake_errno', -1, EEXIST],
    ],
  );
});

t.test('what comes after a failure is not made, and says why', async (t) => {
  const { fake_errno: one } = Fake.build(t).functions;
  const sequence = new CallSequence(new CallFrame());
  const first = sequence.add(one, [ENOENT]);
  const second = sequence.add(one, [EEXIST], { after: first });
  const third = sequence.add(one, [0], { after: second });
  const apart = sequence.add(one, [EEXIST]);
  await sequence.run();
  t.same([second.value, second.errno], [-1, ENOENT], 'not its own');
  t.same([third.value, third.errno], [-1, ENOENT]);
  t.equal(apart.errno, EEXIST);
});

t.test('an errno that is no failure', async (t) => {
  const { fake_errno: one } = Fake.build(t).functions;
  const sequence = new CallSequence(new CallFrame());
  const tolerated = sequence.add(one, [ENOENT], { tolerated: ENOENT });
  const other = sequence.add(one, [EEXIST], { tolerated: ENOENT });
  const after = sequence.add(one, [0], { after: tolerated });
  await sequence.run();
  t.same([tolerated.value, tolerated.errno], [0, 0]);
  t.same([other.value, other.errno], [-1, EEXIST]);
  t.equal(after.value, 0);
});

t.test('a result is an argument of the next; 64 bits pass whole', async (t) => {
  const { fake_u64: sum } = Fake.build(t).functions;
  const sequence = new CallSequence(new CallFrame());
  const first = sequence.add(sum, [0xffffffff00000000n, 5n, 0xffffffff, -5]);
  const second = sequence.add(sum, [first.asArgument, 1n, 0, 0]);
  const cell = new CallFrame().copy(Buffer.from([7, 0, 0, 0, 0, 0, 0, 0]));
  const third = sequence.add(sum, [new Load(cell), 0n, 0, 0]);
  await sequence.run();
  const expected = BigInt.asIntN(64, 0xffffffff00000000n + 0xffffffffn);
  t.same([first.long, second.long, third.long], [expected, expected + 1n, 7n]);
});

t.test(
  'what does not fit the function is refused before C is called, and the frame stays usable',
  async (t) => {
    const { fake_errno: one } = Fake.build(t).functions;
    const frame = new CallFrame();
    await t.rejects(callOnce(frame, one, []), { message: /takes 1 arguments/ });
    await t.rejects(callOnce(frame, one, [1n]), { message: /is no i32/ });
    t.equal((await callOnce(frame, one, [0])).value, 0);
    await new CallSequence(frame).run();
    t.pass('no calls at all are no harm');
  },
);

t.test('the compiler has nothing to say', (t) => {
  const source = (name: string): string => fixture(`../../native-bindings/${name}`);
  const sources = ['call-sequence.c', 'call-threads.c', 'path-xattr.c'].map(source);
  gcc(`${t.testdir()}/calls.so`, '-std=gnu11', '-O2', '-fPIC', '-shared', '-pthread', ...sources);
  t.pass();
  t.end();
});

// The threads that make C calls: many trips at once, one that hangs, a process that waits for its trips and then ends.
import { execFile } from 'node:child_process';
import { closeSync, readdirSync, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import t from 'tap';
import { CallFrame } from '../../native-bindings/call-frame.js';
import { callOnce } from '../../native-bindings/call-sequence.js';
import { libc } from '../../native-bindings/libc.js';
import { loadLibrary } from '../../native-bindings/ffi.js';
import { Fake } from './fake.js';

const run = promisify(execFile);

function threads(): number {
  return readdirSync('/proc/self/task').length;
}

t.test('5,000 trips in flight each get their own answer', async (t) => {
  const { fake_errno: one } = Fake.build(t).functions;
  const answers = await Promise.all(
    Array.from({ length: 5000 }, async (_, i) => (await callOnce(new CallFrame(128), one, [i])).errno),
  );
  t.same(
    answers,
    Array.from({ length: 5000 }, (_, i) => i),
  );
});

t.test('calls that hang hold up nobody, and a burst of short ones needs few threads', async (t) => {
  const { fake_errno: one } = Fake.build(t).functions;
  const before = threads();
  const pipes = Array.from({ length: 40 }, () => libc().pipe());
  const hanging = pipes.map(([read]) => libc().poll(new CallFrame(512), [read]));
  let over = 0;
  for (const call of hanging) void call.then(() => (over += 1));
  await Promise.all(Array.from({ length: 1000 }, () => callOnce(new CallFrame(128), one, [0])));
  t.equal(over, 0, 'all of them still hang');
  t.ok(threads() >= before + 30, 'a thread for each that hangs');
  const during = threads();
  await Promise.all(Array.from({ length: 1000 }, () => callOnce(new CallFrame(128), one, [0])));
  t.ok(threads() <= during + 8, `${during} threads, then ${threads()}`);
  for (const [, write] of pipes) writeSync(write, 'x');
  await Promise.all(hanging);
  t.equal(over, 40);
  pipes.flat().forEach((fd) => {
    closeSync(fd);
  });
});

t.test('a process waits for its trips, and ends when there are none', async (t) => {
  const at = (name: string): string => new URL(`../../native-bindings/${name}`, import.meta.url).href;
  const program = `
    const { CallFrame } = await import('${at('call-frame.js')}');
    const { callOnce } = await import('${at('call-sequence.js')}');
    const { loadLibrary } = await import('${at('ffi.js')}');
    const fn = loadLibrary(null, { usleep: { result: 'i32', args: ['u32'] } }, {});
    void callOnce(new CallFrame(), fn.usleep, [200_000]).then((call) => console.log('slept', call.value));`;
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', program]);
  t.equal(stdout, 'slept 0\n');
});

t.test('the thread that calls is not the one that waits', async (t) => {
  const { gettid } = loadLibrary(null, { gettid: { result: 'i32', args: [] } }, { missing: '', symbols: '' });
  t.equal(gettid.int(), process.pid);
  t.not((await callOnce(new CallFrame(), gettid, [])).value, process.pid);
});

// The threads that make C calls: many trips at once, one that hangs, a process that waits for its trips and then ends.
import { execFile } from 'node:child_process';
import { closeSync, readdirSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { CallFrame } from '../../native-bindings/call-frame.js';
import { callOnce } from '../../native-bindings/call-sequence.js';
import { libc } from '../../native-bindings/libc.js';
import { loadLibrary } from '../../native-bindings/ffi.js';
import { Fake } from './fake.js';
import { sharedLibrary } from './helpers.js';

const run = promisify(execFile);

function threads(): number {
  return readdirSync('/proc/self/task').length;
}

const at = (name: string): string => new URL(`../../native-bindings/${name}`, import.meta.url).href;

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
  const program = `
    const { CallFrame } = await import('${at('call-frame.js')}');
    const { callOnce } = await import('${at('call-sequence.js')}');
    const { loadLibrary } = await import('${at('ffi.js')}');
    const fn = loadLibrary(null, { usleep: { result: 'i32', args: ['u32'] } }, {});
    void callOnce(new CallFrame(), fn.usleep, [200_000]).then((call) => console.log('slept', call.value));`;
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', program]);
  t.equal(stdout, 'slept 0\n');
});

t.test(
  'a shortage of threads delays what waits, says so once, and is over when there are some again',
  async (t) => {
    const dir = t.testdir();
    const shim = sharedLibrary(
      join(dir, 'shim.so'),
      `#define _GNU_SOURCE
     #include <dlfcn.h>
     #include <errno.h>
     #include <pthread.h>
     #include <stdlib.h>
     #include <unistd.h>
     int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg) {
       if (access(getenv("SHORTAGE"), F_OK) == 0) return EAGAIN;
       int (*real)() = dlsym(RTLD_NEXT, "pthread_create");
       return real(t, a, f, arg);
     }`,
    );
    const program = `
    import { rmSync, writeFileSync } from 'node:fs';
    const { CallFrame } = await import('${at('call-frame.js')}');
    const { callOnce } = await import('${at('call-sequence.js')}');
    const { loadLibrary } = await import('${at('ffi.js')}');
    const { libc } = await import('${at('libc.js')}');
    const { getppid } = loadLibrary(null, { getppid: { result: 'i32', args: [] } }, {});
    const shortage = process.env.SHORTAGE;
    writeFileSync(shortage, '');
    await callOnce(new CallFrame(), getppid, []).catch((error) => console.log(error.code, error.retryable));
    rmSync(shortage);
    const [read, write] = libc().pipe();
    const hangs = libc().poll(new CallFrame(), [read]);
    // It is handed to a thread at the end of the turn.
    await new Promise(setImmediate);
    writeFileSync(shortage, '');
    const warned = [];
    process.on('warning', (warning) => {
      warned.push(warning.code);
      rmSync(shortage);
    });
    const { value } = await callOnce(new CallFrame(), getppid, []);
    console.log(value === process.ppid, ...warned);
    process.exit();`;
    const env = { ...process.env, LD_PRELOAD: shim, SHORTAGE: join(dir, 'shortage') };
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', program], { env });
    t.equal(stdout, 'NO_THREADS true\ntrue NO_THREADS\n');
  },
);

t.test('the thread that calls is not the one that waits', async (t) => {
  const { gettid } = loadLibrary(null, { gettid: { result: 'i32', args: [] } }, { missing: '', symbols: '' });
  t.equal(gettid.int(), process.pid);
  t.not((await callOnce(new CallFrame(), gettid, [])).value, process.pid);
});

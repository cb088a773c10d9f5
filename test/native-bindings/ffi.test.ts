// Loading libraries and calling C: what goes wrong is said in one sentence, prepared calls are cheap and stay flat.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { Worker } from 'node:worker_threads';
import { loadLibrary, Memory } from '../../native-bindings/ffi.js';
import { Fake } from './fake.js';
import { root, sharedLibrary } from './helpers.js';

const advice = { missing: 'Install it.', symbols: 'Install a newer one.' };
const table = { one: { result: 'i32', args: [] }, two: { result: 'i32', args: [] } } as const;

t.test('a library that is missing, is none, needs another or lacks symbols is named with the mend', (t) => {
  const dir = t.testdir({ 'text.so': 'GROUP ( libc.so.6 )'.padEnd(100), 'empty.so': '' });
  const load = (library: string) => (): unknown => loadLibrary(library, table, advice);
  t.throws(load('/nowhere/libx.so'), {
    code: 'LIBRARY_MISSING',
    message: 'Library /nowhere/libx.so is not there.',
    hint: 'Install it.',
  });
  t.throws(load('libnowhere.so.7'), { code: 'LIBRARY_MISSING', message: /libnowhere\.so\.7/ });
  const text = join(dir, 'text.so');
  t.throws(load(text), { code: 'LIBRARY_INVALID', message: `Cannot load ${text}: invalid ELF header.` });
  t.throws(load(join(dir, 'empty.so')), { code: 'LIBRARY_INVALID', message: /file too short/ });

  const one = sharedLibrary(join(dir, 'one.so'), 'int one(void) { return 1; }');
  t.throws(load(one), {
    code: 'LIBRARY_SYMBOLS',
    message: `Library ${one} lacks two.`,
    hint: 'Install a newer one.',
  });
  const none = sharedLibrary(join(dir, 'none.so'), 'int three(void) { return 3; }');
  t.throws(load(none), { message: `Library ${none} lacks one, two.` });
  const undefinedIn = sharedLibrary(join(dir, 'u.so'), 'int other(void); int one(void) { return other(); }');
  t.throws(load(undefinedIn), { code: 'LIBRARY_INVALID', message: /undefined symbol: other/ });

  const both = sharedLibrary(
    join(dir, 'both.so'),
    'int one(void) { return -1; } int two(void) { return 2; }',
  );
  const functions = loadLibrary(both, table, advice);
  t.equal(functions.one.int(), -1);
  t.equal(functions.two.int(), 2);
  t.end();
});

t.test('values of every type pass whole', (t) => {
  const { fake_u64: sum } = Fake.build(t).functions;
  const args = [0xffffffff00000000n, -0x7fffffff00000000n, 0xffffffff, -5] as const;
  const expected = BigInt.asIntN(64, args[0] + args[1] + BigInt(args[2]) + BigInt(args[3]));
  t.equal(sum.long(...args), expected);
  t.end();
});

t.test('wrong arguments are refused before C is called', (t) => {
  const { fake_u64: sum } = Fake.build(t).functions;
  t.throws(() => sum.long(1n, 2n, 3), { message: 'fake_u64 takes 4 arguments, not 3' });
  t.throws(() => sum.long(1, 2n, 3, 4), { message: 'argument 1 of fake_u64 is no u64' });
  t.throws(() => sum.long(1n, 2n, 3, null), { message: 'argument 4 of fake_u64 is no i32' });
  t.throws(() => sum.long(-1n, 2n, 3, 4), RangeError);
  t.throws(() => sum.long(1n, 2n, 2 ** 32, 4), RangeError);
  t.end();
});

t.test('memory knows its bounds', (t) => {
  const memory = Memory.allocate(100);
  t.equal(memory.slice(10, 20).address, memory.address + 10n);
  t.throws(() => memory.slice(90, 11), RangeError);
  t.throws(() => memory.slice(-1, 2), RangeError);
  t.end();
});

t.test('200,000 prepared calls in one turn leave memory flat', (t) => {
  const { fake_u64: sum } = Fake.build(t).functions;
  const measure = (): number => {
    const { rss, external } = process.memoryUsage();
    return Math.max(rss, external);
  };
  const turn = (calls: number): void => {
    for (let i = 0; i < calls; i++) sum.long(1n, 2n, 3, 4);
  };
  turn(20_000);
  const before = measure();
  const start = process.hrtime.bigint();
  turn(200_000);
  const us = Number(process.hrtime.bigint() - start) / 1000 / 200_000;
  const grownMiB = (measure() - before) / 2 ** 20;
  t.comment(`${us.toFixed(2)} µs a call, ${grownMiB.toFixed(1)} MiB grown`);
  // A call that leaked one Buffer would cost some 500 MiB here.
  t.ok(grownMiB < 32, `grown by ${grownMiB.toFixed(1)} MiB`);
  t.end();
});

t.test('a worker thread is refused with a clear error, not with a crash', async (t) => {
  const source = `
    import { parentPort } from 'node:worker_threads';
    import { Memory } from ${JSON.stringify(pathToFileURL(join(root, 'dist/native-bindings/ffi.js')).href)};
    try { Memory.allocate(8); } catch (error) { parentPort.postMessage(error.message); }`;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`));
  const message = await new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  t.match(message, /main thread only/);
  await worker.terminate();
});

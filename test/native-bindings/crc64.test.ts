// CRC64: published vectors, the SDK's own, every implementation against the others at any split, threads, bad arguments.
import { execFileSync } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import t from 'tap';
import {
  crc64,
  crc64Bytes,
  crc64Combine,
  crc64FromBytes,
  crc64Implementation,
  type Crc64Implementation,
  crc64Implementations,
  crc64With,
} from '../../native-bindings/crc64.js';
import { loadSdkCrc64 } from '../helpers/sdk-crc64.js';
import { fixture, gcc, root } from './helpers.js';

const KIB = 1024;
const THREADS = 4;

/** Bytes without a pattern, the same in every run. */
function noise(length: number): Buffer {
  return createCipheriv('aes-128-ctr', Buffer.alloc(16, 1), Buffer.alloc(16)).update(Buffer.alloc(length));
}
const sea = noise(72 * KIB);

/** Any piece of `sea` up to 70 KiB, short ones and those around a step of 128 bytes more often. */
const piece = fc
  .record({
    offset: fc.nat({ max: 2 * KIB }),
    length: fc.oneof(fc.nat({ max: 300 }), fc.nat({ max: 5 * KIB }), fc.nat({ max: 70 * KIB })),
  })
  .map(({ offset, length }) => sea.subarray(offset, offset + length));

/** Where to cut: any number of places, some of them the same. */
const cuts = fc.array(fc.nat({ max: 1_000_000 }), { maxLength: 6 });

function pieces(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [0, ...places.map((place) => place % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  return at.slice(1).map((end, n) => bytes.subarray(at[n], end));
}

/** The definition, one bit after the other. */
function byBits(bytes: Uint8Array): bigint {
  let crc = 0xffffffffffffffffn;
  for (const byte of bytes) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >> 1n) ^ ((crc & 1n) * 0x9a6c9329ac4bc9b5n);
  }
  return crc ^ 0xffffffffffffffffn;
}

t.test('published vectors, by every implementation', (t) => {
  const block = (byte: (n: number) => number) =>
    Buffer.from(Array.from({ length: 4 * KIB }, (_, n) => byte(n)));
  // https://reveng.sourceforge.io/crc-catalogue/all.htm#crc.cat.crc-64-nvme, and NVM Express NVM Command Set
  // Specification 1.0a, 5.2.1.3.5 "64b CRC Test Cases", which Linux's test of lib/crc64.c has, too.
  const vectors: [string, Buffer, bigint][] = [
    ['nothing', Buffer.alloc(0), 0n],
    ['123456789', Buffer.from('123456789'), 0xae8b14860a799888n],
    ['zeros', block(() => 0), 0x6482d367eb22b64en],
    ['ff', block(() => 0xff), 0xc0ddba7302eca3acn],
    ['incrementing', block((n) => n), 0x3e729f5f6750449cn],
    ['decrementing', block((n) => 0xff - n), 0x9a2df64b8e9e517en],
  ];
  for (const [name, bytes, crc] of vectors) {
    t.equal(crc64(bytes), crc, name);
    t.equal(byBits(bytes), crc, `${name}, by definition`);
    for (const implementation of crc64Implementations()) {
      t.equal(crc64With(implementation, bytes), crc, `${name}, ${implementation}`);
    }
  }
  t.end();
});

t.test('tables are always there, what the processor has is preferred', (t) => {
  const all = crc64Implementations();
  t.ok(all.includes('table'));
  t.equal(crc64Implementation(), all[0]);
  const flags = readFileSync('/proc/cpuinfo', 'utf8');
  if (/\bpclmulqdq\b/.test(flags)) t.equal(all[0], 'pclmulqdq');
  else if (/\bpmull\b/.test(flags)) t.equal(all[0], 'pmull');
  else t.same(all, ['table']);
  t.end();
});

t.test('the same bytes as the SDK sends', async (t) => {
  const sdk = await loadSdkCrc64();
  fc.assert(
    fc.property(piece, cuts, (bytes, places) => {
      const expected = Buffer.from(sdk(...pieces(bytes, places)));
      return expected.equals(crc64Bytes(crc64(bytes))) && crc64FromBytes(expected) === crc64(bytes);
    }),
    { numRuns: 300 },
  );
  t.equal(crc64Bytes(crc64(Buffer.from('123456789'))).toString('hex'), '8898790a86148bae');
});

t.test('any split, length and alignment gives the same by every implementation, and combined', (t) => {
  fc.assert(
    fc.property(piece, cuts, (bytes, places) => {
      const parts = pieces(bytes, places);
      const whole = crc64With('table', bytes);
      const inParts = (implementation: Crc64Implementation) =>
        parts.reduce((crc, part) => crc64With(implementation, part, crc), 0n);
      const combined = parts.reduce((crc, part) => crc64Combine(crc, crc64(part), part.length), 0n);
      return combined === whole && crc64Implementations().every((name) => inParts(name) === whole);
    }),
    { numRuns: 1000 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => crc64(bytes) === byBits(bytes)),
    { numRuns: 200 },
  );
  t.end();
});

t.test('combining takes lengths up to 2^53', (t) => {
  // The CRC of n zero bytes behind anything, by doubling: a way that does not go through crc64Combine's powers.
  const start = crc64(Buffer.from('a file'));
  const zeros = (bits: number): bigint => {
    let crc = crc64(Buffer.alloc(1));
    for (let bit = 0; bit < bits; bit += 1) crc = crc64Combine(crc, crc, 2 ** bit);
    return crc;
  };
  t.equal(crc64Combine(start, zeros(20), 2 ** 20), crc64(Buffer.alloc(2 ** 20), start));
  const half = crc64Combine(start, zeros(52), 2 ** 52);
  t.equal(crc64Combine(half, zeros(52), 2 ** 52), crc64Combine(start, zeros(53), 2 ** 53));
  const [a, b] = [crc64Combine(start, zeros(52), 2 ** 52), crc64(Buffer.from('the end'))];
  t.equal(crc64Combine(a, b, 7), crc64(Buffer.from('the end'), a));
  t.equal(crc64Combine(0n, start, 6), start, 'nothing before it');
  t.equal(crc64Combine(start, 0n, 0), start, 'nothing behind it');
  t.end();
});

t.test('several threads at once, over shared memory, and after their end', async (t) => {
  const shared = new SharedArrayBuffer(70_001);
  new Uint8Array(shared).set(sea.subarray(0, shared.byteLength));
  const expected = byBits(new Uint8Array(shared));
  for (let time = 0; time < 2; time += 1) {
    const threads = Array.from(
      { length: THREADS },
      () => new Worker(new URL('crc64-worker.js', import.meta.url), { workerData: { shared, rounds: 200 } }),
    );
    const results = await Promise.all(
      threads.map(async (thread) => {
        const [[message]] = (await Promise.all([once(thread, 'message'), once(thread, 'exit')])) as [
          [bigint[]],
          unknown,
        ];
        return message;
      }),
    );
    for (const result of results) t.same(result, [expected]);
    t.equal(crc64(new Uint8Array(shared)), expected, 'in the main thread, after them');
  }
});

t.test('a thread that is terminated in the midst of it takes nothing along', async (t) => {
  const shared = new SharedArrayBuffer(64 * KIB);
  const thread = new Worker(new URL('crc64-worker.js', import.meta.url), {
    workerData: { shared, rounds: 100_000_000 },
  });
  await once(thread, 'online');
  await new Promise((resolve) => setTimeout(resolve, 100));
  await thread.terminate();
  t.equal(crc64(new Uint8Array(shared)), byBits(new Uint8Array(shared)));
});

t.test('a Buffer of the pool, a view, a detached one', (t) => {
  const bytes = Uint8Array.from(sea.subarray(0, 1000));
  t.equal(crc64(bytes.subarray(3, 777)), byBits(sea.subarray(3, 777)));
  t.equal(crc64(Buffer.from('123456789')), 0xae8b14860a799888n);
  structuredClone(bytes, { transfer: [bytes.buffer] });
  t.equal(crc64(bytes), 0n);
  t.end();
});

t.test('wrong arguments', (t) => {
  const bytes = new Uint8Array(8);
  const wrong = (call: unknown, ...args: unknown[]) => {
    t.throws(() => (call as (...args: unknown[]) => unknown)(...args), TypeError, inspect(args));
  };
  const others = [undefined, null, 1, 'bytes', [1], {}, new ArrayBuffer(8), new DataView(new ArrayBuffer(8))];
  for (const other of [...others, new Uint16Array(4), new Uint8ClampedArray(4), new Int8Array(4)]) {
    wrong(crc64, other);
  }
  for (const previous of [null, 1, '1', -1n, 2n ** 64n, 2n ** 70n]) wrong(crc64, bytes, previous);
  wrong(crc64With, 'sse', bytes);
  wrong(crc64With, 'table', 'bytes');
  wrong(crc64With, crc64Implementation() === 'pmull' ? 'pclmulqdq' : 'pmull', bytes);
  for (const crc of [undefined, 1, -1n, 2n ** 64n]) {
    wrong(crc64Combine, crc, 0n, 1);
    wrong(crc64Combine, 0n, crc, 1);
  }
  for (const length of [undefined, 1n, '1', -1, 0.5, NaN, Infinity, 2 ** 54])
    wrong(crc64Combine, 0n, 0n, length);
  wrong(crc64FromBytes, new Uint8Array(7));
  wrong(crc64FromBytes, new Uint8Array(9));
  t.throws(() => crc64Bytes(2n ** 64n), RangeError);
  t.throws(() => crc64Bytes(-1n), RangeError);
  t.equal(crc64FromBytes(sea.subarray(5, 13)), sea.readBigUInt64LE(5));
  t.end();
});

t.test('millions of calls leave memory as it was', (t) => {
  const bytes = Uint8Array.from(sea.subarray(0, 64));
  const run = (calls: number): number => {
    for (let call = 0; call < calls; call += 1) crc64Combine(crc64(bytes), 1n, call);
    return process.memoryUsage.rss();
  };
  const before = run(200_000);
  t.ok(run(1_000_000) - before < 64 * KIB * KIB);
  t.end();
});

t.test('without the addon an error says what to do', async (t) => {
  const dir = t.testdir({});
  for (const file of ['crc64.js', 'errors.js'])
    copyFileSync(join(root, 'dist/native-bindings', file), join(dir, file));
  const alone = (await import(pathToFileURL(join(dir, 'crc64.js')).href)) as { crc64: typeof crc64 };
  try {
    alone.crc64(new Uint8Array(1));
    t.fail('it was loaded from nowhere');
  } catch (error) {
    t.match(error, { name: 'LhsmError', code: 'ADDON_MISSING', message: /crc64\.node/, cause: Error });
    t.match(error, { hint: /npm run build.*gcc/ });
  }
});

t.test('the C code alone: no warning, no byte read outside, nothing undefined', (t) => {
  const harness = gcc(
    join(t.testdir({}), 'harness'),
    ...['-std=gnu11', '-O1', '-g', '-pthread', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'],
    fixture('crc64-harness.c'),
    join(root, 'native-bindings/crc64-core.c'),
  );
  // LeakSanitizer does not work under a debugger or in some containers.
  const env = { ...process.env, ASAN_OPTIONS: 'detect_leaks=0' };
  t.match(execFileSync(harness, [crc64Implementation()], { encoding: 'utf8', env }), /checks, 0 failed/);
  t.end();
});

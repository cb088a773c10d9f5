// Threads that take bodies off sockets: what arrives is in the file, as slab.ts would have it there, or the end says what is not.
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import t from 'tap';
import { Slab, dataPieces } from '../../daemon/transfer/slab.js';
import type { BodyRequest } from '../../native-bindings/body-threads.js';
import { crc64 } from '../../native-bindings/crc64.js';
import { folder, kinds, openLink, take, target } from './body-links.js';
import { openDescriptors } from './helpers.js';

const block = 64 * 1024;
const none = Buffer.alloc(1);
interface Course {
  readonly at: number;
  readonly fileBytes: number;
  readonly contentBytes: number;
  readonly filled: number;
  readonly keepHoles: boolean;
  readonly crc: boolean;
  readonly content: Buffer;
  readonly pieces: readonly number[];
}

/** What slab.ts makes of it. */
async function expected({ content, at, ...wanted }: Course): Promise<Buffer> {
  const file = Buffer.alloc(wanted.fileBytes, 0xff);
  const write = (bytes: Buffer, position: number): Promise<void> => {
    const pieces = wanted.keepHoles ? dataPieces(bytes, position, wanted.fileBytes) : [{ bytes, position }];
    for (const piece of pieces) piece.bytes.copy(file, piece.position);
    return Promise.resolve();
  };
  const slab = new Slab(Buffer.alloc(wanted.contentBytes), at, at + content.length, write);
  await slab.add(content);
  await slab.flush();
  return file;
}

/** Content of which stretches are zeros, somewhere in a file. */
const course: fc.Arbitrary<Course> = fc
  .record({
    at: fc.oneof(fc.constantFrom(0, block, 3 * block), fc.nat(3 * block)),
    stretches: fc.array(
      fc.record({
        bytes: fc.oneof(fc.constantFrom(block, 2 * block), fc.integer({ min: 1, max: 3 * block })),
        isZero: fc.boolean(),
      }),
      { minLength: 1, maxLength: 6 },
    ),
    behind: fc.constantFrom(0, 0, 1, block),
    contentBytes: fc.constantFrom(block, 2 * block, 3 * block, 50_000),
    first: fc.nat(60_000),
    keepHoles: fc.boolean(),
    crc: fc.boolean(),
    pieces: fc.array(fc.integer({ min: 100, max: 300_000 }), { minLength: 1, maxLength: 4 }),
  })
  .map(({ stretches, behind, first, ...rest }) => {
    const content = Buffer.concat(
      stretches.map(({ bytes, isZero }, index) => Buffer.alloc(bytes, isZero ? 0 : `${index} content `)),
    );
    const filled = Math.min(first, content.length, rest.contentBytes);
    return { ...rest, content, filled, fileBytes: rest.at + content.length + behind };
  });

for (const kind of kinds) {
  t.test(`what is written is what slab.ts writes, ${kind}`, async (t) => {
    const link = await openLink(t, kind);
    await fc.assert(
      fc.asyncProperty(course, async (wanted) => {
        const { content, filled, at, pieces } = wanted;
        const file = target(t, wanted.fileBytes);
        const buffer = Buffer.alloc(wanted.contentBytes + 20_000);
        content.copy(buffer, 0, 0, filled);
        const progress = new Float64Array(new SharedArrayBuffer(24)).fill(7);
        const place = { file: file.fd, end: at + content.length, buffer, progress, slot: 1 };
        const body = take(link, { ...wanted, ...place });
        for (let from = filled, n = 0; from < content.length; n += 1) {
          const to = from + (pieces[n % pieces.length] ?? 1);
          link.peer.write(content.subarray(from, to));
          from = to;
          await turn();
        }
        const crc = wanted.crc ? crc64(content) : 0n;
        t.match(await body.ended, { outcome: 'whole', at: at + content.length, crc });
        t.same([...progress], [7, 7 + content.length, 7]);
        if (!file.content().equals(await expected(wanted))) throw new Error('another file');
      }),
      { numRuns: 40 },
    );
  });

  t.test(`a peer that goes, ${kind}: what has come is kept`, async (t) => {
    for (const how of ['end', 'reset'] as const) {
      const link = await openLink(t, kind);
      const file = target(t);
      const content = Buffer.alloc(100_001, 'content ');
      const progress = new Float64Array(1);
      const body = take(link, { file: file.fd, end: 200_000, progress });
      link.peer.write(content);
      while (how === 'reset' && (progress[0] ?? 0) < block) await turn();
      if (how === 'end') link.peer.end();
      else link.tcp.resetAndDestroy();
      const end = await body.ended;
      if (how === 'end') t.match(end, { outcome: 'ended', at: content.length });
      else t.match(end, { outcome: 'socket', errno: 104 }, 'ECONNRESET');
      t.ok(file.content().equals(content.subarray(0, end.at)));
      t.equal(end.crc, crc64(content.subarray(0, end.at)));
      t.equal(progress[0], end.at);
    }
  });

  t.test(`a peer that says nothing more, ${kind}`, async (t) => {
    const link = await openLink(t, kind);
    const file = target(t);
    const content = Buffer.alloc(40_000, 'content ');
    link.peer.write(content);
    const end = await take(link, { file: file.fd, end: 200_000, stallMs: 100 }).ended;
    t.match(end, { outcome: 'stalled', at: content.length, crc: crc64(content) });
    t.ok(file.content().equals(content));
  });

  t.test(`who is stopped while the peer says nothing, ${kind}`, async (t) => {
    const link = await openLink(t, kind);
    const body = take(link, { file: target(t).fd, end: 200_000 });
    if (link.session) {
      t.throws(() => link.session?.read(none, 0, 0, none), TypeError, 'it is lent');
      t.throws(() => link.session?.free(), TypeError);
      t.throws(() => take(link, { file: 1, end: 1 }), TypeError);
    }
    body.stop();
    t.match(await body.ended, { outcome: 'stopped', at: 0 });
    body.stop();
    link.session?.free();
  });

  t.test(`a file that cannot be written, ${kind}`, async (t) => {
    const full = openSync('/dev/full', 'r+');
    t.teardown(() => {
      closeSync(full);
    });
    const link = await openLink(t, kind);
    link.peer.write(Buffer.alloc(200_000, 'content '));
    const end = await take(link, { file: full, at: 1000, end: 150_000 }).ended;
    t.match(end, { outcome: 'file', errno: 28, at: 1000, failedAt: 1000, crc: 0n });
  });
}

t.test('what comes behind a body is still there for whoever reads next', async (t) => {
  const content = Buffer.alloc(100_000, 'content ');
  for (const kind of ['TLSv1.2', 'TLSv1.3'] as const) {
    for (const inOneRecord of [true, false]) {
      const link = await openLink(t, kind);
      const file = target(t);
      const body = take(link, { file: file.fd, end: content.length });
      if (inOneRecord) link.peer.write(Buffer.concat([content, Buffer.from('behind')]));
      else {
        link.peer.write(content);
        link.peer.write('behind');
      }
      t.match(await body.ended, { outcome: 'whole', crc: crc64(content) });
      t.ok(file.content().equals(content));
      const more = target(t);
      t.equal((await take(link, { file: more.fd, end: 6 }).ended).outcome, 'whole');
      t.equal(more.content().toString(), 'behind');
      // Tickets of TLS 1.3 came while it was lent.
      link.session?.read(none, 0, 0, none);
      t.ok(link.session?.ticket());
    }
  }
});

t.test('bytes that nobody encrypted', async (t) => {
  for (const kind of ['TLSv1.2', 'TLSv1.3'] as const) {
    const link = await openLink(t, kind);
    const file = target(t);
    const content = Buffer.alloc(30_000, 'content ');
    const progress = new Float64Array(1);
    const body = take(link, { file: file.fd, end: 200_000, progress, contentBytes: 10_000 });
    link.peer.write(content);
    while ((progress[0] ?? 0) < content.length) await turn();
    const record = Buffer.alloc(5 + 1000, 'forged');
    record.set([0x17, 3, 3, 1000 >> 8, 1000 & 255]);
    link.tcp.write(record);
    const end = await body.ended;
    t.match(end, { outcome: 'tls', code: /^ERR_SSL_/, at: content.length, crc: crc64(content) });
    t.ok(file.content().equals(content));
  }
});

t.test('a write that is done in part: the error names where it stopped', async (t) => {
  const limitTo = (soft: number | 'unlimited'): void => {
    execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${soft}:`]);
  };
  for (const crc of [true, false]) {
    const link = await openLink(t, 'plain');
    const file = target(t);
    limitTo(100_000);
    try {
      link.peer.write(Buffer.alloc(200_000, 'content '));
      const end = await take(link, { file: file.fd, end: 200_000, crc }).ended;
      // What a pipe has given to the file stays there, and need not be asked for again.
      t.match(end, { outcome: 'file', errno: 27, at: crc ? block : 100_000, failedAt: 100_000 });
    } finally {
      limitTo('unlimited');
    }
  }
});

t.test('what nobody has to see is not copied', async (t) => {
  const content = Buffer.concat(Array.from({ length: 40 }, (_, n) => Buffer.alloc(50_000, `content ${n} `)));
  const course = {
    fileBytes: content.length + 100,
    end: content.length + 100,
    at: 100,
    contentBytes: 1 << 20,
  };
  const expectations: [Partial<BodyRequest>, boolean][] = [
    [{ crc: false }, true],
    [{ crc: false, filled: 50_000 }, true],
    [{ crc: true }, false],
    [{ crc: false, keepHoles: true }, false],
  ];
  for (const [how, isSpliced] of expectations) {
    const link = await openLink(t, 'plain');
    const file = target(t);
    const buffer = Buffer.alloc(1 << 20);
    content.copy(buffer, 0, 0, how.filled ?? 0);
    const progress = new Float64Array(1);
    const body = take(link, { file: file.fd, ...course, ...how, buffer, progress });
    link.peer.write(content.subarray(how.filled ?? 0));
    const { spliced, ...end } = await body.ended;
    t.match(end, { outcome: 'whole', at: course.end, crc: how.crc === true ? crc64(content) : 0n });
    t.ok(file.content().subarray(100).equals(content));
    t.equal(progress[0], content.length);
    // Up to the first multiple of 64 KiB behind what had come, everything is copied.
    const copied = Math.ceil((100 + (how.filled ?? 0)) / block) * block - 100;
    t.equal(spliced, isSpliced ? content.length - copied : 0);
  }
  const link = await openLink(t, 'TLSv1.3');
  const body = take(link, { file: target(t).fd, ...course, crc: false });
  link.peer.write(content);
  t.match(await body.ended, { outcome: 'whole', spliced: 0 }, 'TLS has to be decrypted');
});

t.test('a file that takes nothing from a pipe, and pieces that fill one: then it is copied', async (t) => {
  const content = Buffer.concat(Array.from({ length: 9 }, (_, n) => Buffer.alloc(50_000, `content ${n} `)));
  const appending = join(folder, 'appending');
  // splice(2): EINVAL for a file that was opened to append. What is written there in order is the same.
  const fd = openSync(appending, 'a');
  t.teardown(() => {
    closeSync(fd);
  });
  const first = await openLink(t, 'plain');
  const refused = take(first, { file: fd, end: content.length, crc: false });
  first.peer.write(content);
  t.match(await refused.ended, { outcome: 'whole', at: content.length, spliced: 0 });
  t.ok(readFileSync(appending).equals(content));

  const link = await openLink(t, 'plain');
  const file = target(t);
  const progress = new Float64Array(1);
  const body = take(link, { file: file.fd, end: content.length, crc: false, progress });
  link.peer.write(content.subarray(0, block));
  while (progress[0] !== block) await turn();
  // Each a piece of its own, if the kernel does not join them: 256 of them have room.
  for (let at = block; at < content.length; at += 200) {
    link.peer.write(content.subarray(at, at + 200));
    if (at % 3 === 0) await turn();
  }
  t.match(await body.ended, { outcome: 'whole', at: content.length });
  t.ok(file.content().equals(content));
});

for (const how of ['end', 'reset', 'stall', 'stop', 'file'] as const) {
  t.test(`a body that is not copied, and ends by ${how}: what has come is kept`, async (t) => {
    const link = await openLink(t, 'plain');
    const file = target(t);
    const content = Buffer.alloc(150_001, 'content ');
    const progress = new Float64Array(1);
    const full = how === 'file' ? openSync('/dev/full', 'r+') : undefined;
    const stallMs = how === 'stall' ? 100 : 60_000;
    const body = take(link, { file: full ?? file.fd, end: 400_000, crc: false, progress, stallMs });
    link.peer.write(content);
    if (how === 'reset' || how === 'stop') {
      while ((progress[0] ?? 0) < block) await turn();
    }
    if (how === 'end') link.peer.end();
    if (how === 'reset') link.tcp.resetAndDestroy();
    if (how === 'stop') body.stop();
    const end = await body.ended;
    if (how === 'end') t.match(end, { outcome: 'ended', at: content.length });
    if (how === 'stall') t.match(end, { outcome: 'stalled', at: content.length });
    if (how === 'reset') t.match(end, { outcome: 'socket', errno: 104 });
    if (how === 'stop') t.equal(end.outcome, 'stopped');
    if (how === 'file') t.match(end, { outcome: 'file', errno: 28, at: 0, failedAt: 0 });
    else t.ok(file.content().equals(content.subarray(0, end.at)));
    t.equal(progress[0], end.at);
    if (full !== undefined) closeSync(full);
  });
}

t.test('many at once, and one that waits holds up nobody', async (t) => {
  const waiting = await openLink(t, 'plain');
  const stuck = take(waiting, { file: target(t).fd, end: 200_000 });
  const content = Buffer.alloc(150_000, 'content ');
  const ends = await Promise.all(
    Array.from({ length: 24 }, async (_, n) => {
      const link = await openLink(t, kinds[n % kinds.length] ?? 'plain');
      const file = target(t);
      const body = take(link, { file: file.fd, end: content.length });
      link.peer.write(content);
      const { outcome } = await body.ended;
      return outcome === 'whole' && file.content().equals(content);
    }),
  );
  t.ok(ends.every((each) => each));
  stuck.stop();
  await stuck.ended;
});

t.test('the socket that JavaScript has may be closed meanwhile', async (t) => {
  const link = await openLink(t, 'plain');
  const content = Buffer.alloc(150_000, 'content ');
  const file = target(t);
  const body = take(link, { file: file.fd, end: content.length });
  link.client.destroy();
  await once(link.client, 'close');
  link.peer.write(content);
  t.equal((await body.ended).outcome, 'whole');
  t.ok(file.content().equals(content));
});

t.test('requests that are none begin nothing, and leave no descriptor', async (t) => {
  const link = await openLink(t, 'plain');
  const { fd } = target(t);
  const before = openDescriptors();
  const bad: readonly Partial<BodyRequest>[] = [
    { end: 0 },
    { at: 11 },
    { at: -1 },
    { at: NaN },
    { fileBytes: 9 },
    { fileBytes: NaN },
    { filled: 11 },
    { filled: -1 },
    { contentBytes: 0 },
    { contentBytes: 1e9, buffer: Buffer.alloc(10) },
    { stallMs: NaN },
    { stallMs: -1 },
    { slot: 1 },
    { slot: NaN },
  ];
  for (const [index, each] of bad.entries())
    t.throws(() => take(link, { file: fd, end: 10, ...each }), RangeError, `request ${index}`);
  t.throws(() => take({ fd: -1, session: undefined }, { file: fd, end: 10 }), { code: '9' }, 'EBADF');
  const odd = new Uint16Array(10) as unknown as Buffer;
  t.throws(() => take(link, { file: fd, end: 10, buffer: odd }), TypeError);
  t.throws(() => take(link, { file: fd, end: 10, progress: odd as unknown as Float64Array }), TypeError);
  t.equal(openDescriptors(), before);
});

t.test('a thread ends with bodies under way', async (t) => {
  const peers = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    peers.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => peers.delete(socket));
    socket.resume();
    // Half of them send all the time. By turns of the event loop: what the kernel takes at once calls back at once.
    const write = (): void => {
      if (!socket.destroyed) socket.write(Buffer.alloc(20_000, 1), () => setImmediate(write));
    };
    if (peers.size % 2 === 0) write();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const path = join(folder, 'worker');
  for (const how of ['terminate', 'exit', 'terminate', 'exit'] as const) {
    const worker = new Worker(new URL('./body-worker.js', import.meta.url), {
      workerData: { port, path, count: 6 },
      execArgv: [],
    });
    const ended = once(worker, 'exit');
    await once(worker, 'message');
    while (peers.size < 6) await turn();
    if (how === 'terminate') await worker.terminate();
    else worker.postMessage('exit');
    await ended;
    while (peers.size > 0) await turn();
    t.pass(`${how}: its sockets are closed`);
  }
  await new Promise((resolve) => server.close(resolve));
});

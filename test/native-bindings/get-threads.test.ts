// Threads that get small blobs: an answer that is as usual is in the file, and of every other the end says what it was.
import { closeSync, openSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { once } from 'node:events';
import net from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { crc64 } from '../../native-bindings/crc64.js';
import { openDescriptors } from './helpers.js';
import { folder, kinds, serve, start, target, theThreads, usual, type Peer } from './get-links.js';

const content = Buffer.from('the content of a small blob');

for (const kind of kinds) {
  t.test(`what was asked for, ${kind}: in the file, connection after connection`, async (t) => {
    const seen: string[] = [];
    const service = await serve(t, kind, ({ socket }, text) => {
      seen.push(text);
      socket.write(usual(content, 'x-ms-meta-a: b\r\n'));
    });
    for (let n = 0; n < 3; n += 1) {
      const file = target(t);
      const end = await start(service.route, { file: file.fd, bytes: content.length, etag: '0x1' }).ended;
      t.match(end, { outcome: 'whole', isContent: true, crc: crc64(content) });
      t.match(end.answer.toString('latin1'), /^HTTP\/1\.1 206 .*\r\n\r\n$/s);
      t.ok(file.content().equals(content));
    }
    t.same(seen, Array(3).fill('GET /a HTTP/1.1\r\n\r\n'));
    t.equal(service.connections(), 1);
  });

  t.test(`an empty blob and the largest, in pieces, ${kind}`, async (t) => {
    for (const body of [Buffer.alloc(0), Buffer.alloc(32 * 1024, 'large ')]) {
      const { route } = await serve(t, kind, ({ socket }) => {
        const bytes = usual(body, `x-ms-meta-long: ${'v'.repeat(8000)}\r\n`);
        const write = (from: number): void => {
          if (from >= bytes.length) return;
          const to = from + (from < 300 ? 50 : 7001);
          socket.write(bytes.subarray(from, to), () => setImmediate(write, to));
        };
        write(0);
      });
      const file = target(t);
      const end = await start(route, { file: file.fd, bytes: body.length }).ended;
      t.match(end, { outcome: 'whole', isContent: true, crc: crc64(body) });
      t.ok(file.content().equals(body));
    }
  });

  t.test(`a peer that goes, is silent, or says something else, ${kind}: nothing is written`, async (t) => {
    let say: (peer: Peer) => void = () => undefined;
    const answers: readonly [name: string, say: typeof say, end: object][] = [
      ['closed', ({ socket }) => socket.end(), { outcome: 'ended' }],
      ['reset', ({ tcp }) => tcp.resetAndDestroy(), { outcome: 'socket', errno: 104 }],
      ['cut', ({ socket }) => socket.end(usual(content).subarray(0, -1)), { outcome: 'ended' }],
      ['silent', () => undefined, { outcome: 'stalled' }],
      ['longer', ({ socket }) => socket.write(`${usual(content).toString()}x`), { outcome: 'unusual' }],
      ['interim', ({ socket }) => socket.write('HTTP/1.1 100 Continue\r\n\r\n'), { outcome: 'unusual' }],
      ['no HTTP', ({ socket }) => socket.write('SSH-2.0-x\r\n'), { outcome: 'unusual' }],
      [
        'chunks',
        ({ socket }) => socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'),
        { outcome: 'unusual' },
      ],
      [
        'another ETag',
        ({ socket }) => socket.write(usual(content).toString().replace('0x1', '0x2')),
        { outcome: 'whole', isContent: false },
      ],
      [
        'no ETag',
        ({ socket }) => socket.write(usual(content).toString().replace('"0x1"', '')),
        { outcome: 'unusual' },
      ],
      [
        'refused',
        ({ socket }) => socket.write('HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone'),
        { outcome: 'whole', isContent: false },
      ],
      [
        'no status',
        ({ socket }) => socket.write('HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n'),
        { outcome: 'unusual' },
      ],
    ];
    const { route } = await serve(
      t,
      kind,
      (peer) => {
        say(peer);
      },
      { stallMs: 150 },
    );
    for (const [name, how, expected] of answers) {
      say = how;
      const file = target(t, 40);
      const end = await start(route, { file: file.fd, bytes: content.length, etag: '0x1' }).ended;
      t.match(end, expected, name);
      t.ok(file.content().equals(Buffer.alloc(40, 0xff)), `${name}: nothing is written`);
    }
  });

  t.test(
    `a connection that was closed meanwhile is replaced, and one that speaks unasked not used, ${kind}`,
    async (t) => {
      let last: Peer | undefined;
      const service = await serve(t, kind, (peer) => {
        last = peer;
        if (peer.index === 0) peer.socket.end(usual(content));
        else peer.socket.write(usual(content));
      });
      for (let n = 0; n < 4; n += 1) {
        const file = target(t);
        t.match(await start(service.route, { file: file.fd, bytes: content.length }).ended, {
          outcome: 'whole',
        });
        t.ok(file.content().equals(content));
        if (n === 0) while (last?.socket.writableFinished !== true) await turn();
        if (n === 1) {
          await new Promise<void>((resolve) => {
            last?.socket.write(usual(Buffer.from('content of another request!')), () => {
              resolve();
            });
          });
        }
      }
      t.equal(service.connections(), 3);
    },
  );

  t.test(`who is stopped, ${kind}: before, in the middle, and a thousand at any moment`, async (t) => {
    let isMute = true;
    const service = await serve(t, kind, ({ socket }) => {
      if (!isMute) socket.write(usual(content));
      else socket.write('HTTP/1.1 206');
    });
    const file = target(t);
    const one = start(service.route, { file: file.fd, bytes: content.length });
    theThreads().stop(one.id);
    t.equal((await one.ended).outcome, 'stopped', 'at once');
    const other = start(service.route, { file: file.fd, bytes: content.length });
    while (service.open() === 0) await turn();
    theThreads().stop(other.id);
    t.equal((await other.ended).outcome, 'stopped', 'connected');
    t.equal(file.content().length, 0);
    isMute = false;
    const ends = new Set<string>();
    for (let round = 0; round < 10; round += 1) {
      const gets = Array.from({ length: 20 }, () =>
        start(service.route, { file: file.fd, bytes: content.length }),
      );
      for (let turns = 0; turns < round; turns += 1) await turn();
      const stopped = gets.map(({ ended }) => ended);
      const over = new Set<number>();
      for (const { id, ended } of gets) void ended.then(() => over.add(id));
      await turn();
      for (const { id } of gets) if (!over.has(id)) theThreads().stop(id);
      for (const { outcome } of await Promise.all(stopped)) ends.add(outcome);
    }
    t.ok(
      [...ends].every((outcome) => outcome === 'stopped' || outcome === 'whole'),
      [...ends].join(),
    );
  });

  t.test(`64 at once that are answered only when all have come, ${kind}`, async (t) => {
    const waiting: Peer[] = [];
    const { route } = await serve(t, kind, (peer) => {
      waiting.push(peer);
      if (waiting.length < 64) return;
      for (const { socket } of waiting.splice(0)) socket.write(usual(content));
    });
    for (let round = 0; round < 2; round += 1) {
      const files = Array.from({ length: 64 }, () => target(t));
      const ends = await Promise.all(
        files.map(({ fd }) => start(route, { file: fd, bytes: content.length }).ended),
      );
      t.ok(ends.every(({ outcome }) => outcome === 'whole'));
      t.ok(files.every((file) => file.content().equals(content)));
    }
  });

  t.test(`no descriptor stays, ${kind}`, async (t) => {
    const service = await serve(t, kind, ({ socket }) => socket.write(usual(content)));
    const file = target(t);
    const get = (): Promise<unknown> => start(service.route, { file: file.fd, bytes: content.length }).ended;
    await get();
    const before = openDescriptors();
    await Promise.all(Array.from({ length: 30 }, get));
    service.route.sweep(1e9);
    await get();
    service.route.close();
    await get();
    while (service.open() > 0) await turn();
    // Both ends of the first were open.
    t.equal(openDescriptors(), before - 2);
  });
}

t.test('a peer that sends byte by byte holds up nobody', async (t) => {
  let isOver = false;
  const { route } = await serve(t, 'plain', ({ socket }, text) => {
    if (!text.startsWith('GET /slow')) {
      socket.write(usual(content));
      return;
    }
    const drip = (): void => {
      if (isOver || socket.destroyed) return;
      socket.write('a');
      setImmediate(drip);
    };
    socket.write('HTTP/1.1 206 ');
    drip();
  });
  const text = 'GET /slow HTTP/1.1\r\n\r\n';
  const slow = Array.from({ length: 6 }, () => start(route, { file: target(t).fd, bytes: 9, text }));
  const ends = await Promise.all(
    Array.from({ length: 20 }, () => start(route, { file: target(t).fd, bytes: content.length }).ended),
  );
  t.ok(ends.every(({ outcome }) => outcome === 'whole'));
  isOver = true;
  for (const { id } of slow) theThreads().stop(id);
  for (const { ended } of slow) t.equal((await ended).outcome, 'stopped');
});

t.test('zeros stay a hole where the blob says so, and a full disk is told', async (t) => {
  const zeros = Buffer.alloc(1000);
  let keeps = '1';
  const { route } = await serve(t, 'plain', ({ socket }) => {
    socket.write(usual(zeros, `X-Ms-Meta-Holes: ${keeps}\r\n`));
  });
  for (keeps of ['1', '0']) {
    const file = target(t, 999);
    await start(route, { file: file.fd, bytes: 1000, holesHeader: 'x-ms-meta-holes' }).ended;
    t.equal(file.content()[5], keeps === '1' ? 0xff : 0, 'written or not');
    t.equal(file.content().length, 1000);
  }
  const full = openSync('/dev/full', 'r+');
  const end = await start(route, { file: full, bytes: 1000 }).ended;
  t.match(end, { outcome: 'file', errno: 28, isContent: true, failedAt: 0 });
  closeSync(full);
});

t.test('addresses are tried in turn; where none answers, the end says how', async (t) => {
  const addresses = ['::1', '127.0.0.1'];
  const { route, port } = await serve(t, 'plain', ({ socket }) => socket.write(usual(content)), {
    addresses,
  });
  t.equal((await start(route, { file: target(t).fd, bytes: content.length }).ended).outcome, 'whole');
  const gone = net.createServer().listen(0, '127.0.0.1');
  await once(gone, 'listening');
  const free = (gone.address() as net.AddressInfo).port;
  await new Promise((resolve) => gone.close(resolve));
  const refused = theThreads().route({ host: 'x', port: free, tls: undefined, stallMs: 1000 });
  t.equal((await start(refused, { file: 0, bytes: 1 }).ended).outcome, 'unusual', 'it has no address');
  refused.setAddresses(['127.0.0.1']);
  t.equal((await start(refused, { file: 0, bytes: 1 }).ended).outcome, 'unusual');
  refused.close();
  t.throws(() => {
    route.setAddresses(['nowhere']);
  }, TypeError);
  t.ok(port);
});

t.test('a certificate of somebody else', async (t) => {
  const { route } = await serve(t, 'TLSv1.3', () => undefined, { host: 'elsewhere.example' });
  const end = await start(route, { file: 0, bytes: 1 }).ended;
  t.match(end, { outcome: 'tls', code: 'HOSTNAME_MISMATCH' });
});

t.test('a thread ends with requests under way', async (t) => {
  let asked = 0;
  const service = await serve(t, 'plain', ({ socket }) => {
    asked += 1;
    socket.write('HTTP/1.1 206');
  });
  const path = join(folder, 'worker');
  for (const how of ['terminate', 'exit', 'early'] as const) {
    asked = 0;
    const workerData = { port: service.port, path, count: 20 };
    const worker = new Worker(new URL('./get-worker.js', import.meta.url), {
      workerData,
      execArgv: [],
    });
    const ended = once(worker, 'exit');
    while (asked < (how === 'early' ? 1 : 20)) await turn();
    if (how === 'exit') worker.postMessage('exit');
    else await worker.terminate();
    await ended;
    while (service.open() > 0) await turn();
    t.pass(`${how}: its sockets are closed`);
  }
});

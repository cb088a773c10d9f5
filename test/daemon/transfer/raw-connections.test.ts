// Connections between requests: closed, reset, or speaking unasked while nobody listens; the next request is as good as ever.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t, { type Test } from 'tap';
import { SMALL_BODY_BYTES } from '../../../daemon/transfer/worker/connection.js';
import { wireAddon } from '../../../native-bindings/wire-addon.js';
import { rangeAnswer, rangeOf, type RawBlobServer } from '../../helpers/raw-blob-answers.js';
import type { RawConnection, Script } from '../../helpers/raw-http-server.js';
import { KIB, MIB, pattern } from './bench.js';
import { openRawBench, overBoth, type RawBench } from './raw-bench.js';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const content = pattern(100 * KIB + 7);
/** Of files of these sizes different connections bring the content: the workers' ones, and those of threads of C. */
const sizes = [content.length, 5000];
const blocks = pattern(300 * KIB);

/** One good answer, and then what the test says. */
function goodOnce(server: RawBlobServer, then: Script): Script {
  return async (connection) => {
    const request = await connection.request();
    if (!request) return;
    await server.answer(connection, request);
    await then(connection);
  };
}

/** A request has come; the connection is reset instead of an answer. */
async function resetAtNext(connection: RawConnection): Promise<void> {
  await connection.head();
  connection.reset();
}

/** Bytes of buffers, once garbage collection has brought them below a bound, or had every chance to. */
async function settledMemory(bound: number): Promise<number> {
  for (let round = 0; round < 100 && process.memoryUsage().arrayBuffers >= bound; round += 1) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return process.memoryUsage().arrayBuffers;
}

/** Runs a subtest over HTTP and TLS, for each size. */
function overSizes(name: string, run: (t: Test, at: RawBench) => Promise<void>): void {
  for (const bytes of sizes) {
    overBoth(`${name}, ${bytes} bytes`, async (t, scheme) => {
      const at = await openRawBench(t, scheme);
      at.server.content = content.subarray(0, bytes);
      await run(t, at);
    });
  }
}

async function downloadTwice(t: Test, at: RawBench, between?: () => Promise<void>): Promise<void> {
  const expected = at.server.content;
  for (const round of [1, 2]) {
    await at.download({ sizeBytes: expected.length });
    t.ok(at.target().equals(expected), `round ${round}`);
    if (round === 1) await between?.();
  }
  t.match(at.counters, { bytes: 2 * expected.length, requests: 2, retries: 0 }, 'as if nothing had been');
}

/** A worker closes at once what has come to an end; threads look when they take a connection, or from time to time. */
async function noticed(connection: RawConnection | undefined): Promise<void> {
  if (!wireAddon()) await connection?.closed();
}

overSizes('a connection is used again', async (t, at) => {
  await downloadTwice(t, at);
  t.equal(at.server.connections.length, 1);
});

overSizes('closed between two requests', async (t, at) => {
  const end: Script = (connection) => {
    connection.end();
    return Promise.resolve();
  };
  at.server.follow(goodOnce(at.server, end));
  await downloadTwice(t, at, () => noticed(at.server.connections[0]));
  t.equal(at.server.connections.length, 2);
});

overSizes('reset just as the next request comes: done again on another connection', async (t, at) => {
  at.server.follow(goodOnce(at.server, resetAtNext));
  await downloadTwice(t, at);
  t.equal(at.server.connections.length, 2);
});

overSizes('ended just as the next request comes: done again on another connection', async (t, at) => {
  const endAtNext: Script = async (connection) => {
    await connection.head();
    connection.end();
  };
  at.server.follow(goodOnce(at.server, endAtNext));
  await downloadTwice(t, at);
  t.equal(at.server.connections.length, 2);
});

overSizes('Connection: close is believed', async (t, at) => {
  const close: Script = async (connection) => {
    const request = await connection.request();
    if (!request) return;
    const { head, body } = rangeAnswer(request, at.server.content, { connection: 'close' });
    await connection.send(head);
    await connection.send(body);
    connection.end();
  };
  at.server.follow(close, close);
  await downloadTwice(t, at);
  t.equal(at.server.connections.length, 2, 'no request on the first');
});

overSizes('an answer to no request costs the connection, not the next request', async (t, at) => {
  const lie = rangeAnswer({ headers: {} }, pattern(at.server.content.length, 1));
  let first: RawConnection | undefined;
  at.server.follow(
    goodOnce(at.server, async (connection) => {
      first = connection;
      await connection.closed();
    }),
  );
  await downloadTwice(t, at, async () => {
    await first?.send(lie.head);
    await first?.send(lie.body);
    await noticed(first);
  });
  t.equal(at.server.connections.length, 2);
});

overBoth('garbage behind a body', async (t, scheme) => {
  const garbages = ['x', 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n', 'y'.repeat(100_000)];
  for (const [garbage, bytes] of garbages.flatMap((each) => sizes.map((size) => [each, size] as const))) {
    const at = await openRawBench(t, scheme);
    const expected = content.subarray(0, bytes);
    at.server.content = expected;
    at.server.follow(async (connection) => {
      const request = await connection.request();
      if (!request) return;
      const { head, body } = rangeAnswer(request, expected);
      await connection.send(Buffer.concat([Buffer.from(head), body, Buffer.from(garbage)]));
      await connection.closed();
    });
    await at.download({ sizeBytes: expected.length });
    t.ok(at.target().equals(expected));
    await at.download({ sizeBytes: expected.length });
    t.ok(at.target().equals(expected));
    t.equal(at.counters.bytes, 2 * expected.length);
    t.ok(at.counters.retries <= 2, `${at.counters.retries} retries`);
  }
});

overBoth('connections that were closed meanwhile leave nothing behind', async (t, scheme) => {
  const at = await openRawBench(t, scheme);
  const before = process.memoryUsage().arrayBuffers;
  const sizeBytes = SMALL_BODY_BYTES + 1;
  at.server.content = pattern(sizeBytes);
  const rounds = 300;
  const end: Script = (connection) => {
    connection.end();
    return connection.closed();
  };
  at.server.follow(...Array.from({ length: rounds }, () => goodOnce(at.server, end)));
  for (let round = 0; round < rounds; round += 1) await at.download({ sizeBytes });
  t.equal(at.server.connections.length, rounds);
  // Who asks next sees the end of the one before.
  await Promise.all(at.server.connections.slice(0, -1).map((connection) => connection.closed()));
  t.equal(at.counters.retries, 0);
  // In a worker each has 64 KiB of its own: kept, they would be near 20 MiB.
  const grown = await settledMemory(before + 8 * MIB);
  t.ok(grown < before + 8 * MIB, `${grown - before} bytes`);
});

overBoth('a block on a connection that is reset is sent again without a word', async (t, scheme) => {
  const at = await openRawBench(t, scheme, { blockSizeBytes: 100 * KIB, putBlobMaxBytes: KIB });
  at.server.follow(goodOnce(at.server, resetAtNext));
  await at.upload({ content: blocks });
  t.ok(at.server.blobs.get('/account/container/blob')?.content.equals(blocks));
  t.match(at.counters, { bytes: blocks.length, requests: 4, retries: 0 });
});

overBoth('a Put Blob on a connection that is reset recognises its own work', async (t, scheme) => {
  const at = await openRawBench(t, scheme);
  const { server } = at;
  server.follow(
    goodOnce(server, async (connection) => {
      const request = await connection.request();
      if (!request) return;
      server.requests.push(request);
      server.perform(request);
      connection.reset();
    }),
  );
  await at.upload({ name: 'first', content });
  await at.upload({ name: 'second', content, expected: 'absent' });
  t.ok(server.blobs.get('/account/container/second')?.content.equals(content));
  t.match(at.counters, { bytes: 2 * content.length, retries: 1 });
  const puts = server.requests.filter(({ method }) => method === 'PUT');
  t.equal(puts.length, 3);
  t.equal(server.requests.at(-1)?.method, 'HEAD', 'and it looked');
});

overBoth('a range that breaks on a connection in use goes on with the rest', async (t, scheme) => {
  const at = await openRawBench(t, scheme);
  const { server } = at;
  server.content = content;
  server.follow(
    goodOnce(server, async (connection) => {
      const request = await connection.request();
      if (!request) return;
      const { head, body } = rangeAnswer(request, content);
      await connection.send(head);
      await connection.send(body.subarray(0, 70_000));
      connection.reset();
    }),
  );
  await at.download({ sizeBytes: content.length });
  await at.download({ sizeBytes: content.length });
  t.ok(at.target().equals(content));
  t.match(at.counters, { bytes: 2 * content.length, retries: 1 });
  const last = server.requests.at(-1);
  t.equal(last && rangeOf(last, content.length).start, 70_000);
});

t.test('a stalled handshake is given up as any other', async (t) => {
  const at = await openRawBench(t, 'HTTP', { stallTimeoutMs: 300, maxTries: 2, caFile: undefined });
  const url = at.server.location('blob').url.replace('http:', 'https:');
  at.server.follow(
    (connection) => connection.closed(),
    (connection) => connection.closed(),
  );
  const blob = { ...at.server.location('blob'), url };
  const request = { blob, fd: -1, sizeBytes: 1, accept: () => undefined, counters: at.counters };
  await t.rejects(at.engine.download(request, new AbortController().signal), { code: 'UNREACHABLE' });
});

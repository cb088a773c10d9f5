// GETs of bodies that are not small, each in one thread: the range is in its place, or the end says how much of it; who asks has
// nothing written before it has agreed.
import { closeSync, openSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import t from 'tap';
import { dataPieces } from '../../daemon/transfer/slab.js';
import { crc64 } from '../../native-bindings/crc64.js';
import { ANSWER_BYTES, type GetHow, type GetMemory } from '../../native-bindings/get-threads.js';
import { openDescriptors } from './helpers.js';
import {
  kinds,
  serve,
  start,
  target,
  theThreads,
  type Answerer,
  type Got,
  type Kind,
  type Peer,
} from './get-links.js';

const block = 64 * 1024;
const bytes = 300_000;
const content = Buffer.alloc(bytes, 'content of a large blob ');

interface Range {
  readonly start: number;
  readonly end: number;
}

function memory(kind: Kind, contentBytes = ANSWER_BYTES): GetMemory {
  const buffer = Buffer.alloc(contentBytes + (kind === 'plain' ? 0 : 30_000));
  return { buffer, contentBytes, progress: new Float64Array(3).fill(7), slot: 1 };
}

/** The head of the answer to a range. */
function headOf({ start, end }: Range, total = bytes, more = ''): string {
  return (
    `HTTP/1.1 206 Partial Content\r\nContent-Length: ${end - start}\r\nETag: "0x1"\r\n` +
    `Content-Range: bytes ${start}-${end - 1}/${total}\r\n${more}\r\n`
  );
}

function answerOf(range: Range, of = content, more = ''): Buffer {
  return Buffer.concat([
    Buffer.from(headOf(range, of.length, more), 'latin1'),
    of.subarray(range.start, range.end),
  ]);
}

/** Writes it in pieces of these sizes, over and over. */
function inPieces(pieces: readonly number[], whole: Buffer): Answerer {
  return ({ socket }) => {
    const write = (from: number, n: number): void => {
      if (from >= whole.length || socket.destroyed) return;
      const to = from + (pieces[n % pieces.length] ?? 1);
      socket.write(whole.subarray(from, to), () => setImmediate(write, to, n + 1));
    };
    write(0, 0);
  };
}

const course = fc
  .record({
    from: fc.oneof(fc.constantFrom(0, block, 3 * block), fc.nat(3 * block)),
    stretches: fc.array(
      fc.record({
        length: fc.oneof(fc.constantFrom(block, 2 * block), fc.integer({ min: 20_000, max: 3 * block })),
        isZero: fc.boolean(),
      }),
      { minLength: 2, maxLength: 6 },
    ),
    behind: fc.constantFrom(0, 1, block),
    contentBytes: fc.constantFrom(block, 2 * block, 3 * block),
    keepHoles: fc.boolean(),
    crc: fc.boolean(),
    told: fc.constantFrom('before', 'in headers', 'when asked'),
    pieces: fc.array(fc.integer({ min: 100, max: 200_000 }), { minLength: 1, maxLength: 4 }),
  })
  .map(({ from, stretches, behind, ...rest }) => {
    const body = stretches.map(({ length, isZero }, n) => Buffer.alloc(length, isZero ? 0 : `${n} content `));
    const blob = Buffer.concat([Buffer.alloc(from, 'before '), ...body, Buffer.alloc(behind, 'behind ')]);
    return { ...rest, blob, start: from, end: blob.length - behind };
  });

/** Without the bytes of the counterexample. */
function reporter<T>({ failed, seed, counterexamplePath, errorInstance }: fc.RunDetails<T>): void {
  if (failed) throw new Error(`seed ${seed}, path ${counterexamplePath}`, { cause: errorInstance });
}

for (const kind of kinds) {
  t.test(`a range is in its place, and nothing else, ${kind}`, async (t) => {
    let answer: Answerer = () => undefined;
    const service = await serve(t, kind, (peer, text) => {
      answer(peer, text);
    });
    await fc.assert(
      fc.asyncProperty(course, async ({ blob, start: from, end, keepHoles, crc, told, pieces, ...rest }) => {
        const range = { start: from, end };
        const more = `x-ms-meta-holes: ${keepHoles ? '1' : '0'}\r\n${crc ? 'x-ms-meta-sum: x\r\n' : ''}`;
        answer = inPieces(pieces, answerOf(range, blob, more));
        const file = target(t, blob.length);
        const its = memory(kind, rest.contentBytes);
        let heads = '';
        const ask = (head: Buffer): GetHow => {
          heads += head.toString('latin1');
          return { keepHoles, crc };
        };
        const got = await start(service.route, {
          ...range,
          file: file.fd,
          bytes: blob.length,
          etag: '0x1',
          memory: its,
          ...(told === 'before' ? { keepHoles, crc } : {}),
          ...(told === 'in headers' ? { holesHeader: 'x-ms-meta-holes', sumHeader: 'X-MS-Meta-Sum' } : {}),
          ...(told === 'when asked' ? { ask } : {}),
        }).ended;
        const body = blob.subarray(from, end);
        t.match(got, { outcome: 'whole', isContent: true, at: end, crc: crc ? crc64(body) : 0n });
        if (got.spliced > 0) t.ok(kind === 'plain' && !crc && !keepHoles, 'nobody had to see it');
        t.equal(heads, told === 'when asked' ? headOf(range, blob.length, more) : '');
        t.same([...its.progress], [7, 7 + body.length, 7]);
        const expected = Buffer.alloc(blob.length, 0xff);
        const parts = keepHoles ? dataPieces(body, from, blob.length) : [{ bytes: body, position: from }];
        for (const part of parts) part.bytes.copy(expected, part.position);
        if (!file.content().equals(expected)) throw new Error('another file');
      }),
      { numRuns: 25, reporter },
    );
    t.equal(service.connections(), 1, 'all on one connection');
  });

  t.test(`what is not that range is not written, ${kind}`, async (t) => {
    const range = { start: block, end: 3 * block };
    const others: readonly [name: string, answer: string | Buffer, end: object][] = [
      ['another range', headOf({ start: 0, end: 2 * block }), { outcome: 'unusual', isContent: false }],
      ['another size', headOf(range, bytes + 1), { outcome: 'unusual', isContent: false }],
      ['another length', headOf({ start: block, end: 4 * block }), { outcome: 'unusual', isContent: false }],
      ['shorter', headOf({ start: block, end: block + 9 }), { outcome: 'ended', isContent: false }],
      ['another ETag', headOf(range).replace('0x1', '0x2'), { outcome: 'unusual', isContent: false }],
      ['200', headOf(range).replace('206 Partial Content', '200 OK'), { outcome: 'unusual' }],
      ['chunks', headOf(range).replace(/Content-Length.*\r\n/, 'transfer-encoding: chunked\r\n'), {}],
    ];
    let say: string | Buffer = '';
    const { route } = await serve(t, kind, ({ socket }) => socket.end(say));
    for (const [name, answer, expected] of others) {
      say = answer;
      for (const ask of [undefined, (): never => t.fail('not asked') as never]) {
        const file = target(t, bytes);
        const its = memory(kind);
        const wanted = { ...range, file: file.fd, bytes, etag: '0x1', memory: its, ask };
        const end = await start(route, wanted).ended;
        t.match(end, { isContent: false, at: range.start, ...expected }, name);
        t.not(end.outcome, 'whole');
        t.ok(file.content().equals(Buffer.alloc(bytes, 0xff)), `${name}: nothing is written`);
        t.equal(its.progress[1], 7);
      }
    }
  });

  t.test(`what has come of a body that breaks off is in the file, ${kind}`, async (t) => {
    const range = { start: 1000, end: bytes };
    const half = answerOf(range).subarray(0, 150_000);
    const came = 1000 + half.length - headOf(range).length;
    let after: (peer: Peer) => void = () => undefined;
    const { route } = await serve(
      t,
      kind,
      (peer) => {
        peer.socket.write(half);
        after(peer);
      },
      { stallMs: 200 },
    );
    for (const crc of [true, false]) {
      for (const how of ['end', 'reset', 'stall', 'stop', 'full'] as const) {
        const file = target(t, bytes);
        const full = how === 'full' ? openSync('/dev/full', 'r+') : undefined;
        const its = memory(kind);
        let peer: Peer | undefined;
        after = (its) => {
          peer = its;
          if (how === 'end') its.socket.end();
        };
        const got = start(route, {
          ...range,
          file: full ?? file.fd,
          bytes,
          etag: undefined,
          crc,
          memory: its,
        });
        while (['reset', 'stop'].includes(how) && (its.progress[1] ?? 0) < block) await turn();
        if (how === 'reset') peer?.tcp.resetAndDestroy();
        if (how === 'stop') theThreads().stop(got.id);
        const end = await got.ended;
        const name = `${how}, ${crc ? 'summed' : 'not summed'}`;
        const expected = {
          end: { outcome: 'ended', at: came },
          reset: { outcome: 'socket', errno: 104 },
          stall: { outcome: 'stalled', at: came },
          stop: { outcome: 'stopped' },
          full: { outcome: 'file', errno: 28, at: 1000, failedAt: 1000 },
        }[how];
        t.match(end, { isContent: true, ...expected }, name);
        t.match(end.answer.toString('latin1'), headOf(range), 'the head is told');
        t.equal(its.progress[1], 7 + end.at - 1000, name);
        if (full === undefined) {
          t.ok(file.content().subarray(1000, end.at).equals(content.subarray(1000, end.at)), name);
          t.equal(end.crc, crc ? crc64(content.subarray(1000, end.at)) : 0n);
        } else closeSync(full);
      }
    }
  });

  t.test(`who asks, and is refused, or stopped before it hears, ${kind}`, async (t) => {
    const range = { start: 0, end: bytes };
    const { route, open } = await serve(t, kind, ({ socket }) => socket.write(answerOf(range)));
    const file = target(t, bytes);
    const before = openDescriptors();
    const get = (ask: () => GetHow | undefined): Got =>
      start(route, { ...range, file: file.fd, bytes, etag: '0x1', memory: memory(kind), ask });
    for (let round = 0; round < 5; round += 1) {
      let asked = 0;
      const refuse = (): undefined => void (asked += 1);
      t.match(await get(refuse).ended, { outcome: 'stopped', at: 0 });
      t.equal(asked, 1);
    }
    t.ok(file.content().equals(Buffer.alloc(bytes, 0xff)), 'nothing is written');
    while (open() > 0) await turn();
    // At any moment: before its answer, with the question on its way, or behind it.
    for (let turns = 0; turns < 30; turns += 1) {
      const seen = { isOver: false, isAsked: false };
      const got = get(() => {
        seen.isAsked = true;
        return {};
      });
      void got.ended.then(() => (seen.isOver = true));
      for (let n = 0; n < turns; n += 1) await turn();
      if (!seen.isOver) theThreads().stop(got.id);
      const { outcome, at } = await got.ended;
      t.ok(['stopped', 'whole'].includes(outcome));
      t.equal(at > 0 && !seen.isAsked, false, 'nothing is written unasked');
    }
    while (open() > 1) await turn();
    t.ok(openDescriptors() <= before + 2, 'but for both ends of a connection nothing is left');
  });

  t.test(`bytes behind a body cost the connection, not the body, ${kind}`, async (t) => {
    for (const end of [bytes, 40_000]) {
      const range = { start: 0, end };
      const blob = content.subarray(0, end);
      const service = await serve(t, kind, ({ socket }) =>
        socket.write(Buffer.concat([answerOf(range, blob), answerOf(range, Buffer.alloc(end, 'forged '))])),
      );
      for (let n = 0; n < 3; n += 1) {
        const file = target(t);
        const wanted = { ...range, file: file.fd, bytes: end, etag: '0x1', memory: memory(kind) };
        t.match(await start(service.route, wanted).ended, { outcome: 'whole', at: end });
        t.ok(file.content().equals(blob));
      }
      t.equal(service.connections(), 3);
    }
  });
}

t.test('requests that are none begin nothing', async (t) => {
  const { route } = await serve(t, 'TLSv1.3', () => undefined);
  const { fd } = target(t);
  const good = { file: fd, bytes, memory: memory('TLSv1.3') };
  const { buffer, progress } = good.memory;
  const bad: readonly Partial<Parameters<typeof start>[1]>[] = [
    { memory: undefined },
    { start: -1 },
    { start: 2, end: 1 },
    { end: bytes + 1 },
    { memory: { buffer, contentBytes: ANSWER_BYTES - 1, progress, slot: 0 } },
    { memory: { buffer, contentBytes: buffer.length + 1, progress, slot: 0 } },
    { memory: { buffer, contentBytes: buffer.length, progress, slot: 0 } },
    { memory: { buffer, contentBytes: ANSWER_BYTES, progress, slot: 3 } },
    { memory: { buffer: progress as unknown as Buffer, contentBytes: ANSWER_BYTES, progress, slot: 0 } },
  ];
  for (const [index, each] of bad.entries())
    await t.rejects(start(route, { ...good, ...each }).ended, TypeError, `request ${index}`);
});

// What has a thread take a body: nothing before it is allowed, nothing after it was given up, and each end told as what it is.
import t from 'tap';
import type { BodyEnd, BodyRequest, BodyThreads } from '../../../../native-bindings/body-threads.js';
import { BodyTake } from '../../../../daemon/transfer/worker/body-take.js';
import { Permission } from '../../../../daemon/transfer/worker/job.js';

const go = { type: 'go', id: 1, keepHoles: true, crc: true } as const;
const first = Buffer.from('first bytes');

interface Bench {
  readonly take: BodyTake;
  readonly permission: Permission;
  readonly requests: BodyRequest[];
  /** How often the running body was stopped. */
  stops: number;
  readonly buffer: Buffer;
  end(end: Partial<BodyEnd>): void;
}

function bench(refuse?: Error): Bench {
  const permission = new Permission();
  const buffer = Buffer.alloc(128 * 1024);
  let settle: (end: BodyEnd) => void = () => undefined;
  const made: Omit<Bench, 'take'> = {
    permission,
    requests: [],
    stops: 0,
    buffer,
    end: (end) => {
      const whole = {
        outcome: 'whole',
        errno: 0,
        at: 100,
        failedAt: 0,
        crc: 5n,
        spliced: 0,
        hasMore: false,
      } as const;
      settle({ ...whole, code: '', message: '', ...end });
    },
  };
  const threads = {
    take: (request: BodyRequest) => {
      if (refuse) throw refuse;
      made.requests.push(request);
      const ended = new Promise<BodyEnd>((resolve) => {
        settle = resolve;
      });
      return { ended, stop: () => (result.stops += 1) };
    },
  } as unknown as BodyThreads;
  const place = { fd: 7, start: 10, end: 100, fileBytes: 200, stallTimeoutMs: 50, slot: 3 };
  const progress = new Float64Array(4);
  const take = new BodyTake({ threads, permission, buffer, progress, ...place });
  const result: Bench = Object.assign(made, { take });
  return result;
}

/** What it rejects with. */
async function failureOf(taking: Promise<boolean>): Promise<unknown> {
  return taking.then(
    () => undefined,
    (error: unknown) => error,
  );
}

const plain = { descriptor: 9, session: undefined };

t.test('begins when it is allowed, with what has come, and as it is told', async (t) => {
  const at = bench();
  const taking = at.take.take(first, plain);
  t.equal(at.requests.length, 0);
  at.permission.give(go);
  await at.permission.given;
  await Promise.resolve();
  const numbers = { socket: 9, file: 7, at: 10, end: 100, fileBytes: 200, stallMs: 50, slot: 3 };
  t.match(at.requests, [{ ...numbers, filled: first.length, keepHoles: true, crc: true }]);
  t.equal(at.requests[0]?.contentBytes, at.buffer.length, 'no room for ciphertext is needed');
  t.ok(at.buffer.subarray(0, first.length).equals(first));
  at.end({ hasMore: true });
  t.equal(await taking, true);
  t.match(at.take, { writtenTo: 100, crc: 5n });
});

t.test('the descriptor is that of the moment when it begins', async (t) => {
  const at = bench(Object.assign(new Error('dup: Bad file descriptor'), { code: '9' }));
  let descriptor = 9;
  const asked: number[] = [];
  const source = {
    get descriptor() {
      asked.push(descriptor);
      return descriptor;
    },
    session: undefined,
  };
  const taking = at.take.take(first, source);
  descriptor = -1;
  at.permission.give(go);
  t.match(await failureOf(taking), { failure: { kind: 'broken', what: /Bad file descriptor/ } });
  t.same(asked, [-1]);
  await at.take.over;
  t.equal(at.take.writtenTo, 10);
});

t.test('nothing begins when it was stopped, or refused, before', async (t) => {
  for (const how of ['stop', 'refuse'] as const) {
    const at = bench();
    const taking = at.take.take(first, plain);
    if (how === 'refuse') at.permission.refuse();
    else {
      at.take.stop();
      at.permission.give(go);
    }
    t.match(await failureOf(taking), { failure: { kind: 'aborted' } });
    await at.take.over;
    t.equal(at.requests.length, 0);
  }
});

t.test('each end, and what is in the file then', async (t) => {
  const ends: readonly (readonly [Partial<BodyEnd>, object])[] = [
    [{ outcome: 'ended' }, { failure: { kind: 'broken' } }],
    [{ outcome: 'stalled' }, { failure: { kind: 'stall' } }],
    [{ outcome: 'stopped' }, { failure: { kind: 'aborted' } }],
    [{ outcome: 'socket', errno: 104 }, { failure: { kind: 'network', code: 'ECONNRESET' } }],
    [
      { outcome: 'tls', code: 'ERR_SSL_BAD', message: 'bad' },
      { failure: { kind: 'network', code: 'ERR_SSL_BAD', message: 'bad' } },
    ],
    [
      { outcome: 'file', errno: 28, failedAt: 77 },
      { code: 'ENOSPC', op: 'write', message: /at offset 77 /, hint: /Free space/ },
    ],
    [
      { outcome: 'file', errno: 122, failedAt: 77 },
      { code: 'EDQUOT', hint: /quota/ },
    ],
  ];
  for (const [end, error] of ends) {
    const at = bench();
    const taking = at.take.take(first, plain);
    at.permission.give(go);
    await at.permission.given;
    await Promise.resolve();
    at.take.stop();
    t.equal(at.stops, 1);
    at.end({ ...end, at: 42, crc: 9n });
    t.match(await failureOf(taking), error);
    await at.take.over;
    t.match(at.take, { writtenTo: 42, crc: 9n });
  }
});

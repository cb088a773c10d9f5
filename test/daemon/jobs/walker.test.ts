// The walk over a listing: everything once, in an order that parents can be made in, from any state on.
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import t from 'tap';
import { LhsmError } from '../../../native-bindings/errors.js';
import { Walker, type WalkerOptions } from '../../../daemon/jobs/walker.js';
import { parseWalkState, type WalkState } from '../../../daemon/jobs/walk-state.js';
import { FakeListing } from './fake-listing.js';

const never = new AbortController().signal;

/** Numbers from 0 to 1 that depend on the seed alone. */
function dice(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const segment = fc.constantFrom('a', 'b', 'c', 'a-', 'b.', '0');
const trees = fc.uniqueArray(
  fc.array(segment, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('/')),
  { minLength: 1, maxLength: 60 },
);

interface Round {
  readonly done: Set<string>;
  readonly state: WalkState;
}

/** Runs once, disturbed or not; answers what a checkpoint would say afterwards, at its end or at some moment of it. */
async function runOnce(
  names: readonly string[],
  options: Omit<WalkerOptions, 'listing'>,
  before: Round | undefined,
  roll: () => number,
  troubles: number,
): Promise<Round> {
  const done = new Set(before?.done);
  const control = new AbortController();
  const wait = async (): Promise<void> => {
    for (let left = Math.floor(roll() * 3); left > 0; left -= 1) await turn();
  };
  const listing = new FakeListing(names, {
    isEmpty: () => roll() < 0.2,
    before: async () => {
      await wait();
      if (roll() < troubles)
        throw new LhsmError('no answer', { code: 'UNREACHABLE', op: 'list', retryable: true });
    },
  });
  const walker = new Walker({ ...options, listing, ...(before ? { state: before.state } : {}) });
  const checkpoint = (): Round => ({
    done: new Set(done),
    state: parseWalkState(JSON.parse(JSON.stringify(walker.state()))),
  });
  let killed: Round | undefined;
  const running = new Set<number>();
  let works = 0;
  const work = async (blobs: readonly { readonly name: string }[]): Promise<() => void> => {
    const id = (works += 1);
    running.add(id);
    if (running.size > options.streams) throw new Error('more works than streams');
    const inPage = new Set<string>();
    for (const { name } of blobs) {
      if (done.has(name)) throw new Error(`${name} comes twice`);
      for (let at = name.indexOf('/'); at !== -1; at = name.indexOf('/', at + 1)) {
        const parent = name.slice(0, at);
        if (names.includes(parent) && !done.has(parent) && !inPage.has(parent))
          throw new Error(`${name} comes before ${parent}`);
      }
      inPage.add(name);
    }
    await wait();
    if (roll() < troubles / 2) control.abort();
    running.delete(id);
    return () => {
      for (const { name } of blobs) {
        if (done.has(name)) throw new Error(`${name} is done twice`);
        done.add(name);
      }
      // As of a moment just after this page: a kill may come at any.
      if (roll() < troubles) queueMicrotask(() => (killed ??= checkpoint()));
    };
  };
  try {
    await walker.run(work, control.signal);
  } catch (error) {
    if (!(error instanceof LhsmError)) throw error;
    if (control.signal.aborted ? error.code !== 'ECANCELED' : error.code !== 'LISTING_FAILED') throw error;
    if (!control.signal.aborted && !error.retryable) throw error;
    return roll() < 0.5 ? checkpoint() : (killed ?? checkpoint());
  }
  if (walker.state().left.length > 0) throw new Error('done, and yet something is left');
  return checkpoint();
}

t.test('any tree, any disturbance, any resume: every name once', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      trees,
      fc.integer(),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 4 }),
      fc.constantFrom(['a', 'b', 'c', '0'], ['']),
      async (names, seed, pageSize, streams, prefixes) => {
        const roll = dice(seed);
        const options = { prefixes, streams, pageSize };
        let round: Round | undefined;
        for (let left = 20; left > 0; left -= 1) {
          round = await runOnce(names, options, round, roll, left > 1 ? 0.1 : 0);
          if (round.state.left.length === 0) break;
        }
        return JSON.stringify([...(round?.done ?? [])].sort()) === JSON.stringify([...names].sort());
      },
    ),
    { numRuns: 300 },
  );
  t.pass();
});

t.test('undisturbed, no page is asked for twice, and few are in memory', async (t) => {
  await fc.assert(
    fc.asyncProperty(trees, fc.integer(), fc.integer({ min: 1, max: 4 }), async (names, seed, streams) => {
      const roll = dice(seed);
      const listing = new FakeListing(names, { before: () => turn(), isEmpty: () => roll() < 0.1 });
      const inner = listing.page.bind(listing);
      let held = 0;
      let most = 0;
      const examined = new Set<string>();
      listing.page = async (request, signal) => {
        // The page that was looked at is let go.
        if (request.shallow && examined.delete(request.prefix)) held -= 1;
        const page = await inner(request, signal);
        if (page.blobs.length > 0) {
          held += 1;
          if (!request.shallow) examined.add(request.prefix);
        }
        most = Math.max(most, held);
        return page;
      };
      await new Walker({ listing, prefixes: [''], streams, pageSize: 2 }).run(async () => {
        for (let left = Math.floor(roll() * 4); left > 0; left -= 1) await turn();
        return () => {
          held -= 1;
        };
      }, never);
      const asked = listing.requests.map(({ prefix, shallow, marker }) =>
        JSON.stringify([prefix, shallow, marker]),
      );
      return new Set(asked).size === asked.length && most <= 2 * streams;
    }),
    { numRuns: 200 },
  );
  t.pass();
});

t.test('what is broad goes on flat, what is deep is split', async (t) => {
  const broad = Array.from({ length: 40 }, (_, i) => `d${String(i).padStart(2, '0')}/file`);
  const flat = new FakeListing(broad);
  await new Walker({ listing: flat, prefixes: [''], streams: 4, pageSize: 10 }).run(
    () => Promise.resolve(() => undefined),
    never,
  );
  t.equal(flat.requests.length, 4, 'as many requests as pages');
  const deep = ['x', 'y', 'z'].flatMap((d) => Array.from({ length: 20 }, (_, i) => `top/${d}/${i}`));
  const split = new FakeListing(deep);
  let atOnce = 0;
  let most = 0;
  await new Walker({ listing: split, prefixes: [''], streams: 3, pageSize: 10 }).run(async () => {
    most = Math.max(most, (atOnce += 1));
    for (let left = 10; left > 0; left -= 1) await turn();
    return () => {
      atOnce -= 1;
    };
  }, never);
  t.equal(most, 3, 'the directories are worked on side by side');
});

t.test('a listing that fails ends the walk after the work under way', async (t) => {
  const cause = new LhsmError('refused', { code: 'FORBIDDEN', op: 'list', errno: 13, hint: 'Look.' });
  const names = Array.from({ length: 30 }, (_, i) => String(i).padStart(2, '0'));
  const listing = new FakeListing(names, {
    before: ({ marker }) => {
      if (marker === 'shallow  20') throw cause;
    },
  });
  const done: string[] = [];
  const walker = new Walker({ listing, prefixes: [''], streams: 2, pageSize: 10 });
  const walk = walker.run(async (blobs, signal) => {
    for (let left = 5; left > 0; left -= 1) await turn();
    if (signal.aborted) throw new Error('work was stopped');
    return () => done.push(...blobs.map(({ name }) => name));
  }, never);
  const failed = { code: 'LISTING_FAILED', errno: 13, retryable: false, hint: 'Look.', cause };
  await t.rejects(walk, failed);
  t.equal(done.length, 20);
  t.same(walker.state().left, [{ prefix: '', stage: 'shallow', marker: 'shallow  20' }]);
});

t.test('an abort reaches the work and the listing, what work throws is passed on', async (t) => {
  const names = ['a', 'b', 'c'];
  const control = new AbortController();
  const options = { prefixes: [''], streams: 1, pageSize: 2 };
  const stuck = new Walker({ ...options, listing: new FakeListing(names) });
  const walk = stuck.run(async (_, signal) => {
    setImmediate(() => {
      control.abort();
    });
    await new Promise((resolve) => {
      signal.addEventListener('abort', resolve);
    });
    throw new Error('stopped half way');
  }, control.signal);
  await t.rejects(walk, { code: 'ECANCELED' });
  t.equal(stuck.state().left.length, 1);
  const aborted = stuck.run(() => Promise.reject(new Error('never called')), AbortSignal.abort());
  await t.rejects(aborted, { code: 'ECANCELED' });
  const hanging = new FakeListing(names, {
    before: (_, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          reject(signal.reason as Error);
        });
      }),
  });
  const later = new AbortController();
  const waiting = new Walker({ ...options, listing: hanging }).run(
    () => Promise.reject(new Error('never called')),
    later.signal,
  );
  later.abort();
  await t.rejects(waiting, { code: 'ECANCELED' });
  const budget = new LhsmError('too many errors', { code: 'ERROR_LIMIT', op: 'import' });
  const failing = new Walker({ ...options, listing: new FakeListing(names) });
  await t.rejects(
    failing.run(() => Promise.reject(budget), never),
    budget,
  );
  const found: string[] = [];
  await failing.run((blobs) => Promise.resolve(() => found.push(...blobs.map(({ name }) => name))), never);
  t.same(found.sort(), names, 'and it can be run again');
});

t.test('a service that names strange prefixes, and states of nobody', async (t) => {
  const listing = new FakeListing(['a/1', 'a/2', 'a/3']);
  const inner = listing.page.bind(listing);
  listing.page = async (request, signal) => {
    const page = await inner(request, signal);
    return request.shallow ? { ...page, prefixes: [request.prefix] } : page;
  };
  const walker = new Walker({ listing, prefixes: [''], streams: 1, pageSize: 1 });
  await t.rejects(
    walker.run(() => Promise.resolve(() => undefined), never),
    { code: 'LISTING_FAILED', cause: { code: 'BAD_ANSWER' } },
  );
  for (const strange of [null, {}, { schema: 2, left: [] }, { schema: 1, left: [{ prefix: 1 }] }])
    t.throws(() => parseWalkState(strange), { code: 'WALK_STATE_INVALID' });
});

// Cards of agents in a container that is in memory.
import { pino } from 'pino';
import t from 'tap';
import { AgentBoard, type AgentCard, type BoardPlace } from '../../../daemon/jobs/agent-board.js';
import { LhsmError } from '../../../native-bindings/errors.js';

const log = pino({ level: 'silent' });
const { signal } = new AbortController();

const card: Omit<AgentCard, 'schema' | 'host' | 'mount'> = {
  version: '1.2.3',
  pid: 7,
  registered: true,
  archiveIds: [1],
  lanes: [],
  inFlight: 3,
};

function setUp() {
  const blobs = new Map<string, { readonly body: Buffer; readonly atMs: number }>();
  const clock = { nowMs: 1_000_000 };
  const trouble: { error?: Error } = {};
  const heard: (() => void)[] = [];
  const container: BoardPlace['container'] = {
    async *list(prefix) {
      await Promise.resolve();
      for (const [name, { atMs }] of [...blobs].sort(([a], [b]) => (a < b ? -1 : 1)))
        if (name.startsWith(prefix)) yield { name, lastModified: new Date(atMs) };
    },
    read: (name) => {
      const found = blobs.get(name);
      return Promise.resolve(found && { body: found.body, etag: '"1"', metadata: {} });
    },
    write: (name, body) => {
      for (const tell of heard.splice(0)) setImmediate(tell);
      if (trouble.error) return Promise.reject(trouble.error);
      blobs.set(name, { body: Buffer.from(body), atMs: clock.nowMs });
      return Promise.resolve('"1"');
    },
    delete: (name) => {
      blobs.delete(name);
      return Promise.resolve();
    },
  };
  const place = () => Promise.resolve({ container, fileSystem: 'fs@1' });
  const make = (host: string, mount = '/mnt/x', periodMs = 30_000) =>
    new AgentBoard({ mount, host, place, card: () => card, log, periodMs, now: () => clock.nowMs });
  const written = () => new Promise<void>((resolve) => heard.push(resolve));
  return { blobs, clock, trouble, make, written };
}

t.test(
  'each sees all; one that is silent is stale, and gone after a day; a clean stop removes it',
  async (t) => {
    const { blobs, clock, make, written } = setUp();
    const boards = [make('node1'), make('node/2', '/mnt/my-fs')];
    for (const board of boards) {
      const done = written();
      board.start();
      await done;
    }
    t.same([...blobs.keys()], ['fs@1/agents/node1-mnt-x.json', 'fs@1/agents/node_2-mnt-my\\x2dfs.json']);
    const [one, other] = boards;
    t.match(await one?.agents(signal), [
      { host: 'node1', mount: '/mnt/x', updatedTime: '1970-01-01T00:16:40.000Z', stale: false },
      { host: 'node/2', mount: '/mnt/my-fs', inFlight: 3, stale: false },
    ]);
    await other?.close();
    clock.nowMs += 9_000;
    t.equal((await one?.agents(signal))?.length, 2, 'not asked again at once');
    clock.nowMs += 91_000;
    t.match(await one?.agents(signal), [{ host: 'node1', stale: true }]);
    blobs.set('fs@1/agents/other.json', { body: Buffer.from('{"schema":2}'), atMs: clock.nowMs });
    blobs.set('fs@1/agents/broken.json', { body: Buffer.from('{'), atMs: clock.nowMs });
    clock.nowMs += 20_000;
    t.equal((await one?.agents(signal))?.length, 1, 'what is no card is left out');
    clock.nowMs += 86_400_000;
    t.same(await one?.agents(signal), []);
    t.same([...blobs.keys()], []);
    await one?.close();
  },
);

t.test('a container that does not answer harms nobody, and is tried again', async (t) => {
  const { blobs, trouble, make, written } = setUp();
  trouble.error = new LhsmError('no', { code: 'UNREACHABLE', op: 'x' });
  const board = make('node1', '/mnt/x', 20);
  // Its own timer keeps no process alive.
  const alive = setInterval(() => undefined, 1000);
  t.teardown(() => {
    clearInterval(alive);
  });
  const first = written();
  board.start();
  await first;
  t.equal(blobs.size, 0);
  delete trouble.error;
  await written();
  t.equal(blobs.size, 1);
  await board.close();
  t.equal(blobs.size, 0);
});

// Registrations and actions over a stand-in library: what is received, in which order calls reach C, and that no
// handle reaches C after its end.
import { spawnSync } from 'node:child_process';
import { closeSync, fstatSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { callPool } from '../../native-bindings/call-pool.js';
import { CopytoolAction } from '../../native-bindings/constants.js';
import { fidPath, type ActionList } from '../../native-bindings/lustre.js';
import { encodeActionItem } from '../../native-bindings/structs.js';
import { Fake, itemOf, listOf } from './fake.js';
import { openDescriptors, root } from './helpers.js';

const fake = Fake.build(t);
const never = new AbortController().signal;
const extent = { offset: 4096n, length: 0xfffffffffffff000n };
const item = encodeActionItem(itemOf(7n, 'data'));
const cookies = (lists: readonly { items: readonly { cookie: bigint }[] }[]): bigint[] =>
  lists.flatMap((list) => list.items.map((item) => item.cookie));

t.test('a registration passes its ids, its pipe is close-on-exec, nothing is left of it', async (t) => {
  const before = openDescriptors();
  const tool = await fake.lustre.register('/mnt/lustre', [1, 300]);
  t.equal(fake.called, 'mount=/mnt/lustre flags=4000 ids=1,300,');
  const flags = /flags:\s+(\d+)/.exec(
    readFileSync(`/proc/self/fdinfo/${fake.functions.fake_pipe.int()}`, 'utf8'),
  )?.[1];
  t.match(flags, /^02\d{6}$/, 'O_CLOEXEC');
  await tool.unregister();
  t.equal(openDescriptors(), before);
  const every = await fake.lustre.register('/mnt/lustre', []);
  t.equal(fake.called, 'mount=/mnt/lustre flags=4000 ids=');
  await every.unregister();
});

t.test('a registration that fails says which function, which mount, why, and what to do', async (t) => {
  const before = openDescriptors();
  const cases: [number, string, RegExp][] = [
    [13, 'EACCES', /as root/],
    [6, 'ENXIO', /hsm_control=enabled/],
    [2, 'ENOENT', /mount point/],
    [25, 'ENOTTY', /no Lustre/],
  ];
  for (const [errno, code, hint] of cases) {
    fake.fail('llapi_hsm_copytool_register', errno);
    await t.rejects(fake.lustre.register('/mnt/x', []), {
      name: 'LhsmError',
      code,
      errno,
      op: 'llapi_hsm_copytool_register',
      message: `llapi_hsm_copytool_register of /mnt/x failed: ${code}`,
      hint,
    });
  }
  fake.fail('llapi_hsm_copytool_register', 110);
  await t.rejects(fake.lustre.register('/mnt/x', []), {
    code: 'ETIMEDOUT',
    retryable: true,
    hint: undefined,
  });
  t.equal(openDescriptors(), before);
});

t.test('receive takes everything that is there, waits for more, and ends when aborted', async (t) => {
  const tool = await fake.lustre.register('/mnt/lustre', []);
  fake.push(listOf(1n, 2n));
  fake.push(listOf(3n));
  t.same(cookies(await tool.receive(never)), [1n, 2n, 3n]);

  const waiting = tool.receive(never);
  fake.push(listOf(4n));
  t.same(cookies(await waiting), [4n]);

  const aborted = new AbortController();
  const pending = tool.receive(aborted.signal);
  await t.rejects(tool.receive(never), { message: /pending/ });
  aborted.abort();
  t.same(await pending, []);
  t.same(await tool.receive(AbortSignal.abort()), []);

  fake.push(listOf(5n));
  t.same(cookies(await tool.receive(never)), [5n], 'an abort loses nothing');
  await tool.unregister();
});

t.test('a turn of receive is bounded, and the rest comes with the next', async (t) => {
  const tool = await fake.lustre.register('/mnt/lustre', []);
  for (let i = 1n; i <= 600n; i++) fake.push(listOf(i));
  const seen: bigint[] = [];
  const turns: number[] = [];
  while (seen.length < 600) {
    const lists = await tool.receive(never);
    turns.push(lists.length);
    seen.push(...cookies(lists));
  }
  t.same(turns, [256, 256, 88]);
  t.same(
    seen,
    Array.from({ length: 600 }, (_, i) => BigInt(i + 1)),
  );
  await tool.unregister();
});

t.test('an error of recv comes after the lists that were good', async (t) => {
  const tool = await fake.lustre.register('/mnt/lustre', []);
  fake.push(listOf(1n));
  fake.push(listOf(), 108);
  t.same(cookies(await tool.receive(never)), [1n]);
  await t.rejects(tool.receive(never), { code: 'ESHUTDOWN', errno: 108, op: 'llapi_hsm_copytool_recv' });
  fake.push(listOf(2n));
  t.same(cookies(await tool.receive(never)), [2n]);
  await tool.unregister();
});

t.test('a pipe whose other end is closed is an error, and no loop that never waits', async (t) => {
  const tool = await fake.lustre.register('/mnt/lustre', []);
  const pending = tool.receive(never);
  fake.functions.fake_hang_up.int();
  await t.rejects(pending, { code: 'EPIPE', errno: 32, hint: /dropped the registration/ });
  await tool.unregister();
});

t.test('a broken receive buffer gives its good items and the reason, or EPROTO', async (t) => {
  const tool = await fake.lustre.register('/mnt/lustre', []);
  const short = listOf(1n, 2n);
  short.writeUInt32LE(8, 40 + 72);
  fake.push(short);
  const [list] = await tool.receive(never);
  t.equal(list?.items.length, 1);
  t.match(list?.malformed, /item 2 of 2.*8 bytes/);
  fake.push(listOf(3n).subarray(0, 20));
  await t.rejects(tool.receive(never), { code: 'EPROTO', message: /20 bytes/ });
  await tool.unregister();
});

t.test('received items are copies: the library may overwrite its buffer', async (t) => {
  const tool = await fake.lustre.register('/mnt/lustre', []);
  fake.push(listOf(1n));
  const [first] = await tool.receive(never);
  fake.push(listOf(2n));
  await tool.receive(never);
  await tool.unregister();
  t.same(first?.items[0]?.raw, encodeActionItem(itemOf(1n)));
});

t.test('unregister ends a pending receive; afterwards nothing reaches C', async (t) => {
  const tool = await fake.lustre.register('/mnt/lustre', []);
  const pending = tool.receive(never);
  const unregistered = tool.unregister();
  t.same(await pending, []);
  await unregistered;
  await t.rejects(tool.receive(never), { message: /unregistered/ });
  await t.rejects(tool.begin(item), { message: /unregistered/ });
  await t.rejects(tool.unregister(), { message: /unregistered/ });

  const other = await fake.lustre.register('/mnt/lustre', []);
  fake.push(listOf(8n, 9n));
  fake.fail('llapi_hsm_copytool_unregister', 5);
  const last: ActionList[] = [];
  await t.rejects(
    other.unregister((list) => last.push(list)),
    { code: 'EIO' },
  );
  t.same(cookies(last), [8n, 9n], 'the last look is handed out, whatever the library says then');
  await t.rejects(other.unregister(), { message: /unregistered/ }, 'not even after a failure');
});

t.test('an action passes its item, options, progress and end whole', async (t) => {
  const tool = await fake.lustre.register('/mnt/lustre', []);
  const action = await tool.begin(item, { mountFd: 9, openFlags: 0o20400 });
  t.equal(fake.called, 'len=76 mdt=3 flags=20400 error=0', 'on the MDT of its file');
  t.same(action.dataFid(), itemOf(7n).dfid);
  await action.progress(extent, 0xffffffffffffffffn, 2);
  t.equal(fake.called, 'extent=1000+fffffffffffff000 total=ffffffffffffffff flags=2');
  await action.end(extent, 2, 125);
  t.equal(fake.called, 'extent=1000+fffffffffffff000 flags=2 error=125 data=none');

  const failed = await tool.begin(item, { isError: true });
  t.equal(fake.called, 'len=76 mdt=-1 flags=0 error=1');
  await failed.end(extent, 0, 5);
  await tool.unregister();
});

t.test(
  'the data is opened once, at begin or later, and closed with the end, of a restore behind it',
  async (t) => {
    const tool = await fake.lustre.register('/mnt/lustre', []);
    const before = openDescriptors();
    for (const opensData of [true, false]) {
      for (const [action, data] of [
        [CopytoolAction.ARCHIVE, 'closed'],
        [CopytoolAction.RESTORE, 'open'],
      ] as const) {
        const begun = await tool.begin(encodeActionItem({ ...itemOf(7n), action }), { opensData });
        t.equal(openDescriptors(), before + (opensData ? 1 : 0));
        const [fd, again] = await Promise.all([begun.openData(), begun.openData()]);
        t.equal(again, fd);
        t.equal(openDescriptors(), before + 1);
        const flags = /flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
        t.match(flags, /^02/, 'the descriptor is close-on-exec');
        fake.fail('llapi_hsm_action_end', 16);
        await t.rejects(begun.end(extent, 0, 0), { code: 'EBUSY' });
        t.match(fake.called, new RegExp(`data=${data}$`));
        t.equal(openDescriptors(), before, 'whatever end returned');
      }
    }
    const begun = await tool.begin(item, { opensData: true });
    closeSync(await begun.openData());
    t.match(await begun.end(extent, 0, 0), { code: 'EBADF', op: 'close' }, 'a bad close is told');
    await tool.unregister();
  },
);

t.test('begin looks at the file in the same go, and is none the worse for a look that fails', async (t) => {
  const mount = t.testdir({ '.lustre': { fid: { '0x200000401:0x7:0x0': 'content' } } });
  const tool = await fake.lustre.register(mount, []);
  const begun = await tool.begin(item, { look: ['user.none'] });
  t.match(begun.look, { attributes: { size: 7n }, xattrs: [undefined] });
  await begun.end(extent, 0, 0);
  rmSync(fidPath(mount, itemOf(7n).fid));
  const gone = await tool.begin(item, { look: ['user.none'] });
  t.equal(gone.look, undefined);
  await gone.end(extent, 0, 0);
  fake.fail('llapi_hsm_action_begin', 125);
  await t.rejects(tool.begin(item, { look: [] }), { code: 'ECANCELED' });
  await tool.unregister();
});

t.test('errors of begin, progress and end carry the function, the FID and the errno', async (t) => {
  const tool = await fake.lustre.register('/mnt/lustre', []);
  fake.fail('llapi_hsm_action_begin', 125);
  await t.rejects(tool.begin(item), {
    code: 'ECANCELED',
    message: 'llapi_hsm_action_begin of [0x200000401:0x7:0x0] failed: ECANCELED',
  });
  fake.fail('llapi_get_mdt_index_by_fid', 22);
  await t.rejects(tool.begin(item, { mountFd: 9, opensData: true }), {
    code: 'EINVAL',
    op: 'llapi_get_mdt_index_by_fid',
  });
  fake.fail('llapi_hsm_action_get_fd', 5);
  const shut = await tool.begin(item, { opensData: true });
  await t.rejects(shut.openData(), { code: 'EIO', op: 'llapi_hsm_action_get_fd' }, 'begun all the same');
  await shut.end(extent, 0, 5);
  const action = await tool.begin(item);
  fake.fail('llapi_hsm_action_progress', 2);
  await t.rejects(action.progress(extent, 1n), { code: 'ENOENT', op: 'llapi_hsm_action_progress' });
  await action.progress(extent, 1n);
  fake.fail('llapi_hsm_action_end', 16);
  await t.rejects(action.end(extent, 0, 0), { code: 'EBUSY', errno: 16, retryable: true });
  await t.rejects(tool.begin(Buffer.alloc(10)), { code: 'EPROTO' });
  const lying = Buffer.from(item);
  lying.writeUInt32LE(1000);
  await t.rejects(tool.begin(lying), { code: 'EPROTO' }, 'a length beyond the bytes never reaches C');
  await tool.unregister();
});

t.test('an action that has ended is never used again, whatever end returned', async (t) => {
  const tool = await fake.lustre.register('/mnt/lustre', []);
  for (const errno of [0, 5]) {
    const action = await tool.begin(item);
    if (errno !== 0) fake.fail('llapi_hsm_action_end', errno);
    const ending = action.end(extent, 0, 0);
    t.throws(() => action.dataFid(), { message: /\[0x200000401:0x7:0x0\] has ended/ }, 'at once');
    t.throws(() => action.openData(), { message: /has ended/ });
    t.throws(() => action.progress(extent, 0n), { message: /has ended/ });
    t.throws(() => action.end(extent, 0, 0), { message: /has ended/ });
    await ending.catch(() => undefined);
    t.throws(() => action.end(extent, 0, 0), { message: /has ended/ });
  }
  await tool.unregister();
});

t.test('progress and end of one action reach C one after the other', async (t) => {
  const tool = await fake.lustre.register('/mnt/lustre', []);
  fake.functions.fake_delay.int(200);
  const actions = await Promise.all(Array.from({ length: 8 }, () => tool.begin(item)));
  await Promise.all(
    actions.map((action) =>
      Promise.all([action.progress(extent, 1n), action.progress(extent, 2n), action.end(extent, 0, 0)]),
    ),
  );
  fake.functions.fake_delay.int(0);
  t.equal(fake.misuses, 0, 'no two threads had one handle');
  await tool.unregister();
});

t.test('a registration is not ended under its actions', async (t) => {
  const tool = await fake.lustre.register('/mnt/lustre', []);
  const beginning = tool.begin(item);
  await t.rejects(tool.unregister(), { message: /1 actions still use/ }, 'nor under one that begins');
  const action = await beginning;
  await t.rejects(tool.unregister(), { message: /end them first/ });
  await action.end(extent, 0, 0);
  await tool.unregister();
});

t.test('2,000 actions at once stay below the bound, off the main thread, and leave nothing', async (t) => {
  const tool = await fake.lustre.register('/mnt/lustre', []);
  const abort = new AbortController();
  const receiving = tool.receive(abort.signal);
  const before = openDescriptors();
  const life = async (i: number): Promise<void> => {
    const action = await tool.begin(item);
    if (!fstatSync(await action.openData()).isCharacterDevice()) throw new Error('not the data');
    await action.progress({ offset: BigInt(i), length: 1n }, 1n);
    await action.end(extent, 0, 0);
  };
  await Promise.all(Array.from({ length: 2000 }, (_, i) => life(i)));
  t.ok(fake.functions.fake_most_inflight.int() <= callPool().size);
  t.equal(fake.functions.fake_main_thread_calls.int(), 0, 'nothing that asks the MDT blocks the event loop');
  t.equal(callPool().pending, 0);
  t.equal(openDescriptors(), before);
  abort.abort();
  await receiving;
  await tool.unregister();
});

t.test('a process that exits with a receive pending does exit', (t) => {
  const module = pathToFileURL(join(root, 'dist/native-bindings/liblustreapi.js')).href;
  const source = `
    import { loadLustre } from ${JSON.stringify(module)};
    const lustre = loadLustre({ library: ${JSON.stringify(fake.library)} });
    const tool = await lustre.register('/mnt/lustre', []);
    void tool.receive(new AbortController().signal);
    setImmediate(() => process.exit(3));`;
  const { status } = spawnSync(process.execPath, ['--input-type=module', '-e', source], { timeout: 20_000 });
  t.equal(status, 3);
  t.end();
});

t.test('the library saw no handle after its end, and none in two threads', (t) => {
  t.equal(fake.misuses, 0);
  t.end();
});

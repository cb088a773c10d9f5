// Bodies over HTTP that go through a pipe, where that is of no use: what is there is copied.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { descriptorOf } from '../../daemon/transfer/worker/wire.js';
import { Memory, loadLibrary } from '../../native-bindings/ffi.js';
import { folder, serve, start, target, usual } from './get-links.js';

t.test('a kernel that would write each packet by itself', (t) => {
  const child = fileURLToPath(new URL('./get-spliced.js', import.meta.url));
  const run = (...before: string[]): unknown => {
    const args = [...before, process.execPath, child, join(folder, 'spliced')];
    return JSON.parse(execFileSync('env', args, { encoding: 'utf8' }));
  };
  const whole = { outcome: 'whole', isRight: true };
  t.same(run(), { ...whole, isSpliced: true });
  t.same(run('setarch', '--uname-2.6'), { ...whole, isSpliced: false });
  t.end();
});

t.test('an urgent byte, which splice(2) stops at', async (t) => {
  const content = Buffer.alloc(700_000, 'content ');
  const table = { send: { result: 'i64', args: ['i32', 'ptr', 'u64', 'i32'] } } as const;
  const { send } = loadLibrary(null, table, { missing: '', symbols: '' });
  const urgent = Memory.allocate(1);
  const MSG_OOB = 1;
  const { route } = await serve(t, 'plain', ({ socket }) => {
    const answer = usual(content);
    // At the end of a write: the pipe is empty.
    const first = answer.length - content.length + 4 * 64 * 1024;
    socket.write(answer.subarray(0, first), () => {
      t.equal(send.long(descriptorOf(socket) ?? -1, urgent, 1n, MSG_OOB), 1n);
      socket.write(answer.subarray(first));
    });
  });
  const file = target(t, content.length);
  const buffer = Buffer.alloc(1 << 20);
  const memory = { buffer, contentBytes: buffer.length, progress: new Float64Array(1), slot: 0 };
  const end = await start(route, { file: file.fd, bytes: content.length, memory }).ended;
  t.match(end, { outcome: 'whole', at: content.length });
  t.ok(file.content().equals(content), 'without it');
});

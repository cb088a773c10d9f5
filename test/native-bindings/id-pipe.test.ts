// Ids through a pipe, whole and in parts.
import { spawn } from 'node:child_process';
import { openSync, writeSync, closeSync } from 'node:fs';
import { join } from 'node:path';
import { once } from 'node:events';
import t from 'tap';
import { IdPipe } from '../../native-bindings/id-pipe.js';

t.test('ids come in order, however their bytes come', async (t) => {
  const fifo = join(t.testdir(), 'ids');
  await once(spawn('mkfifo', [fifo]), 'exit');
  // Both ends at once, so that neither open waits for the other.
  const writing = openSync(fifo, 'r+');
  t.teardown(() => {
    closeSync(writing);
  });
  const heard: number[] = [];
  let told: () => void = () => undefined;
  const pipe = new IdPipe(openSync(fifo, 'r'), (id) => {
    heard.push(id);
    told();
  });
  const ids = [0, 1, 0x01020304, 0xffffffff, 5000];
  ids.forEach(() => {
    pipe.expect();
  });
  const bytes = Buffer.alloc(ids.length * 4);
  ids.forEach((id, index) => bytes.writeUInt32LE(id, index * 4));
  for (const [from, to, count] of [
    [0, 6, 1],
    [6, 7, 1],
    [7, 8, 2],
    [8, 20, 5],
  ] as const) {
    const all = new Promise<void>((resolve) => {
      told = () => {
        if (heard.length === count) resolve();
      };
    });
    writeSync(writing, bytes, from, to - from);
    if (heard.length < count) await all;
  }
  t.same(heard, ids);
  t.equal(pipe.expected, 0);
});
